package loadbalancer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// request lets a node make the key of a certificate and returns the signing request in PEM.
func (c *crew) request(ctx context.Context, node string, hostnames []string) (string, error) {
	n := slices.IndexFunc(c.peers, func(p operator.Peer) bool { return p.Name == node })
	if n < 0 {
		return "", fmt.Errorf("node %s has no endpoints", node)
	}
	ctx, cancel := context.WithTimeout(ctx, c.op.Patience().Dial)
	defer cancel()
	agent, err := c.op.Agent(c.cluster, c.peers[n])
	if err != nil {
		return "", err
	}
	defer agent.Close()
	answer, err := agent.CertificateRequest(ctx, api.CertificateRequest{LoadBalancer: c.ref.Name, Hostnames: hostnames})
	if err != nil {
		return "", err
	}
	return answer.Request, nil
}

// await waits until the nodes that are alive have put into effect what they were told last: what Cloudflare asks them for next must
// be there. It fails when it is nowhere although it is needed, since a change of Cloudflare would then take the hostname down.
func (c *crew) await(ctx context.Context, needed bool) diag.Diagnostics {
	var diags diag.Diagnostics
	ctx, cancel := context.WithTimeout(ctx, c.op.Patience().Effect)
	defer cancel()
	behind, done := map[string]string{}, 0
	for {
		if status, ok := c.status(ctx); ok {
			behind, done = c.behind(status)
			if len(behind) == 0 && done > 0 {
				return c.awaitFit(ctx)
			}
		}
		if operator.Pause(ctx, c.op.Patience().Poll) {
			continue
		}
		lines := make([]string, 0, len(behind))
		for _, name := range slices.Sorted(maps.Keys(behind)) {
			lines = append(lines, "- "+name+": "+behind[name])
		}
		text := fmt.Sprintf("What they were told of %s is not in effect after %v:\n%s", c.ref.Name, c.op.Patience().Effect, strings.Join(lines, "\n"))
		if done == 0 && needed {
			diags.AddAttributeError(path.Root("nodes"), "Nodes are not as described", text+"\n\nWhat is at Cloudflare was left as it is. Their agents go on trying; apply again.")
		} else {
			diags.AddAttributeWarning(path.Root("nodes"), "Nodes are not as described yet", text+"\n\nTheir agents go on trying; `atoll status` tells when they are.")
		}
		return diags
	}
}

// awaitFit waits a little until the nodes find themselves fit, so that the edge does when it asks next. That they do not is none of
// the vendor's business, and may be just what an application is like that is not there yet.
func (c *crew) awaitFit(ctx context.Context) diag.Diagnostics {
	var diags diag.Diagnostics
	if c.waited {
		return diags
	}
	c.waited = true
	ctx, cancel := context.WithTimeout(ctx, c.op.Patience().Fitness)
	defer cancel()
	var lines []string
	for {
		if status, ok := c.status(ctx); ok {
			var open bool
			if lines, open = c.unfit(status); len(lines) == 0 && !open {
				return diags
			}
		}
		if !operator.Pause(ctx, min(c.op.Patience().Poll, time.Second)) {
			break
		}
	}
	if len(lines) == 0 {
		return diags
	}
	diags.AddAttributeWarning(path.Root("nodes"), "Nodes are not fit", fmt.Sprintf(
		"These nodes find that they should not serve %s yet:\n%s\n\nThey go into service by themselves when they are.", c.ref.Name, strings.Join(lines, "\n")))
	return diags
}

// unfit returns a line for each node that is alive and unwell, and whether one has not said yet.
func (c *crew) unfit(s api.ClusterStatus) (lines []string, open bool) {
	nodes := s.LoadBalancers[c.ref.Name].Nodes
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		if state := s.Nodes[name].State; state != api.NodeReady && state != api.NodeNotReady {
			continue
		}
		switch n := nodes[name]; n.State {
		case api.ServingIn, api.ServingMaintenance, api.ServingDisabled:
		case api.ServingUnknown:
			open = true
		case api.ServingOut, api.ServingKept:
			lines = append(lines, "- "+name+": "+n.Reason)
		}
	}
	return lines, open
}

// status returns the cluster as the first node sees it that answers.
func (c *crew) status(ctx context.Context) (api.ClusterStatus, bool) {
	return first(ctx, c.peers, func(ctx context.Context, p operator.Peer) (api.ClusterStatus, error) {
		return c.op.Status(ctx, c.cluster, p)
	})
}

// behind returns the nodes that are alive and have not put the newest object into effect, with why, and how many have.
func (c *crew) behind(s api.ClusterStatus) (behind map[string]string, done int) {
	behind = map[string]string{}
	for _, p := range c.peers {
		n, ok := s.Nodes[p.Name]
		switch {
		case !ok || n.State == api.NodeSilent || n.State == api.NodeDown || c.op.Cluster(c.cluster).Removed(p.Name):
		case n.Applied[c.ref] >= c.memory.Generation:
			done++
		default:
			behind[p.Name] = "it has not reported"
			if a, found := n.Condition(spec.ConditionApplied); found && !a.Good() {
				behind[p.Name] = a.Reason + ": " + a.Message
			}
		}
	}
	return behind, done
}

// toldByOther stands for a message of another run.
const toldByOther = "another run"

// nodesDiffer returns how what the nodes hold is not what they were told, and what an apply that broke off has left of theirs.
func (r *Resource) nodesDiffer(ctx context.Context, state *Model, from privateReader, to privateWriter) ([]string, diag.Diagnostics) {
	known, diags := recall(ctx, from)
	var lines []string
	if n := len(known.Replaced); n > 0 {
		lines = []string{fmt.Sprintf("certificates: %d that nobody uses any more are still to be revoked", n)}
	}
	l, more := state.local(ctx)
	diags.Append(more...)
	if diags.HasError() || !l.any() && known.Told == "" {
		return lines, diags
	}
	c, more := r.crew(ctx, known, to, state)
	diags.Append(more...)
	seen, answered := first(ctx, c.peers, func(ctx context.Context, p operator.Peer) (operator.Known, error) {
		return r.op.Glance(ctx, c.cluster, p)
	})
	if !answered {
		if len(c.peers) > 0 {
			diags.AddWarning("Nodes cannot be read", fmt.Sprintf("No node of %s answers; what they know of it is taken to be as it was.", c.ref.Name))
		}
		return lines, diags
	}
	_, alive := seen.LoadBalancers[c.ref.Name]
	newest := seen.Generations[c.ref]
	switch {
	case l.any() && !alive, newest < known.Generation:
		c.memory = c.memory.news(newest, "")
		diags.Append(c.remember(ctx)...)
		return append(lines, "nodes: they do not know of application_check, quick_removal and local_proxy"), diags
	case newest > known.Generation:
		c.memory = c.memory.news(newest, toldByOther)
		diags.Append(c.remember(ctx)...)
		return append(lines, "nodes: another run has told them something else of application_check, quick_removal and local_proxy"), diags
	}
	return lines, diags
}

// noPrivate is for an operation after which there is no state.
type noPrivate struct{}

// SetKey implements privateWriter.
func (noPrivate) SetKey(context.Context, string, []byte) diag.Diagnostics { return nil }

// forget is dismiss as a step of a removal.
func (t *task) forget(ctx context.Context, _ *desired) diag.Diagnostics { return t.crew.dismiss(ctx) }
