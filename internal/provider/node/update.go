package node

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/cloudfirewall"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Update changes the instance and pushes cluster and node objects.
func (r *Resource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan, state Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	if resp.Diagnostics.HasError() {
		return
	}
	timeout, diags := plan.Timeouts.Update(ctx, updateTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t, diags := r.begin(ctx, &plan)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(t.verifyCluster(ctx)...)
	mem, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	// Whether another run was faster shows when the objects are pushed; until then nothing is touched.
	resp.Diagnostics.Append(t.push(ctx, state, &mem)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(t.machine().update(ctx, t, state)...)
	if resp.Diagnostics.HasError() {
		return
	}
	// A packet filter that is on trial would look as if the firewall kept this run out.
	tried, filter := false, diag.Diagnostics(nil)
	if wish, _, _ := plan.cloudFirewall(ctx); wish != nil && t.pushed {
		tried, filter = true, t.awaitFilter(ctx, state, mem.Generation)
	}
	if resp.Diagnostics.Append(t.keepWall(ctx, state, mem)...); resp.Diagnostics.HasError() {
		resp.Diagnostics.Append(filter...)
		return
	}
	resp.Diagnostics.Append(t.settleWalls(ctx, mem, cloudfirewall.Occasion{})...)
	resp.Diagnostics.Append(t.observeWall(ctx, true)...)
	mem.Wall, mem.WallLines = "", nil
	plan.settle()
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	resp.Diagnostics.Append(mem.save(ctx, resp.Private)...)
	if t.pushed && !resp.Diagnostics.HasError() {
		resp.Diagnostics.Append(t.awaitPorts(ctx, state, mem.Generation)...)
		if !tried {
			filter = t.awaitFilter(ctx, state, mem.Generation)
		}
	}
	resp.Diagnostics.Append(filter...)
}

// push brings cluster and node objects to the node. When it does not answer, the other nodes take them for it.
func (t *task) push(ctx context.Context, state Model, mem *memory) diag.Diagnostics {
	n, diags := t.model.ToSpec(ctx)
	was, more := state.ToSpec(ctx)
	diags.Append(more...)
	if n.Machine.Variant != spec.MachineLinode {
		// An imported node has no argument for its machine in state, and its machine is the same.
		was.Machine.Variant = n.Machine.Variant
	}
	ps, _ := t.op.Cluster(t.root.Cluster).Plan(t.cluster.Cluster.MeshCIDR, t.name, operator.Planned{MeshAddress: n.MeshAddress, Addresses: n.Addresses})
	diags.Append(clusterProblems(t.name, ps)...)
	if diags.HasError() {
		return diags
	}
	endpoints := n.Endpoints(t.api)
	for _, e := range was.Endpoints(t.api) {
		if !slices.Contains(endpoints, e) {
			endpoints = append(endpoints, e)
		}
	}
	t.op.Cluster(t.root.Cluster).Hear(mem.Peers) // which pass calls on to a node without an address
	agent, err := t.op.Agent(t.root.Cluster, operator.Peer{Name: t.name, Endpoints: endpoints, Identity: t.model.Identity.ValueString()})
	if err != nil {
		diags.AddError("Node was not updated", err.Error()+".")
		return diags
	}
	defer agent.Close()
	seen, err := t.op.Look(ctx, t.root.Cluster, t.name, endpoints, t.model.Identity.ValueString())
	answers := err == nil
	if answers && mem.Generation != 0 && seen.Generations[t.ref()] != mem.Generation {
		diags.AddError("Changed by another run", fmt.Sprintf(
			"Node %q has generation %d of its description, this state knows %d: another run changed it since the plan was made.\n\n"+
				"Nothing was overwritten. Refresh and apply again.", t.name, seen.Generations[t.ref()], mem.Generation))
		return diags
	}
	records := []store.Record{store.ObjectRecord(t.cluster.Envelope)}
	if present, ok := seen.Nodes[t.name]; !answers || !ok || !sameNode(present, n) {
		object, generation, err := t.sign(n, max(mem.Generation, seen.Generations[t.ref()]))
		if err != nil {
			diags.AddAttributeError(path.Root("name"), "Node was not updated", err.Error()+".")
			return diags
		}
		records = append(records, store.ObjectRecord(object))
		mem.Generation = generation
	}
	if answers {
		err = operator.Push(ctx, agent, t.name, records)
	}
	switch {
	case err == nil:
		t.pushed = true
		met := t.introduce(ctx, mem, endpoints)
		// Whom a packet filter keeps out that is on trial, its own error says.
		if filtered, _ := t.newFilter(ctx, state); filtered {
			met = asWarnings(met)
		}
		diags.Append(met...)
	case errors.Is(err, api.ErrUnreachable):
		diags.Append(t.pushByOthers(ctx, *mem, records, err)...)
	default:
		diags.Append(t.pushFailed(err))
	}
	return diags
}

// pushByOthers leaves the objects with the other nodes, who pass them on when the node is back.
func (t *task) pushByOthers(ctx context.Context, mem memory, records []store.Record, cause error) diag.Diagnostics {
	var diags diag.Diagnostics
	others := t.others(mem)
	missed := t.op.Tell(ctx, t.root.Cluster, others, records)
	if len(others) == len(missed) {
		diags.AddError("Node was not updated", fmt.Sprintf("Node %q does not answer and no other node could take the change for it: %v.\n\n"+
			"Bring it back (its agent listens on port %d) and apply again.", t.name, cause, t.api))
		return diags
	}
	diags.AddWarning("Node does not answer", fmt.Sprintf("Node %q does not answer (%v). Other nodes have the change and pass it on when it is back.", t.name, cause))
	return diags
}

func sameNode(a, b spec.Node) bool {
	a.Addresses, b.Addresses = slices.Clip(a.Addresses), slices.Clip(b.Addresses)
	if len(a.Addresses) == 0 && len(b.Addresses) == 0 {
		a.Addresses, b.Addresses = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

// tombstone signs the node's removal and returns its generation.
func (t *task) tombstone(known uint64) (trust.Envelope, uint64, error) {
	now := t.op.Now()
	generation := operator.Generation(known, now)
	e, err := trust.SignObject(t.key, spec.NewTombstone(t.root.Cluster, t.ref(), generation, uint64(now.UnixMilli())))
	return e, generation, err
}
