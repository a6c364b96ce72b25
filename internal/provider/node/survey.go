package node

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"golang.org/x/sync/errgroup"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/mark"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// surroundings is what the nodes that can be asked know before a node is made.
type surroundings struct {
	mesh       map[netip.Addr]string
	endpoints  map[string][]string
	generation uint64
}

// survey asks every node that it can find what it knows, and notes those that answer, to introduce them later.
//
// An apply starts with a provider that remembers nothing, and Terraform calls it for changed resources only. So nodes are
// found by what lasts: the cluster's seeds and the marks of instances at the vendor, beside the nodes of this very run.
// Whoever does not answer is left out: a cluster may be made all at once.
func (t *task) survey(ctx context.Context) (surroundings, diag.Diagnostics) {
	reg := t.op.Cluster(t.root.Cluster)
	out := surroundings{mesh: map[netip.Addr]string{}, endpoints: map[string][]string{}, generation: reg.Buried(t.name)}
	var exists *spec.Node
	var mu sync.Mutex
	var g errgroup.Group
	for _, endpoints := range t.neighbours(ctx) {
		g.Go(func() error {
			peer, seen, err := t.op.Meet(ctx, t.root.Cluster, endpoints)
			if err != nil || peer.Name == t.name {
				return nil //nolint:nilerr // a node that does not answer knows nothing
			}
			if len(peer.Records) > 0 && !reg.Removed(peer.Name) {
				reg.Learn(peer)
			}
			mu.Lock()
			defer mu.Unlock()
			for a, n := range seen.MeshAddresses() {
				if n != t.name {
					out.mesh[a] = n
				}
			}
			maps.Copy(out.endpoints, seen.Endpoints(t.name))
			out.generation = max(out.generation, seen.Generations[t.ref()])
			if n, alive := seen.Nodes[t.name]; alive {
				exists = &n
			}
			return nil
		})
	}
	_ = g.Wait() // the functions return nil
	var diags diag.Diagnostics
	if exists != nil && exists.Identity != "" {
		diags.Append(t.existsAlready(exists.Endpoints(t.api)))
	}
	return out, diags
}

// search looks for other nodes of the cluster and notes those that answer. It returns the newest generation of this node's
// object that they know.
func (t *task) search(ctx context.Context) uint64 {
	reg := t.op.Cluster(t.root.Cluster)
	var generation uint64
	var mu sync.Mutex
	var g errgroup.Group
	for _, endpoints := range t.neighbours(ctx) {
		g.Go(func() error {
			peer, seen, err := t.op.Meet(ctx, t.root.Cluster, endpoints)
			if err != nil || peer.Name == t.name || len(peer.Records) == 0 || reg.Removed(peer.Name) {
				return nil //nolint:nilerr // a node that does not answer cannot be told
			}
			reg.Learn(peer)
			mu.Lock()
			defer mu.Unlock()
			generation = max(generation, seen.Generations[t.ref()])
			return nil
		})
	}
	_ = g.Wait() // the functions return nil
	return generation
}

// neighbours returns the endpoints of every node that might answer, a list for each node.
func (t *task) neighbours(ctx context.Context) [][]string {
	var out [][]string
	reg := t.op.Cluster(t.root.Cluster)
	for _, p := range reg.Others(t.name) {
		out = append(out, p.Endpoints)
	}
	for _, endpoints := range reg.Heard(t.name) {
		out = append(out, endpoints)
	}
	for _, seed := range t.cluster.Cluster.Seeds {
		out = append(out, []string{seed})
	}
	client, err := t.op.Linode()
	if err != nil {
		return out // a cluster without Linodes needs no token
	}
	// That the list cannot be had is no reason to stop: creating an instance reports it, and nodes may be found otherwise.
	instances, err := client.MarkedInstances(ctx, mark.Cluster(t.root.Cluster))
	if err != nil {
		return out
	}
	for _, i := range instances {
		if !slices.Contains(i.Tags, t.mark()) && len(i.Addresses()) > 0 {
			out = append(out, spec.Node{Addresses: i.Addresses()}.Endpoints(t.api))
		}
	}
	return out
}

// ticketTime returns when a ticket is issued: now, or just after the tombstone of the node's predecessor if that was signed
// by a clock that is a little ahead, since a ticket from before it would be taken for the predecessor's.
func (t *task) ticketTime(known uint64) time.Time {
	now := t.op.Now()
	after := time.UnixMilli(int64(min(known, 1<<60)) + 1) //nolint:gosec // bounded
	if after.After(now) && after.Sub(now) < trust.Skew {
		return after
	}
	return now
}

// refuseOthers returns an error unless the agent at addresses shows that it is not a finished node of this name: a finished
// one belongs to another state, or this one has lost it. An agent that stays silent proves nothing, and what is taken over
// here is deleted after a failure, so silence is a refusal too. The machine may be booting, hence the patience.
func (t *task) refuseOthers(ctx context.Context, at path.Path, machine string, addresses []string) diag.Diagnostics {
	ctx, cancel := context.WithTimeout(ctx, t.op.Patience().Resume)
	defer cancel()
	endpoints := spec.Node{Addresses: addresses}.Endpoints(t.api)
	waiting := 0
	for {
		seen, err := t.op.Look(ctx, t.root.Cluster, t.name, endpoints, "")
		if n, ok := seen.Nodes[t.name]; err == nil && ok && n.Identity != "" {
			return diag.Diagnostics{t.existsAlready(endpoints)}
		}
		// Every agent says that it waits while it starts; only one that goes on saying so has nothing to start with.
		if waiting++; err != nil && !t.waits(ctx, addresses) {
			waiting = 0
		}
		if err == nil || waiting == 3 {
			return nil
		}
		if !operator.Pause(ctx, t.op.Patience().Poll) {
			return diag.Diagnostics{diag.NewAttributeErrorDiagnostic(at, "Cannot tell whose machine this is", fmt.Sprintf(
				"%s is marked as that of node %q and is not in this state. Its agent does not answer (%v), so it may be another state's node. "+
					"Nothing was changed.\n\nBring it up and apply again, or import the node. If it is left over from a run that broke off, delete it and apply again.",
				machine, t.name, err))}
		}
	}
}

// waits tells whether a machine's health endpoint says that it has not joined any cluster yet.
func (t *task) waits(ctx context.Context, addresses []string) bool {
	for _, e := range (spec.Node{Addresses: addresses}).Endpoints(t.health) {
		if h, err := api.FetchHealth(ctx, e); err == nil {
			return h.State != "" && h.State != "joined"
		}
	}
	return false
}

// reasons lists errors by node, one a line.
func reasons(failed map[string]error) string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		lines = append(lines, fmt.Sprintf("- %s: %v", name, failed[name]))
	}
	return strings.Join(lines, "\n")
}
