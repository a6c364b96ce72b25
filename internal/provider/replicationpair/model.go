package replicationpair

import (
	"context"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Model is the resource's state.
type Model struct {
	ID        types.String `tfsdk:"id"`
	Name      types.String `tfsdk:"name"`
	Nodes     types.Map    `tfsdk:"nodes"`
	Leader    types.String `tfsdk:"leader"`
	Driver    types.String `tfsdk:"driver"`
	Owner     types.String `tfsdk:"owner"`
	Group     types.String `tfsdk:"group"`
	Exclude   types.List   `tfsdk:"exclude"`
	Limits    types.Object `tfsdk:"limits"`
	Cold      types.Object `tfsdk:"cold"`
	Standby   types.Object `tfsdk:"standby"`
	After     types.Object `tfsdk:"after_change"`
	Objective types.Int64  `tfsdk:"objective_seconds"`
	Accept    types.Object `tfsdk:"accept"`

	State         types.String  `tfsdk:"state"`
	Propagation   types.Float64 `tfsdk:"propagation_seconds"`
	Conflicts     types.Int64   `tfsdk:"conflicts"`
	ConflictPaths types.List    `tfsdk:"conflict_paths"`
	ColdStatus    types.Object  `tfsdk:"cold_status"`
	StandsInSince types.String  `tfsdk:"stands_in_since"`
	Sides         types.Map     `tfsdk:"sides"`

	Timeouts timeouts.Value `tfsdk:"timeouts"`
}

// limitsModel is the argument limits.
type limitsModel struct {
	Bandwidth types.Int64  `tfsdk:"bandwidth_kib"`
	Nice      types.Int64  `tfsdk:"nice"`
	IO        types.String `tfsdk:"io_class"`
	Memory    types.Int64  `tfsdk:"memory_mib"`
}

func limitTypes() map[string]attr.Type {
	return map[string]attr.Type{"bandwidth_kib": types.Int64Type, "nice": types.Int64Type, "io_class": types.StringType, "memory_mib": types.Int64Type}
}

func nodeTypes() map[string]attr.Type {
	return map[string]attr.Type{"node": types.ObjectType{AttrTypes: reference.PlacedNodeTypes()}, "path": types.StringType, "cold_path": types.StringType}
}

func known(v attr.Value) bool { return !v.IsNull() && !v.IsUnknown() }

// limits reads the argument. Values inside may be unknown, which count as no limit.
func (m *Model) limits(ctx context.Context) (spec.PairLimits, diag.Diagnostics) {
	if !known(m.Limits) {
		return spec.PairLimits{}, nil
	}
	var l limitsModel
	diags := m.Limits.As(ctx, &l, basetypes.ObjectAsOptions{})
	return spec.PairLimits{
		Bandwidth: int(l.Bandwidth.ValueInt64()), Nice: int(l.Nice.ValueInt64()), IO: spec.IOClass(l.IO.ValueString()), Memory: int(l.Memory.ValueInt64()),
	}, diags
}

// setLimits sets what an object says, unless it is what the state says already in other words.
func (m *Model) setLimits(ctx context.Context, l spec.PairLimits) diag.Diagnostics {
	have, diags := m.limits(ctx)
	if !diags.HasError() && have == l {
		return diags
	}
	m.Limits = types.ObjectNull(limitTypes())
	if l == (spec.PairLimits{}) {
		return diags
	}
	m.Limits = types.ObjectValueMust(limitTypes(), map[string]attr.Value{
		"bandwidth_kib": numberOrNull(l.Bandwidth), "nice": numberOrNull(l.Nice), "io_class": textOrNull(string(l.IO)), "memory_mib": numberOrNull(l.Memory),
	})
	return diags
}

func numberOrNull(n int) types.Int64 {
	if n == 0 {
		return types.Int64Null()
	}
	return types.Int64Value(int64(n))
}

func textOrNull(s string) types.String {
	if s == "" {
		return types.StringNull()
	}
	return types.StringValue(s)
}

func secondsOrNull(s float64) types.Float64 {
	if s == 0 {
		return types.Float64Null()
	}
	return types.Float64Value(s)
}

// settings are what is configured of the pair but for its nodes.
func (m *Model) settings() []attr.Value {
	return []attr.Value{m.Name, m.Leader, m.Driver, m.Owner, m.Group, m.Exclude, m.Limits, m.Cold, m.Standby, m.After, m.Objective}
}

func sameArguments(a, b *Model) bool {
	one, other := append(a.settings(), a.Nodes, a.Timeouts), append(b.settings(), b.Nodes, b.Timeouts)
	for i := range one {
		if !one[i].Equal(other[i]) {
			return false
		}
	}
	return true
}

// expectNothing makes everything that is observed unknown.
func (m *Model) expectNothing() {
	m.State, m.Propagation, m.Conflicts = types.StringUnknown(), types.Float64Unknown(), types.Int64Unknown()
	m.ConflictPaths, m.Sides = types.ListUnknown(types.StringType), types.MapUnknown(types.ObjectType{AttrTypes: sideTypes()})
	m.ColdStatus, m.StandsInSince = types.ObjectUnknown(coldStatusTypes()), types.StringUnknown()
}

// Observe sets what was observed; keys are the nodes' keys by their names. A nil view means that nothing is known.
func (m *Model) Observe(v *api.PairView, keys map[string]string) {
	m.State, m.Propagation, m.Conflicts = types.StringValue(string(api.PairUnknown)), types.Float64Null(), types.Int64Null()
	m.ConflictPaths, m.Sides = types.ListNull(types.StringType), types.MapNull(types.ObjectType{AttrTypes: sideTypes()})
	m.observeCold(nil)
	m.StandsInSince = types.StringNull()
	if v == nil {
		return
	}
	m.observeCold(v.Cold)
	if !v.StandsIn.IsZero() {
		m.StandsInSince = types.StringValue(v.StandsIn.UTC().Format(time.RFC3339))
	}
	m.State, m.Propagation, m.Conflicts = types.StringValue(string(v.State)), secondsOrNull(v.Propagation), types.Int64Value(int64(v.Conflicts))
	m.ConflictPaths = reference.StringList(v.ConflictPaths)
	sides := map[string]attr.Value{}
	for node, side := range v.Sides {
		if keys[node] == "" {
			continue
		}
		sides[keys[node]] = types.ObjectValueMust(sideTypes(), map[string]attr.Value{
			"state": types.StringValue(string(side.State)), "pending": types.Int64Value(int64(side.Pending)),
			"propagation_seconds": secondsOrNull(side.Propagation), "watching": textOrNull(side.Watching), "problem": textOrNull(side.Problem),
			"propagation_last_hour": latelyOf(side), "after_change": afterStatusValue(side.After),
		})
	}
	m.Sides = types.MapValueMust(types.ObjectType{AttrTypes: sideTypes()}, sides)
}

// latelyOf is how long changes took from a side to the other in the last hour.
func latelyOf(side api.PairSideView) types.Object {
	l := side.Lately
	if l == nil || side.Stale {
		return types.ObjectNull(latelyTypes())
	}
	return types.ObjectValueMust(latelyTypes(), map[string]attr.Value{
		"p50_seconds": types.Float64Value(l.P50), "p99_seconds": types.Float64Value(l.P99), "max_seconds": types.Float64Value(l.Max), "canaries": types.Int64Value(int64(l.Canaries)),
	})
}
