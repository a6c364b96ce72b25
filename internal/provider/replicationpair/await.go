package replicationpair

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-log/tflog"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// How many looks in a row a fault must last until it is believed: what agents report is some moments old, and they try again by
// themselves.
const (
	shortly = 15
	forLong = 60
	// settle is how long a pair that was there before must be as it should: what a node says of its side is up to a second older than
	// that it has put the newest into effect.
	settle = 2 * time.Second
)

// look is what is known of the pair at one moment.
type look struct {
	status api.ClusterStatus
	view   api.PairView
	// described tells that the node that answers has heard of the pair.
	described bool
}

// gone tells whether a node is not there.
func (l look) gone(node string) bool {
	s := l.status.Nodes[node].State
	return s == api.NodeDown || s == api.NodeSilent
}

// verdict is what a look says of what is waited for.
type verdict struct {
	done bool
	// kind is the sort of a fault, "" for none; it is believed when it has lasted for patience looks. A warning ends the wait without
	// an error.
	kind     string
	fault    string
	warning  string
	patience int
	at       path.Path
	// doing is what goes on, for the log.
	doing string
}

// await waits until both nodes have the pair in effect, and if equal is wanted until their trees are.
func (t *task) await(ctx context.Context, equal bool) diag.Diagnostics {
	summary := "Pair is not synchronized"
	if !equal {
		summary = "Pair has not taken over the change"
	}
	var since time.Time
	diags := t.wait(ctx, summary, func(l look) verdict {
		v := t.judge(l, equal)
		switch {
		case !v.done || t.fresh:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		}
		v.done = v.done && (t.fresh || time.Since(since) >= settle)
		return v
	})
	if diags.HasError() {
		return diags
	}
	if v := t.view(ctx); v != nil {
		for _, e := range t.ends {
			if problem := v.Sides[e.node.Name].Problem; problem != "" {
				diags.AddAttributeWarning(e.at(), "Not everything is kept equal", fmt.Sprintf("Node %q says: %s.", e.node.Name, problem))
			}
		}
	}
	return diags
}

func (t *task) judge(l look, equal bool) verdict {
	v := verdict{doing: t.doing(l), done: l.described}
	for _, e := range t.ends {
		node, side := l.status.Nodes[e.node.Name], l.view.Sides[e.node.Name]
		applied := node.Applied[t.ref()] >= t.memory.Generation
		v.done = v.done && applied && side.State != api.PairUnknown && side.State != spec.PairFailed
		c, reported := node.Condition(spec.ConditionApplied)
		switch {
		case l.gone(e.node.Name) && v.fault != "":
			// What has failed is what to mend first.
		case l.gone(e.node.Name) && !equal:
			v.kind, v.patience = "gone", shortly
			v.warning = fmt.Sprintf("Node %q is %s, so nobody knows how its side of pair %q is. It takes over what has changed when it comes back.", e.node.Name, node.State, t.name)
		case l.gone(e.node.Name):
			v.kind, v.at, v.patience = "gone", e.at().AtName("node"), forLong
			v.fault = fmt.Sprintf("Node %q is %s.", e.node.Name, node.State)
		case applied && side.State == spec.PairFailed:
			v.kind, v.at, v.patience, v.warning = "failed", e.at(), shortly, ""
			v.fault = fmt.Sprintf("The side of node %q has failed: %s.", e.node.Name, side.Problem)
		case !applied && reported && c.Status == spec.ConditionFalse:
			v.kind, v.at, v.patience, v.warning = "not applied", e.at(), forLong, ""
			v.fault = fmt.Sprintf("Node %q cannot put it into effect: %s.", e.node.Name, c.Message)
		}
	}
	v.done = v.done && (!equal || l.view.State == spec.PairSynced || t.body.Standby != nil && l.view.State == spec.PairStandingBy)
	return v
}

// wait looks again and again until judge is done or a fault lasts.
func (t *task) wait(ctx context.Context, summary string, judge func(look) verdict) diag.Diagnostics {
	var diags diag.Diagnostics
	var last look
	var lastErr error
	begin := time.Now()
	kind, lasted := "", 0
	for {
		status, err := t.crew.StatusBy(ctx, t.body.Leader)
		if err == nil {
			last, lastErr = look{status: status}, nil
			last.view, last.described = status.Pairs[t.name]
			v := judge(last)
			switch {
			case v.done:
				return diags
			case v.kind == "":
				kind, lasted = "", 0
			case v.kind == kind:
				lasted++
			default:
				kind, lasted = v.kind, 1
			}
			if kind != "" && lasted >= v.patience {
				if v.warning != "" {
					diags.AddAttributeWarning(path.Root("nodes"), summary, v.warning)
				} else {
					diags.AddAttributeError(v.at, summary, v.fault+"\n\n"+t.explain(last)+"\n\n"+t.goOn())
				}
				return diags
			}
			t.progress(ctx, v.doing, begin)
		} else if ctx.Err() == nil {
			lastErr = err
		}
		if !operator.Pause(ctx, t.patience.Poll) {
			if d, ok := diagnose.Interrupted(summary, path.Root("nodes"), t.doing(last), ctx.Err()); ok {
				diags.Append(d)
				return diags
			}
			diags.AddAttributeError(path.Root("nodes"), summary, t.gaveUp(last, lastErr, time.Since(begin)))
			return diags
		}
	}
}

// progress tells what goes on, each thing once.
func (t *task) progress(ctx context.Context, doing string, begin time.Time) {
	if doing == t.told {
		return
	}
	t.told = doing
	tflog.Info(ctx, "waiting for a pair", map[string]any{"pair": t.name, "doing": doing, "waited": time.Since(begin).Round(time.Second).String()})
}

// doing says what both sides do.
func (t *task) doing(l look) string {
	if !l.described {
		return "the nodes have not heard of it yet"
	}
	var out []string
	for _, e := range t.ends {
		side := l.view.Sides[e.node.Name]
		text := fmt.Sprintf("%s is %s", e.node.Name, side.State)
		if side.Pending > 0 {
			text += fmt.Sprintf(", %d changed paths wait", side.Pending)
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func (t *task) gaveUp(l look, err error, after time.Duration) string {
	text := fmt.Sprintf("After %s, pair %q is not what it is to be.\n\n%s", after.Round(time.Second), t.name, t.explain(l))
	if err != nil {
		text += fmt.Sprintf("\n\nThe nodes do not answer any more: %v.", err)
	}
	return text + "\n\n" + t.goOn()
}

func (*task) goOn() string {
	return "The nodes go on by themselves, and files are safe on both. A new pair that Terraform calls tainted would be made again, which compares everything once more: " +
		"`terraform untaint ADDRESS` keeps it. Apply again to go on waiting."
}

// explain says how the sides are and what the nodes say of themselves.
func (t *task) explain(l look) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Sides of pair %q, as %s sees them:", t.name, l.status.Seen)
	if !l.described {
		b.WriteString(" nothing is known yet")
	}
	for _, e := range t.ends {
		if side, ok := l.view.Sides[e.node.Name]; ok {
			fmt.Fprintf(&b, "\n- %s (%s): %s", e.node.Name, side.Path, side.State)
			if side.Pending > 0 {
				fmt.Fprintf(&b, ", %d changed paths wait", side.Pending)
			}
			if side.Problem != "" {
				fmt.Fprintf(&b, "; %s", side.Problem)
			}
		}
		n := l.status.Nodes[e.node.Name]
		if n.State != api.NodeReady && n.Message != "" {
			fmt.Fprintf(&b, "\n- %s is %s: %s", e.node.Name, n.State, n.Message)
		}
	}
	return b.String()
}
