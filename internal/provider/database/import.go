package database

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const importFailed = "Import database"

// ImportState reads a database from any node of its cluster: CLUSTER/NAME@host:port.
func (r *Resource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	id, err := reference.ParseImportID(req.ID, 2)
	if err != nil {
		resp.Diagnostics.AddError("Import ID", fmt.Sprintf("%v.\n\nWrite CLUSTER/NAME@host:port, where host:port is the API of any node of the cluster.", err))
		return
	}
	if _, err := r.op.Key(); err != nil {
		resp.Diagnostics.Append(diagnose.SigningKey(err))
		return
	}
	cluster, name := id.Names[0], id.Names[1]
	seen, err := r.op.Look(ctx, cluster, "", []string{id.Endpoint}, "")
	if err != nil {
		resp.Diagnostics.AddError(importFailed, fmt.Sprintf("Cannot read the database from %s: %v.", id.Endpoint, err))
		return
	}
	d, alive := seen.Databases[name]
	if !alive {
		resp.Diagnostics.AddError(importFailed, fmt.Sprintf("The node at %s knows no database %q in cluster %q.", id.Endpoint, name, cluster))
		return
	}
	var m Model
	// Any value makes an object of the empty state, which then can be read with all its types.
	resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("id"), databaseID(cluster, name))...)
	resp.Diagnostics.Append(resp.State.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(m.FromSpec(cluster, name, d)...)
	node := d.Bootstrap.Node
	m.PreferredPrimary = reference.NodeValue(cluster, node, seen.Endpoints("")[node], seen.Nodes[node].Identity)
	m.Observe(nil)
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
	known := memory{Generation: seen.Generations[spec.Ref{Kind: spec.KindDatabase, Name: name}], Peers: seen.Endpoints("")}
	resp.Diagnostics.Append(known.save(ctx, resp.Private)...)
}
