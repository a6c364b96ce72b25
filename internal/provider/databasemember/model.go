package databasemember

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/database"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Model is the resource's state.
type Model struct {
	ID       types.String `tfsdk:"id"`
	Database types.Object `tfsdk:"database"`
	Node     types.Object `tfsdk:"node"`
	Role     types.String `tfsdk:"role"`
	Weight   types.Int64  `tfsdk:"weight"`

	State       types.String  `tfsdk:"state"`
	CurrentRole types.String  `tfsdk:"current_role"`
	Lag         types.Float64 `tfsdk:"lag"`
	Version     types.String  `tfsdk:"version"`
	Problem     types.String  `tfsdk:"problem"`
	Router      types.Object  `tfsdk:"router"`

	Timeouts timeouts.Value `tfsdk:"timeouts"`
}

func known(v attr.Value) bool { return !v.IsNull() && !v.IsUnknown() }

// part is a member in plain terms. What is unknown is empty.
type part struct {
	cluster string
	// nodeCluster is the cluster of the node.
	nodeCluster string
	spec.Member
	// of is the database as far as the reference tells of it; whole tells that it tells everything that places members.
	of        spec.Database
	whole     bool
	preferred types.String
	revision  string
	node      operator.Peer
	domain    reference.Domain
}

// named tells whether it is known which member of which database of which cluster it is.
func (p part) named() bool { return p.cluster != "" && p.Database != "" && p.Node != "" }

// part reads the model. Values may be unknown.
func (m *Model) part(ctx context.Context) (part, diag.Diagnostics) {
	p := part{preferred: types.StringUnknown(), Member: spec.Member{Role: spec.MemberRole(m.Role.ValueString()), Weight: int(m.Weight.ValueInt64())}}
	d, _, diags := reference.DatabaseFrom(ctx, m.Database)
	cluster, more := reference.NameOf(ctx, d.Cluster)
	diags.Append(more...)
	p.cluster, p.Database, p.revision = cluster.ValueString(), d.Name.ValueString(), d.Revision.ValueString()
	p.preferred, more = reference.NameOf(ctx, d.PreferredPrimary)
	diags.Append(more...)
	p.of = spec.Database{
		Group: d.Group.ValueString(), Votes: int(d.Votes.ValueInt64()), Port: int(d.Port.ValueInt64()), Bootstrap: spec.Bootstrap{Node: p.preferred.ValueString()},
	}
	if known(d.Router) {
		var r reference.RouterPorts
		diags.Append(d.Router.As(ctx, &r, basetypes.ObjectAsOptions{})...)
		p.of.Router.WritePort, p.of.Router.ReadPort = int(r.WritePort.ValueInt64()), int(r.ReadPort.ValueInt64())
	}
	accepted, whole, more := reference.Accepted(ctx, d.Accept)
	diags.Append(more...)
	p.of.Accept, p.whole = accepted, whole && known(d.Votes)
	n, _, more := reference.PlacedNodeFrom(ctx, m.Node)
	diags.Append(more...)
	cluster, more = n.ClusterName(ctx)
	diags.Append(more...)
	endpoints, more := n.Addresses(ctx)
	diags.Append(more...)
	p.nodeCluster, p.Node = cluster.ValueString(), n.Name.ValueString()
	p.node = operator.Peer{Name: p.Node, Endpoints: endpoints, Identity: n.Identity.ValueString()}
	p.domain, more = n.Domain(ctx)
	diags.Append(more...)
	return p, diags
}

func memberID(cluster string, m spec.Member) string { return cluster + "/" + m.Database + "/" + m.Node }

// Observe sets what was observed. A nil view means that nothing is known.
func (m *Model) Observe(v *api.DatabaseMemberView) {
	m.State, m.CurrentRole, m.Lag = types.StringValue(string(api.MemberUnknown)), types.StringNull(), types.Float64Null()
	m.Version, m.Problem, m.Router = types.StringNull(), types.StringNull(), types.ObjectNull(routerTypes())
	if v == nil {
		return
	}
	m.State, m.Lag = types.StringValue(string(database.StateOfMember(*v))), database.LagOf(*v)
	m.CurrentRole = types.StringValue(database.RoleOf(*v))
	m.Version, m.Problem = textOrNull(v.Version), textOrNull(v.Problem)
	if v.Stale {
		return
	}
	m.Router = types.ObjectValueMust(routerTypes(), map[string]attr.Value{
		"running": types.BoolValue(v.Router.Running), "writable": types.BoolValue(v.Router.Writable), "writer": textOrNull(v.Router.Writer),
	})
}

func textOrNull(s string) types.String {
	if s == "" {
		return types.StringNull()
	}
	return types.StringValue(s)
}
