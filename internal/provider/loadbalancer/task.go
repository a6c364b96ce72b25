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
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
)

// ids are what the vendor calls the things of one load balancer.
type ids struct {
	zone, account, balancer, monitor string
	// pools are by site, records by address.
	pools, records map[string]string
	// certificates are by the nodes' keys.
	certificates map[string]certificate
}

func (m *Model) ids() ids {
	return ids{
		zone: m.ZoneID.ValueString(), account: m.AccountID.ValueString(), balancer: m.LoadBalancerID.ValueString(),
		monitor: m.MonitorID.ValueString(), pools: mapStrings(m.PoolIDs), records: mapStrings(m.RecordIDs),
		certificates: m.certificates(),
	}
}

// setIDs makes every id known.
func (m *Model) setIDs(i ids) {
	m.ZoneID, m.AccountID = stringOrNull(i.zone), stringOrNull(i.account)
	m.LoadBalancerID, m.MonitorID = stringOrNull(i.balancer), stringOrNull(i.monitor)
	m.PoolIDs, m.RecordIDs = stringMap(i.pools), stringMap(i.records)
	m.setCertificates(i.certificates)
}

func stringOrNull(s string) types.String {
	if s == "" {
		return types.StringNull()
	}
	return types.StringValue(s)
}

// none tells whether there is nothing left.
func (i ids) none() bool {
	return i.balancer == "" && i.monitor == "" && len(i.pools) == 0 && len(i.records) == 0 && len(i.certificates) == 0
}

// saver writes what is there so far to state, so that a failure leaves nothing behind that nobody knows.
type saver func(ids) diag.Diagnostics

// task is one operation on one load balancer.
type task struct {
	client *cloudflare.Client
	ids    ids
	save   saver
	// before is what was described before, nil when nothing was. What is left to the vendor now but was not then differs from it only.
	before *desired
	// asking tells that nothing is to be done yet: that the API cannot be asked just now is then no failure.
	asking bool
	// adopted are the ids of what was there already although state did not know it.
	adopted map[string]bool
	// crew are the nodes, and orders what they are to be told; nil where that does not matter.
	crew   *crew
	orders *orders
	// removed are the names of the endpoints that the nodes have taken out.
	removed []string
}

// begin prepares an operation. Nothing is sent.
func (r *Resource) begin(m *Model, save saver) (*task, diag.Diagnostics) {
	t := &task{ids: m.ids(), save: save, adopted: map[string]bool{}}
	client, err := r.op.Cloudflare()
	if err != nil {
		return t, diagnose.Cloudflare("Cloudflare", path.Empty(), err)
	}
	t.client = client
	return t, nil
}

// fail returns the diagnostics of a failed request, on the attribute that it concerns.
func (t *task) fail(ctx context.Context, summary string, at path.Path, err error) diag.Diagnostics {
	if t.asking && transient(err) {
		return nil
	}
	return diagnose.Cloudflare(summary, at, t.client.Explain(ctx, t.ids.account, err))
}

// transient tells whether a request may go well later.
func transient(err error) bool {
	return errors.Is(err, cloudflare.ErrUnreachable) || errors.Is(err, cloudflare.ErrUnavailable) || errors.Is(err, cloudflare.ErrRateLimited)
}

// findZone settles zone and account.
func (t *task) findZone(ctx context.Context, name string) (cloudflare.Zone, diag.Diagnostics) {
	z, err := t.client.FindZone(ctx, name)
	if err != nil {
		return z, t.fail(ctx, "Find zone", path.Root("zone"), err)
	}
	t.ids.zone, t.ids.account = z.ID, z.AccountID
	return z, nil
}

// checkLimits compares what is described with what the account's plan allows, before anything is made.
func (t *task) checkLimits(ctx context.Context, z cloudflare.Zone, d *desired) diag.Diagnostics {
	var diags diag.Diagnostics
	if d.mode == ModeDNS {
		return diags
	}
	limits, err := t.client.Limits(ctx, z.AccountID)
	if err != nil {
		return diags // the API says so when it gets a request that it minds
	}
	if limits.Interval > 0 && d.monitor.Interval < limits.Interval {
		diags.AddAttributeError(path.Root("monitor").AtName("interval"), overLimit, fmt.Sprintf(
			"The account's plan allows a check every %d seconds at most, not every %d.\n\nRaise monitor.interval, or the plan.", limits.Interval, d.monitor.Interval))
	}
	endpoints := 0
	for _, p := range d.pools {
		endpoints += len(p.pool.Origins)
		if limits.Endpoints > 0 && len(p.pool.Origins) > limits.Endpoints {
			diags.AddAttributeError(path.Root("nodes"), overLimit, fmt.Sprintf(
				"Site %s has %d nodes; the account's plan allows %d in one pool.\n\nUse fewer nodes, or raise the plan.", p.site, len(p.pool.Origins), limits.Endpoints))
		}
	}
	if z.Enterprise {
		return diags
	}
	for what, n := range map[string]int{"sites, each with a pool of its own": len(d.pools), "nodes": endpoints} {
		if n > planPools {
			diags.AddAttributeError(path.Root("nodes"), overLimit, fmt.Sprintf(
				"There are %d %s; without an Enterprise plan an account may have %d in all.\n\nUse fewer, or raise the plan.", n, what, planPools))
		}
	}
	if len(d.balancer.Session.Headers) > 1 {
		diags.AddAttributeError(path.Root("session_affinity").AtName("headers"), overLimit,
			"More than one header needs an Enterprise plan.\n\nName one header.")
	}
	return diags
}

