package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
)

// Read compares the state with what is at Cloudflare. What is there but not as described is told in drift, which makes the next
// apply put it right.
func (r *Resource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state Model
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	if resp.Diagnostics.HasError() {
		return
	}
	t, diags := r.begin(&state, nil)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	if t.ids.none() {
		resp.State.RemoveResource(ctx) // creating it never came so far
		return
	}
	f, diags := t.fetch(ctx)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	if f.nothing() {
		r.op.Note(vanished(&state))
		resp.State.RemoveResource(ctx)
		return
	}
	resp.Diagnostics.Append(state.observe(ctx, f)...)
	d, diags := state.desired(ctx)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	lines, more := r.nodesDiffer(ctx, &state, req.Private, resp.Private)
	resp.Diagnostics.Append(more...)
	state.Removed = knownSet(removedOf(f.pools))
	state.setDrift(append(f.differences(&d, t.ids), lines...))
	resp.Diagnostics.Append(t.observeHealth(ctx, &state)...)
	resp.Diagnostics.Append(resp.State.Set(ctx, &state)...)
}

// vanished is the fact that a refresh found nothing of a load balancer any more.
func vanished(m *Model) string { return "load balancer vanished: " + m.Hostname.ValueString() }

// found is what is at Cloudflare.
type found struct {
	balancer *cloudflare.LoadBalancer
	monitor  *cloudflare.Monitor
	// pools are by site, records by address.
	pools   map[string]cloudflare.Pool
	records map[string]cloudflare.Record
}

func (f *found) nothing() bool {
	return f.balancer == nil && f.monitor == nil && len(f.pools) == 0 && len(f.records) == 0
}

// fetch reads everything that state has an id of. What is gone is left out.
func (t *task) fetch(ctx context.Context) (*found, diag.Diagnostics) {
	f := &found{pools: map[string]cloudflare.Pool{}, records: map[string]cloudflare.Record{}}
	fail := func(what string, err error) (*found, diag.Diagnostics) {
		return f, t.fail(ctx, "Read "+what, path.Empty(), err)
	}
	if t.ids.balancer != "" {
		lb, err := t.client.LoadBalancer(ctx, t.ids.zone, t.ids.balancer)
		switch {
		case err == nil:
			f.balancer = &lb
		case !errors.Is(err, cloudflare.ErrNotFound):
			return fail("load balancer", err)
		}
	}
	if t.ids.monitor != "" {
		m, err := t.client.Monitor(ctx, t.ids.account, t.ids.monitor)
		switch {
		case err == nil:
			f.monitor = &m
		case !errors.Is(err, cloudflare.ErrNotFound):
			return fail("monitor", err)
		}
	}
	for site, id := range t.ids.pools {
		p, err := t.client.Pool(ctx, t.ids.account, id)
		switch {
		case err == nil:
			f.pools[site] = p
		case !errors.Is(err, cloudflare.ErrNotFound):
			return fail("the pool of site "+site, err)
		}
	}
	for address, id := range t.ids.records {
		r, err := t.client.Record(ctx, t.ids.zone, id)
		switch {
		case err == nil:
			f.records[address] = r
		case !errors.Is(err, cloudflare.ErrNotFound):
			return fail("the DNS record of "+address, err)
		}
	}
	return f, nil
}

// observe sets those arguments that are one thing's at Cloudflare too, so that a change there shows where it was made.
func (m *Model) observe(ctx context.Context, f *found) diag.Diagnostics {
	var diags diag.Diagnostics
	if f.monitor != nil {
		diags.Append(m.setMonitor(ctx, monitorFromAPI(*f.monitor, m.givenMonitor(ctx)))...)
	}
	lb := f.balancer
	if lb == nil {
		return diags
	}
	m.Proxied = types.BoolValue(lb.Proxied)
	if lb.Proxied {
		m.TTL = types.Int64Null()
	} else {
		m.TTL = types.Int64Value(int64(lb.TTL))
	}
	m.Steering = types.StringValue(string(lb.Steering))
	m.FailoverAcrossSites = types.BoolValue(lb.FailoverAcrossPools)
	for site, id := range mapStrings(m.PoolIDs) {
		if id == lb.FallbackPool {
			m.FallbackSite = types.StringValue(site)
		}
	}
	diags.Append(m.setSession(ctx, sessionFromAPI(lb.Session))...)
	return diags
}

// differences are what observe did not take over.
func (f *found) differences(d *desired, i ids) []string {
	var out []string
	gone := func(what string) { out = append(out, what+" is gone") }
	if d.mode == ModeDNS {
		for _, address := range slices.Sorted(maps.Keys(d.records)) {
			if have, ok := f.records[address]; ok {
				out = append(out, recordDifferences(d.records[address], have)...)
			} else {
				gone("record " + d.records[address].String())
			}
		}
		return out
	}
	if f.monitor == nil {
		gone("monitor")
	} else {
		out = append(out, monitorDifferences(d.monitor, *f.monitor)...)
	}
	for _, p := range d.pools {
		have, ok := f.pools[p.site]
		if !ok {
			gone("pool of " + p.site)
			continue
		}
		p.pool.Monitor = i.monitor
		d.keepRemoved(&p.pool, have)
		out = append(out, poolDifferences(p.site, p.pool, have)...)
	}
	if f.balancer == nil {
		gone("load balancer")
	} else {
		want := d.withPools(i.pools)
		d.keepSuspended(&want, *f.balancer)
		out = append(out, balancerDifferences(want, *f.balancer)...)
	}
	return out
}

func (m *Model) setDrift(lines []string) {
	if len(lines) == 0 {
		m.Drift = types.ListNull(types.StringType)
		return
	}
	values := make([]attr.Value, len(lines))
	for i, l := range lines {
		values[i] = types.StringValue(l)
	}
	m.Drift = types.ListValueMust(types.StringType, values)
}

func noHealth() types.Map {
	return types.MapValueMust(types.ObjectType{AttrTypes: healthTypes()}, map[string]attr.Value{})
}

// observeHealth sets what the monitors found. That it cannot be read is no reason to fail.
func (t *task) observeHealth(ctx context.Context, m *Model) diag.Diagnostics {
	m.Health = noHealth()
	if m.Mode.ValueString() == string(ModeDNS) {
		return nil
	}
	v, diags := m.view(ctx)
	values := map[string]attr.Value{}
	for _, s := range v.sites() {
		byAddress := map[string]cloudflare.Health{}
		if id := t.ids.pools[s.name]; id != "" {
			var err error
			byAddress, err = t.client.PoolHealth(ctx, t.ids.account, id)
			if err != nil && !errors.Is(err, cloudflare.ErrNotFound) {
				diags.AddWarning("Health is not known", fmt.Sprintf("What the monitors found in site %s cannot be read: %v.", s.name, err))
			}
		}
		for _, e := range s.endpoints {
			healthy, reasons := types.BoolNull(), []attr.Value{}
			if h, checked := byAddress[cloudflare.CanonicalAddress(e.serves())]; checked {
				healthy = types.BoolValue(h.Healthy)
				for _, r := range h.Reasons {
					reasons = append(reasons, types.StringValue(r))
				}
			}
			values[e.key] = types.ObjectValueMust(healthTypes(), map[string]attr.Value{
				"healthy": healthy, "reasons": types.ListValueMust(types.StringType, reasons),
			})
		}
	}
	m.Health = types.MapValueMust(types.ObjectType{AttrTypes: healthTypes()}, values)
	return diags
}
