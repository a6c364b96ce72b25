package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/cloudfirewall"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Read compares the state with the instance and with what the agent holds. An agent that does not answer changes nothing.
func (r *Resource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state Model
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	if resp.Diagnostics.HasError() {
		return
	}
	t, diags := r.begin(ctx, &state)
	resp.Diagnostics.Append(diags...)
	mem, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	mem.Wall, mem.WallLines = "", nil
	gone, diags := t.machine().read(ctx, t)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	switch {
	case gone && !state.Identity.IsNull():
		// Dropping it from state would leave the node in the cluster for good. Without an identity the next apply removes it
		// from the cluster and makes it again, or only the former if it is not wanted any more.
		state.Identity = types.StringNull()
		resp.Diagnostics.AddAttributeWarning(path.Root("instance_id"), "Instance is gone", fmt.Sprintf(
			"Instance %s of node %q does not exist any more. The next apply removes the node from the cluster; unless it is to go, it will be created again.",
			state.InstanceID.ValueString(), t.name))
	case !gone && !state.Identity.IsNull():
		resp.Diagnostics.Append(t.noteWall(ctx, &mem, nil)...)
		resp.Diagnostics.Append(t.readAgent(ctx, &mem)...)
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &state)...)
	resp.Diagnostics.Append(mem.save(ctx, resp.Private)...)
}

// readAgent brings the model in line with what the agent holds.
func (t *task) readAgent(ctx context.Context, mem *memory) diag.Diagnostics {
	endpoints, diags := reference.Strings(ctx, t.model.Endpoints)
	if len(endpoints) == 0 {
		t.op.Cluster(t.root.Cluster).Hear(mem.Peers) // one of which passes the call on
	}
	seen, err := t.op.Glance(ctx, t.root.Cluster, operator.Peer{Name: t.name, Endpoints: endpoints, Identity: t.model.Identity.ValueString()})
	if err != nil {
		summary := "Node does not answer"
		if !errors.Is(err, api.ErrUnreachable) {
			summary = "Node cannot be read"
		}
		diags.AddWarning(summary, fmt.Sprintf("The state of node %q is kept as it was: %v.", t.name, err))
		return diags
	}
	n, alive := seen.Nodes[t.name]
	if !alive && seen.Generations[t.ref()] == 0 {
		diags.AddWarning("Node does not know itself", fmt.Sprintf(
			"The agent of node %q holds no description of it, neither one nor a removal; its store may be damaged. The state is kept as it was. "+
				"The other nodes give it back; `atoll status` tells when.", t.name))
		return diags
	}
	if !alive {
		t.model.Identity = types.StringNull()
		diags.AddWarning("Node was removed", fmt.Sprintf("Node %q was removed from the cluster by another run. The next apply removes its machine and makes it again.", t.name))
		return diags
	}
	identity := t.model.Identity
	t.model.FromSpec(ctx, t.root.Cluster, t.name, n, t.api)
	if t.model.Identity.IsNull() {
		t.model.Identity = identity // not pinned yet, so the next update pins the one that answered
	}
	diags.Append(t.readCluster(ctx, seen)...)
	mem.Generation = seen.Generations[t.ref()]
	mem.Peers = seen.Endpoints(t.name)
	holds := cloudfirewall.Input(t.root.Cluster, seen)
	diags.Append(t.noteWall(ctx, mem, &holds)...)
	t.op.Cluster(t.root.Cluster).Learn(operator.Peer{
		Name: t.name, Endpoints: endpoints, Identity: t.model.Identity.ValueString(), Records: seen.Introduction(t.name),
	})
	return diags
}

// readCluster notices when the agent holds another cluster object than the state says: then it missed a change, and the
// next apply pushes it again.
func (t *task) readCluster(ctx context.Context, seen operator.Known) diag.Diagnostics {
	c, ok, diags := reference.ClusterFrom(ctx, t.model.Cluster)
	if !ok || seen.Cluster == nil {
		return diags
	}
	if text, err := reference.EncodeSigned(seen.Cluster.Envelope); err != nil || text == c.SignedObject.ValueString() {
		return diags
	}
	o, more := reference.ClusterValue(*seen.Cluster)
	diags.Append(more...)
	if !diags.HasError() {
		t.model.Cluster = o
	}
	return diags
}

// ImportState reads a node from any node of its cluster: CLUSTER/NODE@host:port.
func (r *Resource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	id, err := reference.ParseImportID(req.ID, 2)
	if err != nil {
		resp.Diagnostics.AddError("Import ID", fmt.Sprintf("%v.\n\nWrite CLUSTER/NODE@host:port, where host:port is the API of any node of the cluster.", err))
		return
	}
	key, err := r.op.Key()
	if err != nil {
		resp.Diagnostics.Append(diagnose.SigningKey(err))
		return
	}
	cluster, name := id.Names[0], id.Names[1]
	seen, err := r.op.Look(ctx, cluster, "", []string{id.Endpoint}, "")
	if err != nil {
		resp.Diagnostics.AddError("Import node", fmt.Sprintf("Cannot read node %q of cluster %q from %s: %v.", name, cluster, id.Endpoint, err))
		return
	}
	n, alive := seen.Nodes[name]
	if !alive || seen.Cluster == nil {
		resp.Diagnostics.AddError("Import node", fmt.Sprintf("The node at %s knows no node %q in cluster %q.", id.Endpoint, name, cluster))
		return
	}
	var m Model
	// Any value makes an object of the empty state, which then can be read with all its types.
	resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("name"), name)...)
	resp.Diagnostics.Append(resp.State.Get(ctx, &m)...)
	o, diags := reference.ClusterValue(*seen.Cluster)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	m.Cluster = o
	m.FromSpec(ctx, cluster, name, n, seen.Cluster.Cluster.Ports.API)
	if m.Identity.IsNull() {
		m.Identity = identityOf(seen, name)
	}
	t := &task{op: r.op, key: key, root: trust.Root{Cluster: cluster, Key: key.Public()}, name: name, model: &m}
	if n.Machine.Variant == spec.MachineLinode {
		resp.Diagnostics.Append(m.setLinode(ctx, linodeModel{
			Tags: types.SetNull(types.StringType), AuthorizedKeys: types.SetNull(types.StringType), Firewall: types.ObjectNull(cloudFirewallTypes()),
		})...)
		resp.Diagnostics.Append(m.setCloudFirewall(ctx, n.CloudFirewall)...)
		gone, diags := linodeMachine{}.read(ctx, t)
		resp.Diagnostics.Append(diags...)
		if gone {
			resp.Diagnostics.AddWarning("Instance is gone", fmt.Sprintf("Instance %s of node %q does not exist any more.", n.Machine.ID, name))
		}
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

// identityOf returns the identity of an admitted member.
func identityOf(seen operator.Known, node string) types.String {
	if member, ok := seen.Members[node]; ok {
		return types.StringValue(member.Identity.String())
	}
	return types.StringNull()
}
