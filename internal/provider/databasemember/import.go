package databasemember

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/database"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// ImportState reads a member from any node of its cluster: CLUSTER/DATABASE/NODE@host:port.
func (r *Resource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	const failed = "Import member"
	id, err := reference.ParseImportID(req.ID, 3)
	if err != nil {
		resp.Diagnostics.AddError("Import ID", fmt.Sprintf("%v.\n\nWrite CLUSTER/DATABASE/NODE@host:port, where host:port is the API of any node of the cluster.", err))
		return
	}
	if _, err := r.op.Key(); err != nil {
		resp.Diagnostics.Append(diagnose.SigningKey(err))
		return
	}
	cluster, name, node := id.Names[0], id.Names[1], id.Names[2]
	seen, err := r.op.Look(ctx, cluster, "", []string{id.Endpoint}, "")
	if err != nil {
		resp.Diagnostics.AddError(failed, fmt.Sprintf("Cannot read the member from %s: %v.", id.Endpoint, err))
		return
	}
	m, alive := seen.DatabaseMembers[spec.MemberName(name, node)]
	d, begun := seen.Databases[name]
	if !alive || !begun {
		resp.Diagnostics.AddError(failed, fmt.Sprintf("The node at %s knows no part of node %q in database %q of cluster %q.", id.Endpoint, node, name, cluster))
		return
	}
	mark, err := database.Revision(d)
	if err != nil {
		resp.Diagnostics.AddError(failed, err.Error()+".")
		return
	}
	var model Model
	// Any value makes an object of the empty state, which then can be read with all its types.
	resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("id"), memberID(cluster, m))...)
	resp.Diagnostics.Append(resp.State.Get(ctx, &model)...)
	if resp.Diagnostics.HasError() {
		return
	}
	n, identity := seen.Nodes[node], ""
	if admitted, ok := seen.Members[node]; ok {
		identity = admitted.Identity.String()
	}
	model.Database = reference.DatabaseValue(cluster, name, d, mark)
	model.Node = reference.PlacedNodeValue(cluster, node, seen.Endpoints("")[node], identity, n.Provider, n.Site)
	model.Role, model.Weight = types.StringValue(string(m.Role)), types.Int64Value(int64(m.Weight))
	model.Observe(nil)
	resp.Diagnostics.Append(resp.State.Set(ctx, &model)...)
	known := memory{Generation: seen.Generations[spec.Ref{Kind: spec.KindMember, Name: m.Name()}], Peers: seen.Endpoints("")}
	resp.Diagnostics.Append(known.save(ctx, resp.Private)...)
}
