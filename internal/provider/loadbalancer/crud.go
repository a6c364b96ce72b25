package loadbalancer

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
)

// Create makes monitor, pools and load balancer in this order, or the records.
func (r *Resource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var plan Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	if resp.Diagnostics.HasError() {
		return
	}
	timeout, diags := plan.Timeouts.Create(ctx, createTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	plan.settle()
	if !r.op.Note("load balancer made: " + plan.Hostname.ValueString()) {
		resp.Diagnostics.AddAttributeError(path.Root("hostname"), invalid, fmt.Sprintf(
			"Another %s has the hostname %s too.\n\nGive each its own hostname, or put all nodes into one.", ResourceType, plan.Hostname.ValueString()))
		return
	}
	var config Model
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(r.put(ctx, models{&plan, &plan, &config}, memory{}, resp.Private, func(i ids) diag.Diagnostics {
		saved := plan
		saved.setIDs(i)
		return resp.State.Set(ctx, &saved)
	})...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
}

// Update changes what differs, in the order that keeps the hostname served.
func (r *Resource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan, state, config Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	known, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	timeout, diags := plan.Timeouts.Update(ctx, updateTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	plan.settle()
	resp.Diagnostics.Append(r.put(ctx, models{&plan, &state, &config}, known, resp.Private, func(i ids) diag.Diagnostics {
		// Until the end the state describes what was, so that a failure does not pass for done.
		saved := state
		saved.setIDs(i)
		return resp.State.Set(ctx, &saved)
	})...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
}

// models are what an operation starts from: what shall be, what was, which is the same when there was nothing, and the
// configuration, which alone has the write-only arguments.
type models struct{ plan, before, config *Model }

// put brings Cloudflare and the nodes in line with plan, starting from the ids of before.
func (r *Resource) put(ctx context.Context, of models, known memory, private privateWriter, save saver) diag.Diagnostics {
	plan, before := of.plan, of.before
	t, diags := r.begin(before, save)
	if diags.HasError() {
		return diags
	}
	var moreOf diag.Diagnostics
	t.crew, moreOf = r.crew(ctx, known, private, before, plan)
	diags.Append(moreOf...)
	diags.Append(t.prepare(ctx, plan, before, of.config)...)
	d, more := plan.desired(ctx)
	diags.Append(more...)
	if before != plan {
		was, more := before.desired(ctx)
		diags.Append(more...)
		t.before = &was
	}
	if diags.HasError() {
		return diags
	}
	z, more := t.findZone(ctx, plan.Zone.ValueString())
	if diags.Append(more...); diags.HasError() {
		return diags
	}
	diags.Append(t.checkLimits(ctx, z, &d)...)
	if diags.HasError() {
		return diags
	}
	diags.Append(t.checkHostname(ctx, plan, &d)...)
	if diags.HasError() {
		return diags
	}
	if diags.Append(t.apply(ctx, &d)...); diags.HasError() {
		return diags
	}
	plan.setIDs(t.ids)
	plan.Removed = knownSet(t.removed)
	diags.Append(t.observeHealth(ctx, plan)...)
	return diags
}

// settle makes null or empty of what is still unknown, for a state that is saved before the end.
func (m *Model) settle() {
	for _, s := range []*types.String{&m.ZoneID, &m.AccountID, &m.LoadBalancerID, &m.MonitorID} {
		if s.IsUnknown() {
			*s = types.StringNull()
		}
	}
	for _, s := range []*types.Map{&m.PoolIDs, &m.RecordIDs} {
		if s.IsUnknown() {
			*s = stringMap(nil)
		}
	}
	if m.Removed.IsUnknown() {
		m.Removed = knownSet(nil)
	}
	if m.Certificates.IsUnknown() {
		m.setCertificates(nil)
	}
	if m.Health.IsUnknown() {
		m.Health = noHealth()
	}
}

// Delete removes load balancer, pools and monitor in this order, and records. What is gone already is no error.
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
	t, diags := r.begin(&state, func(i ids) diag.Diagnostics {
		saved := state
		saved.setIDs(i)
		return resp.State.Set(ctx, &saved)
	})
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() || t.ids.zone == "" {
		return // creating it never came so far
	}
	known, diags := recall(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	t.crew, diags = r.crew(ctx, known, noPrivate{}, &state)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(t.removeAll(ctx, &state)...)
}

func (t *task) removeAll(ctx context.Context, state *Model) diag.Diagnostics {
	hostname := state.Hostname.ValueString()
	nothing := &desired{hostname: hostname, records: map[string]cloudflare.Record{}}
	// The nodes are told when nothing leads to them any more, and before what they would act on goes.
	steps := []func(context.Context, *desired) diag.Diagnostics{t.dropBalancer, t.dropRecords, t.forget, t.dropPools, t.dropMonitor, t.revoke}
	var diags diag.Diagnostics
	if state.Mode.ValueString() == string(ModeDNS) {
		diags.Append(t.findLostRecords(ctx, hostname)...)
	} else {
		diags.Append(t.findLost(ctx, hostname)...)
		steps = append(steps, t.dropLost)
	}
	if diags.HasError() {
		return diags
	}
	for _, step := range steps {
		if diags.Append(step(ctx, nothing)...); diags.HasError() {
			return diags
		}
	}
	return diags
}
