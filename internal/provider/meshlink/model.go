package meshlink

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Model is the resource's state.
type Model struct {
	ID       types.String   `tfsdk:"id"`
	From     types.Object   `tfsdk:"from"`
	To       types.Object   `tfsdk:"to"`
	TCPOnly  types.Bool     `tfsdk:"tcp_only"`
	MTU      types.Int64    `tfsdk:"mtu"`
	State    types.String   `tfsdk:"state"`
	Forward  types.Object   `tfsdk:"forward"`
	Reverse  types.Object   `tfsdk:"reverse"`
	Timeouts timeouts.Value `tfsdk:"timeouts"`
}

func directionTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"reachable": types.BoolType, "direct": types.BoolType, "next_hop": types.StringType,
		"rtt_ms": types.Float64Type, "loss": types.Float64Type,
	}
}

// ends are the two nodes of a link. Values inside may be unknown.
type ends struct {
	from, to reference.Node
	// known tells whether both are known as objects.
	known bool
}

func (m Model) ends(ctx context.Context) (ends, diag.Diagnostics) {
	from, fromOK, diags := reference.NodeFrom(ctx, m.From)
	to, toOK, more := reference.NodeFrom(ctx, m.To)
	diags.Append(more...)
	return ends{from: from, to: to, known: fromOK && toOK}, diags
}

func (e ends) cluster() string { return e.from.Cluster.Name.ValueString() }

// named tells whether both names and both clusters are known.
func (e ends) named() bool {
	for _, s := range []types.String{e.from.Name, e.to.Name, e.from.Cluster.Name, e.to.Cluster.Name} {
		if s.IsNull() || s.IsUnknown() {
			return false
		}
	}
	return e.known
}

// ToSpec returns the link that the model describes.
func (m Model) ToSpec(e ends) spec.Link {
	return spec.Link{
		From: e.from.Name.ValueString(), To: e.to.Name.ValueString(),
		Settings: spec.LinkSettings{
			TCPOnly: m.TCPOnly.ValueBool(), MTU: int(m.MTU.ValueInt64()),
		},
	}
}

// FromSpec sets what a link object says.
func (m *Model) FromSpec(cluster string, l spec.Link) {
	m.ID = types.StringValue(linkID(cluster, l))
	m.TCPOnly = types.BoolValue(l.Settings.TCPOnly)
	m.MTU = numberOrNull(l.Settings.MTU)
}

func linkID(cluster string, l spec.Link) string { return cluster + "/" + l.Name() }

func numberOrNull(n int) types.Int64 {
	if n == 0 {
		return types.Int64Null()
	}
	return types.Int64Value(int64(n))
}

// Observe sets what was observed. A nil view means that nothing is known.
func (m *Model) Observe(v *api.LinkView, from string) {
	if v == nil {
		m.State = types.StringValue(string(api.UnknownLink))
		m.Forward, m.Reverse = types.ObjectNull(directionTypes()), types.ObjectNull(directionTypes())
		return
	}
	there, back := v.There, v.Back
	if v.From != from {
		there, back = back, there
	}
	m.Forward, m.Reverse = directionValue(there), directionValue(back)
	m.State = types.StringValue(string(worse(there.State, back.State)))
}

// worse returns the state that needs more attention.
func worse(a, b api.DirectionState) api.DirectionState {
	for _, s := range []api.DirectionState{api.Down, api.UnknownLink, api.UpIndirect} {
		if a == s || b == s {
			return s
		}
	}
	return api.UpDirect
}

func directionValue(d api.Direction) types.Object {
	if d.State == api.UnknownLink {
		return types.ObjectNull(directionTypes())
	}
	rtt, hop := types.Float64Null(), types.StringNull()
	if d.RTT > 0 {
		rtt = types.Float64Value(d.RTT)
	}
	if d.Via != "" {
		hop = types.StringValue(d.Via)
	}
	return types.ObjectValueMust(directionTypes(), map[string]attr.Value{
		"reachable": types.BoolValue(d.State != api.Down), "direct": types.BoolValue(d.State == api.UpDirect),
		"next_hop": hop, "rtt_ms": rtt, "loss": types.Float64Value(d.Loss),
	})
}
