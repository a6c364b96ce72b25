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

// dropBalancer deletes the load balancer. Its pools can go only after it.
func (t *task) dropBalancer(ctx context.Context, _ *desired) diag.Diagnostics {
	if t.ids.balancer == "" {
		return nil
	}
	if err := t.client.DeleteLoadBalancer(ctx, t.ids.zone, t.ids.balancer); err != nil {
		return t.fail(ctx, "Delete load balancer", path.Empty(), err)
	}
	t.ids.balancer = ""
	return t.save(t.ids)
}

// dropPools deletes the pools of sites that are not wanted any more.
func (t *task) dropPools(ctx context.Context, d *desired) diag.Diagnostics {
	for _, site := range slices.Sorted(maps.Keys(t.ids.pools)) {
		if d.hasSite(site) {
			continue
		}
		id := t.ids.pools[site]
		if err := t.client.DeletePool(ctx, t.ids.account, id); err != nil {
			if errors.Is(err, cloudflare.ErrInUse) {
				return t.inUse(ctx, site, id, err)
			}
			return t.fail(ctx, "Delete the pool of site "+site, path.Root("sites"), err)
		}
		delete(t.ids.pools, site)
		if diags := t.save(t.ids); diags.HasError() {
			return diags
		}
	}
	return nil
}

// inUse says who else uses a pool.
func (t *task) inUse(ctx context.Context, site, id string, err error) diag.Diagnostics {
	var diags diag.Diagnostics
	users, lookErr := t.client.PoolUsers(ctx, t.ids.account, id)
	who := "another load balancer"
	if lookErr == nil && len(users) > 0 {
		who = "load balancer " + strings.Join(users, ", ")
	}
	diags.AddError("Pool is in use", fmt.Sprintf("The pool of site %s cannot be deleted, %s uses it too: %v.\n\n"+
		"Take the pool out of there and apply again; everything else that could be removed is gone already.", site, who, err))
	return diags
}

func (t *task) dropMonitor(ctx context.Context, _ *desired) diag.Diagnostics {
	if t.ids.monitor == "" {
		return nil
	}
	if err := t.client.DeleteMonitor(ctx, t.ids.account, t.ids.monitor); err != nil {
		return t.fail(ctx, "Delete monitor", path.Root("monitor"), err)
	}
	t.ids.monitor = ""
	return t.save(t.ids)
}

// dropRecords deletes the records of addresses that are not wanted any more.
func (t *task) dropRecords(ctx context.Context, d *desired) diag.Diagnostics {
	for _, address := range slices.Sorted(maps.Keys(t.ids.records)) {
		if _, wanted := d.records[address]; wanted {
			continue
		}
		if err := t.client.DeleteRecord(ctx, t.ids.zone, t.ids.records[address]); err != nil {
			return t.fail(ctx, "Delete DNS record", path.Root("nodes"), err)
		}
		delete(t.ids.records, address)
		if diags := t.save(t.ids); diags.HasError() {
			return diags
		}
	}
	return nil
}

// findLost finds the load balancer that a run made whose end state never saw.
func (t *task) findLost(ctx context.Context, hostname string) diag.Diagnostics {
	if t.ids.balancer != "" || len(t.ids.pools) == 0 {
		return nil // it never came so far
	}
	lb, found, err := t.client.FindLoadBalancer(ctx, t.ids.zone, hostname)
	if err != nil && !errors.Is(err, cloudflare.ErrNotFound) {
		return t.fail(ctx, "Look for the load balancer", path.Root("hostname"), err)
	}
	if found && t.owns(&desired{hostname: hostname}, lb) {
		t.ids.balancer = lb.ID
	}
	return nil
}

// dropLost deletes pools and the monitor that carry the hostname's mark and that nobody uses: a run made them whose end state
// never saw. Those of another state with the same hostname are in use, which protects them.
func (t *task) dropLost(ctx context.Context, d *desired) diag.Diagnostics {
	pools, err := t.client.Pools(ctx, t.ids.account)
	if err != nil {
		return t.fail(ctx, "Look for pools", path.Root("sites"), err)
	}
	for _, p := range pools {
		if site, ours := marked(d.hostname, p.Description); ours && site != "" {
			if err := t.client.DeletePool(ctx, t.ids.account, p.ID); err != nil && !errors.Is(err, cloudflare.ErrInUse) {
				return t.fail(ctx, "Delete pool "+p.Name, path.Root("sites"), err)
			}
		}
	}
	m, found, err := t.client.FindMonitor(ctx, t.ids.account, mark(d.hostname, ""))
	if err == nil && found {
		err = t.client.DeleteMonitor(ctx, t.ids.account, m.ID)
	}
	if err != nil && !errors.Is(err, cloudflare.ErrInUse) {
		return t.fail(ctx, "Delete the monitor", path.Root("monitor"), err)
	}
	return nil
}

// findLostRecords is findLost for DNS records.
func (t *task) findLostRecords(ctx context.Context, hostname string) diag.Diagnostics {
	records, err := t.client.Records(ctx, t.ids.zone, hostname)
	if err != nil && !errors.Is(err, cloudflare.ErrNotFound) { // the zone may be gone
		return t.fail(ctx, "Look for DNS records", path.Root("hostname"), err)
	}
	for _, r := range records {
		if _, ours := marked(hostname, r.Comment); ours && t.ids.records[r.Content] == "" {
			t.ids.records[r.Content] = r.ID
		}
	}
	return nil
}
