package replicationpair

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// ImportState reads a pair from any node of its cluster: CLUSTER/NAME@host:port. The keys of its nodes are their names.
func (r *Resource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	const failed = "Import pair"
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
		resp.Diagnostics.AddError(failed, fmt.Sprintf("Cannot read the pair from %s: %v.", id.Endpoint, err))
		return
	}
	body, alive := seen.Pairs[name]
	if !alive {
		resp.Diagnostics.AddError(failed, fmt.Sprintf("The node at %s knows no pair %q of cluster %q.", id.Endpoint, name, cluster))
		return
	}
	var m Model
	p := pair{name: name, cluster: cluster}
	// Any value makes an object of the empty state, which then can be read with all its types.
	resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("id"), p.id())...)
	resp.Diagnostics.Append(resp.State.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	m.Limits, m.Cold = types.ObjectNull(limitTypes()), types.ObjectNull(coldTypes())
	m.Accept = types.ObjectNull(acceptTypes())
	resp.Diagnostics.Append(m.fromSpec(ctx, &p, body, seen)...)
	m.Observe(nil, nil)
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
	remembered := memory{Generation: seen.Generations[spec.Ref{Kind: spec.KindPair, Name: name}], Peers: seen.Endpoints("")}
	resp.Diagnostics.Append(remembered.save(ctx, resp.Private)...)
}
