package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
)

// apply makes what is at Cloudflare as described. It may be called again after a failure at any point: what is there is compared
// and kept. What serves the hostname is changed only when everything that it needs is there, and what it needed before is removed
// last.
func (t *task) apply(ctx context.Context, d *desired) diag.Diagnostics {
	steps := []func(context.Context, *desired) diag.Diagnostics{
		t.certify, t.tellBefore, t.putRecords, t.dropBalancer, t.tellAfter, t.dropPools, t.dropMonitor, t.dropRecords, t.revoke,
	}
	if d.mode == ModeBalancer {
		steps = []func(context.Context, *desired) diag.Diagnostics{
			t.certify, t.tellBefore, t.putMonitor, t.tellFirst, t.putPools, t.tellFirst, t.putBalancer, t.tellAfter, t.dropPools, t.dropRecords, t.revoke,
		}
	}
	var diags diag.Diagnostics
	for _, step := range steps {
		if diags.Append(step(ctx, d)...); diags.HasError() {
			return diags
		}
	}
	return diags
}

func (t *task) putMonitor(ctx context.Context, d *desired) diag.Diagnostics {
	at := path.Root("monitor")
	want := d.monitor
	var have cloudflare.Monitor
	var err error
	if t.ids.monitor != "" {
		have, err = t.client.Monitor(ctx, t.ids.account, t.ids.monitor)
	}
	if t.ids.monitor == "" || errors.Is(err, cloudflare.ErrNotFound) {
		var existed bool
		have, existed, err = t.client.CreateMonitor(ctx, t.ids.account, want)
		t.adopted[have.ID] = existed
	}
	if err != nil {
		return t.fail(ctx, "Make monitor", at, err)
	}
	if t.ids.monitor != have.ID {
		t.ids.monitor = have.ID
		if diags := t.save(t.ids); diags.HasError() {
			return diags
		}
	}
	if len(monitorDifferences(want, have)) > 0 || t.before != nil && t.before.monitor != d.monitor {
		want.ID = have.ID
		if err := t.client.UpdateMonitor(ctx, t.ids.account, want); err != nil {
			return t.fail(ctx, "Update monitor", at, err)
		}
	}
	return nil
}

// putPools makes and changes the pools, new ones first: a node that moves to another site is then in one of them all the time.
func (t *task) putPools(ctx context.Context, d *desired) diag.Diagnostics {
	order := slices.Clone(d.pools)
	slices.SortStableFunc(order, func(a, b desiredPool) int {
		_, hasA := t.ids.pools[a.site]
		_, hasB := t.ids.pools[b.site]
		switch {
		case hasA == hasB:
			return strings.Compare(a.site, b.site)
		case hasB:
			return -1
		default:
			return 1
		}
	})
	var diags diag.Diagnostics
	for _, p := range order {
		if diags.Append(t.putPool(ctx, d, p)...); diags.HasError() {
			return diags
		}
	}
	return diags
}

func (t *task) putPool(ctx context.Context, d *desired, p desiredPool) diag.Diagnostics {
	at := path.Root("nodes")
	want := p.pool
	want.Monitor = t.ids.monitor
	id := t.ids.pools[p.site]
	var have cloudflare.Pool
	var err error
	if id != "" {
		have, err = t.client.Pool(ctx, t.ids.account, id)
	}
	if id == "" || errors.Is(err, cloudflare.ErrNotFound) {
		var existed bool
		have, existed, err = t.client.CreatePool(ctx, t.ids.account, want)
		if err == nil && existed {
			if diags := t.checkAdoption(ctx, d, want, have); diags.HasError() {
				return diags
			}
			t.adopted[have.ID] = true
		}
	}
	if err != nil {
		return t.fail(ctx, "Make the pool of site "+p.site, at, err)
	}
	if id != have.ID {
		t.ids.pools[p.site] = have.ID
		if diags := t.save(t.ids); diags.HasError() {
			return diags
		}
	}
	d.keepRemoved(&want, have)
	t.removed = append(t.removed, removedOf(map[string]cloudflare.Pool{p.site: want})...)
	if len(poolDifferences(p.site, want, have)) > 0 || t.before.lost(p) {
		want.ID = have.ID
		if err := t.client.UpdatePool(ctx, t.ids.account, want); err != nil {
			return t.fail(ctx, "Update the pool of site "+p.site, at, err)
		}
	}
	return nil
}

