package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"golang.org/x/sync/errgroup"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/cloudfirewall"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// Delete removes the node from its cluster, at every other node that can be reached, and then its machine.
func (r *Resource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var state Model
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	if resp.Diagnostics.HasError() {
		return
	}
	timeout, diags := state.Timeouts.Delete(ctx, deleteTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t, diags := r.begin(ctx, &state)
	resp.Diagnostics.Append(diags...)
	mem, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	defer func() { t.login.close() }()
	if resp.Diagnostics.Append(t.machine().beforeRemoval(ctx, t)...); resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(t.evict(ctx, mem)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(t.machine().remove(ctx, t)...)
	if !resp.Diagnostics.HasError() {
		resp.Diagnostics.Append(t.settleWalls(ctx, mem, cloudfirewall.Occasion{Leaving: true})...)
	}
}

// evict tells every node that this one is no member any more, the node itself included, so that it cleans itself up.
func (t *task) evict(ctx context.Context, mem memory) diag.Diagnostics {
	reg := t.op.Cluster(t.root.Cluster)
	reg.Forget(t.name)
	endpoints, diags := reference.Strings(ctx, t.model.Endpoints)
	generation := mem.Generation
	if len(endpoints) > 0 && !t.gone {
		seen, err := t.op.Look(ctx, t.root.Cluster, t.name, endpoints, t.model.Identity.ValueString())
		if err == nil {
			generation = max(generation, seen.Generations[t.ref()])
			maps.Copy(mem.nonNilPeers(), seen.Endpoints(t.name))
		}
		t.silent = errors.Is(err, api.ErrUnreachable)
	}
	if len(t.others(mem)) == 0 {
		// This state was never refreshed since the others joined, or there are none.
		generation = max(generation, t.search(ctx))
	}
	object, buried, err := t.tombstone(generation)
	if err != nil {
		diags.AddError("Remove node", err.Error()+".")
		return diags
	}
	reg.Bury(t.name, buried)
	records := []store.Record{store.ObjectRecord(object)}
	others := t.others(mem)
	reg.Hear(others)
	var missed map[string]error
	var g errgroup.Group
	g.Go(func() error {
		missed = t.op.Tell(ctx, t.root.Cluster, others, records)
		return nil
	})
	// One that is silent hears of it from the others when it is back.
	if len(endpoints) > 0 && !t.gone && !t.silent {
		g.Go(func() error {
			t.told = t.op.TellOnce(ctx, t.root.Cluster, operator.Peer{Name: t.name, Endpoints: endpoints}, records) == nil
			return nil
		})
	}
	_ = g.Wait() // the functions return nil
	if len(others) == 0 && !t.told && !t.model.Identity.IsNull() {
		diags.AddWarning("Nobody heard of the removal", fmt.Sprintf("Node %q does not answer, and this state knows no other node that is to stay in cluster %q. "+
			"If there are others, they still have it as a member: refresh their state with `terraform apply -refresh-only`, or make it again and remove it.", t.name, t.root.Cluster))
	}
	diags.Append(t.missed(missed, len(others) > len(missed))...)
	return diags
}

// missed reports the nodes that have not heard of the removal, while some have or none. One that knows something newer stops
// it: another run made the node again. So does a clock that keeps everybody from hearing of it, since the machine would be
// gone and its node a member for good.
func (t *task) missed(failed map[string]error, some bool) diag.Diagnostics {
	var diags diag.Diagnostics
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		var outdated *operator.OutdatedError
		if errors.As(failed[name], &outdated) {
			diags.Append(t.pushFailed(failed[name]))
			return diags
		}
		if !some && operator.WrongClock(failed[name]) {
			diags.AddError("Clocks disagree", fmt.Sprintf("Node %q was not removed, since the others cannot be told: %v.\n\nThen apply again.", t.name, failed[name]))
			return diags
		}
	}
	if len(failed) == 0 {
		return diags
	}
	diags.AddWarning("Removal is not acknowledged everywhere", fmt.Sprintf(
		"Node %q is removed, but these nodes have not acknowledged it:\n%s\n\nThey hear of it from the others when they are back.", t.name, reasons(failed)))
	return diags
}

func (m *memory) nonNilPeers() map[string][]string {
	if m.Peers == nil {
		m.Peers = map[string][]string{}
	}
	return m.Peers
}