const (
	overLimit = "Beyond the plan"
	// planPools is how many pools, and how many endpoints in all, an account without an Enterprise plan may have
	// (developers.cloudflare.com/load-balancing/reference/limitations).
	planPools = 20
)

// checkHostname makes sure that the hostname is free: no load balancer of somebody else's, and no records that one of ours would
// make useless without a word.
func (t *task) checkHostname(ctx context.Context, m *Model, d *desired) diag.Diagnostics {
	var diags diag.Diagnostics
	at := path.Root("hostname")
	if t.ids.balancer == "" {
		lb, found, err := t.client.FindLoadBalancer(ctx, t.ids.zone, d.hostname)
		switch {
		case errors.Is(err, cloudflare.ErrForbidden) && d.mode == ModeDNS:
			diags.AddWarning("Hostname is not checked", fmt.Sprintf("Whether a load balancer serves %s already cannot be seen: %v.", d.hostname, err))
		case err != nil:
			return t.fail(ctx, "Look for a load balancer", at, err)
		case found && t.owns(d, lb):
			t.ids.balancer = lb.ID // its answer was lost
		case found && t.asking && lb.Description == mark(d.hostname, ""):
			// It may be the one that this plan replaces, which a plan is not told. The apply looks again.
		case found && d.mode == ModeDNS:
			diags.AddAttributeError(at, "Hostname is taken", fmt.Sprintf("Load balancer %s serves %s; DNS records would not be used beside it. Nothing was changed.\n\n"+
				"Take it over with `terraform import ADDRESS %s`, delete it, or use another hostname.", lb.ID, d.hostname, d.hostname))
		case found:
			diags.AddAttributeError(at, "Load balancer exists already", fmt.Sprintf("Load balancer %s serves %s and is not in this state. Nothing was changed.\n\n"+
				"Take it over with `terraform import ADDRESS %s`, delete it, or use another hostname.", lb.ID, d.hostname, d.hostname))
		}
		if diags.HasError() {
			return diags
		}
	}
	records, err := t.client.Records(ctx, t.ids.zone, d.hostname)
	if errors.Is(err, cloudflare.ErrForbidden) && d.mode == ModeBalancer {
		diags.AddWarning("DNS records are not checked", fmt.Sprintf(
			"Whether %s has DNS records that the load balancer takes precedence over cannot be seen: %v.", d.hostname, err))
		return diags
	}
	if err != nil {
		diags.Append(t.fail(ctx, "Look for DNS records", at, err)...)
		return diags
	}
	serving := t.ids.balancer != ""
	if d.mode == ModeDNS {
		serving = len(t.ids.records) > 0
	}
	diags.Append(foreignRecords(m, d, records, serving)...)
	return diags
}

// owns tells whether a load balancer is one that an earlier run made for this resource: it uses pools that state knows.
func (t *task) owns(d *desired, lb cloudflare.LoadBalancer) bool {
	if lb.Description != mark(d.hostname, "") {
		return false
	}
	return slices.Contains(slices.Collect(maps.Values(t.ids.pools)), lb.FallbackPool)
}

// disown forgets what was adopted, since it has turned out to be somebody else's: it is not to be removed with the rest.
func (t *task) disown() diag.Diagnostics {
	if t.adopted[t.ids.monitor] {
		t.ids.monitor = ""
	}
	maps.DeleteFunc(t.ids.pools, func(_, id string) bool { return t.adopted[id] })
	return t.save(t.ids)
}

// foreignRecords reports the address records of the hostname that are not this resource's. Serving tells that this resource
// serves the hostname already.
func foreignRecords(m *Model, d *desired, records []cloudflare.Record, serving bool) diag.Diagnostics {
	var diags diag.Diagnostics
	var found []string
	for _, r := range records {
		if _, ours := marked(d.hostname, r.Comment); !ours && r.Type.Addresses() {
			found = append(found, string(r.Type)+" "+r.Content)
		}
	}
	slices.Sort(found)
	list := strings.Join(found, ", ")
	switch {
	case len(found) == 0 || d.mode == ModeBalancer && m.ShadowDNSRecords.ValueBool():
	case serving:
		// A change must not fail because of them: it may be what takes a dead node out.
		diags.AddAttributeWarning(path.Root("hostname"), "Hostname has DNS records", fmt.Sprintf(
			"%s has got DNS records that are not Atoll's (%s). Delete them.", d.hostname, list))
	case d.mode == ModeDNS:
		diags.AddAttributeError(path.Root("hostname"), "Hostname has DNS records", fmt.Sprintf(
			"%s has DNS records that are not Atoll's (%s); clients would go there too. Nothing was changed.\n\nDelete them, or use another hostname.", d.hostname, list))
	default:
		diags.AddAttributeError(path.Root("hostname"), "Hostname has DNS records", fmt.Sprintf(
			"%s has DNS records (%s), which a load balancer of that name makes useless without a word. Nothing was changed.\n\n"+
				"Delete them, or set shadow_dns_records = true to let the load balancer take precedence over them.", d.hostname, list))
	}
	return diags
}