// checkAdoption refuses a pool that has the name of ours but is not one that a run left which broke off: it is not marked, or it
// is used.
func (t *task) checkAdoption(ctx context.Context, d *desired, want, have cloudflare.Pool) diag.Diagnostics {
	users, err := t.client.PoolUsers(ctx, t.ids.account, have.ID)
	if err != nil {
		return t.fail(ctx, "Look who uses pool "+have.Name, path.Root("nodes"), err)
	}
	var diags diag.Diagnostics
	if _, ours := marked(d.hostname, have.Description); !ours && have.Description != want.Description || len(users) > 0 {
		diags.AddAttributeError(path.Root("nodes"), "Pool exists already", fmt.Sprintf(
			"Pool %s (%s) is not this load balancer's: its description is %q and it is used by %d load balancers %q. It was left alone.\n\n"+
				"Delete or rename it and apply again, or import the load balancer that uses it.", have.Name, have.ID, have.Description, len(users), users))
	}
	return diags
}

func (t *task) putBalancer(ctx context.Context, d *desired) diag.Diagnostics {
	want := d.withPools(t.ids.pools)
	var have cloudflare.LoadBalancer
	var err error
	if t.ids.balancer != "" {
		have, err = t.client.LoadBalancer(ctx, t.ids.zone, t.ids.balancer)
	}
	if t.ids.balancer == "" || errors.Is(err, cloudflare.ErrNotFound) {
		var existed bool
		have, existed, err = t.client.CreateLoadBalancer(ctx, t.ids.zone, want)
		if err == nil && existed {
			diags := t.disown()
			diags.AddAttributeError(path.Root("hostname"), "Load balancer exists already", fmt.Sprintf(
				"Somebody made load balancer %s for %s meanwhile. It was left alone.\n\nTake it over with `terraform import ADDRESS %s`, or delete it.", have.ID, d.hostname, d.hostname))
			return diags
		}
	}
	if err != nil {
		return t.fail(ctx, "Make load balancer", path.Empty(), err)
	}
	if t.ids.balancer != have.ID {
		t.ids.balancer = have.ID
		if diags := t.save(t.ids); diags.HasError() {
			return diags
		}
	}
	d.keepSuspended(&want, have)
	if len(balancerDifferences(want, have)) > 0 {
		want.ID = have.ID
		if err := t.client.UpdateLoadBalancer(ctx, t.ids.zone, want); err != nil {
			return t.fail(ctx, "Update load balancer", path.Empty(), err)
		}
	}
	return nil
}

func (t *task) putRecords(ctx context.Context, d *desired) diag.Diagnostics {
	have, err := t.client.Records(ctx, t.ids.zone, d.hostname)
	if err != nil {
		return t.fail(ctx, "Read DNS records", path.Root("hostname"), err)
	}
	for _, address := range slices.Sorted(maps.Keys(d.records)) {
		want := d.records[address]
		at := slices.IndexFunc(have, func(r cloudflare.Record) bool { return r.Type == want.Type && r.Content == want.Content })
		var one cloudflare.Record
		if at >= 0 {
			one = have[at]
		} else if one, _, err = t.client.CreateRecord(ctx, t.ids.zone, want); err != nil {
			return t.fail(ctx, "Make DNS record", path.Root("nodes"), err)
		}
		if t.ids.records[address] != one.ID {
			t.ids.records[address] = one.ID
			if diags := t.save(t.ids); diags.HasError() {
				return diags
			}
		}
		if len(recordDifferences(want, one)) > 0 {
			want.ID = one.ID
			if err := t.client.UpdateRecord(ctx, t.ids.zone, want); err != nil {
				return t.fail(ctx, "Update DNS record", path.Root("nodes"), err)
			}
		}
	}
	return nil
}
