package loadbalancer

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// ModifyPlan fills in what follows from the configuration, and what ids are kept.
func (r *Resource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	var plan, config Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	var state *Model
	if !req.State.Raw.IsNull() {
		state = &Model{}
		resp.Diagnostics.Append(req.State.Get(ctx, state)...)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(plan.derive(ctx, &config)...)
	v, diags := plan.view(ctx)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	l, diags := plan.local(ctx)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	plan.expect(state, v, l, time.Now())
	resp.Diagnostics.Append(resp.Plan.Set(ctx, &plan)...)
	resp.Diagnostics.Append(plan.warnDomains(ctx, v)...)
	resp.Diagnostics.Append(plan.warnPorts(v, l)...)
	if r.op != nil && (state == nil || !sameArguments(&plan, state)) {
		diags := r.look(ctx, &plan, state, v)
		if state == nil && r.op.Noted(vanished(&plan)) {
			// Terraform plans to make again what has vanished before it plans to destroy it, which must go well without the zone.
			diags = warnings(diags)
		}
		resp.Diagnostics.Append(diags...)
	}
}

// warnings returns the diagnostics with errors made warnings.
func warnings(diags diag.Diagnostics) diag.Diagnostics {
	var out diag.Diagnostics
	for _, d := range diags {
		if at, ok := d.(diag.DiagnosticWithPath); ok {
			out.AddAttributeWarning(at.Path(), d.Summary(), d.Detail())
		} else {
			out.AddWarning(d.Summary(), d.Detail())
		}
	}
	return out
}

// expect settles what is planned of the ids and of what is observed.
func (m *Model) expect(state *Model, v view, l local, now time.Time) {
	replaced := state == nil || !state.Hostname.Equal(m.Hostname) || !state.Zone.Equal(m.Zone)
	if !replaced && sameArguments(m, state) && len(state.Drift.Elements()) == 0 && !state.wanting(v) && !m.renews(state, v, l, now) {
		m.ZoneID, m.AccountID, m.LoadBalancerID, m.MonitorID = state.ZoneID, state.AccountID, state.LoadBalancerID, state.MonitorID
		m.PoolIDs, m.RecordIDs, m.Health, m.Drift = state.PoolIDs, state.RecordIDs, state.Health, state.Drift
		m.Removed, m.Certificates = state.Removed, state.Certificates
		return
	}
	unknown := types.MapUnknown(types.StringType)
	m.ZoneID, m.AccountID = types.StringUnknown(), types.StringUnknown()
	m.LoadBalancerID, m.MonitorID, m.PoolIDs, m.RecordIDs = types.StringUnknown(), types.StringUnknown(), unknown, unknown
	m.Health = types.MapUnknown(types.ObjectType{AttrTypes: healthTypes()})
	m.Drift = types.ListNull(types.StringType)
	m.Removed, m.Certificates = types.SetUnknown(types.StringType), types.MapUnknown(types.ObjectType{AttrTypes: certificateTypes()})
	if replaced {
		return
	}
	m.ZoneID, m.AccountID = state.ZoneID, state.AccountID
	switch {
	case m.Mode.IsUnknown():
	case m.Mode.ValueString() == string(ModeDNS):
		m.LoadBalancerID, m.MonitorID, m.PoolIDs = types.StringNull(), types.StringNull(), stringMap(nil)
		m.Health = types.MapValueMust(types.ObjectType{AttrTypes: healthTypes()}, map[string]attr.Value{})
	default:
		m.RecordIDs = stringMap(nil)
		if len(state.Drift.Elements()) != 0 {
			break // what is gone will have another id
		}
		if known(state.LoadBalancerID) {
			m.LoadBalancerID = state.LoadBalancerID
		}
		if known(state.MonitorID) {
			m.MonitorID = state.MonitorID
		}
		if v.placed && slices.Equal(v.siteNames(), slices.Sorted(maps.Keys(mapStrings(state.PoolIDs)))) {
			m.PoolIDs = state.PoolIDs
		}
	}
}

// wanting tells whether something that a state describes has no id: a run that broke off has not made it.
func (m *Model) wanting(v view) bool {
	if m.Mode.ValueString() == string(ModeDNS) {
		have := mapStrings(m.RecordIDs)
		for _, e := range v.endpoints {
			for _, ip := range e.ips() {
				if e.enabled && have[ip.String()] == "" {
					return true
				}
			}
		}
		return !m.LoadBalancerID.IsNull() || len(m.PoolIDs.Elements()) > 0 || !m.MonitorID.IsNull()
	}
	return m.LoadBalancerID.IsNull() || m.MonitorID.IsNull() || len(m.RecordIDs.Elements()) > 0 ||
		!slices.Equal(v.siteNames(), slices.Sorted(maps.Keys(mapStrings(m.PoolIDs))))
}

// siteNames are the names of the sites in alphabetical order.
func (v view) siteNames() []string {
	var names []string
	for _, s := range v.sites() {
		names = append(names, s.name)
	}
	slices.Sort(names)
	return names
}

// lookTimeout bounds what a plan asks, since it also works without the answers.
const lookTimeout = 30 * time.Second

// look asks Cloudflare whether a plan can be carried out, so that it is known before anything is done. A plan must also work
// where Cloudflare cannot be asked: then the apply finds out.
func (r *Resource) look(ctx context.Context, plan, state *Model, v view) diag.Diagnostics {
	if !known(plan.Zone) || !known(plan.Hostname) || !known(plan.Mode) {
		return nil
	}
	m := plan
	if state != nil && !state.Hostname.Equal(plan.Hostname) {
		state = nil
	}
	if state != nil {
		m = state // for its ids
	}
	t, diags := r.begin(m, nil)
	if diags.HasError() {
		return diags
	}
	t.asking = true
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	z, err := t.client.FindZone(ctx, plan.Zone.ValueString())
	if err != nil {
		return t.fail(ctx, "Find zone", path.Root("zone"), err)
	}
	t.ids.zone, t.ids.account = z.ID, z.AccountID
	if state == nil {
		diags.Append(t.checkHostname(ctx, plan, &desired{hostname: plan.Hostname.ValueString(), mode: Mode(plan.Mode.ValueString())})...)
	}
	if !v.complete || hasUnknown(ctx, plan.arguments()) {
		return diags // the rest is checked when it is known
	}
	d, more := plan.desired(ctx)
	diags.Append(more...)
	if !diags.HasError() {
		diags.Append(t.checkLimits(ctx, z, &d)...)
	}
	return diags
}

// hasUnknown tells whether a value, or something inside one, is not known yet.
func hasUnknown(ctx context.Context, values []attr.Value) bool {
	return slices.ContainsFunc(values, func(v attr.Value) bool {
		raw, err := v.ToTerraformValue(ctx)
		return err != nil || !raw.IsFullyKnown()
	})
}
