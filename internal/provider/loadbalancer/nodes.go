package loadbalancer

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
)

// orders are what one operation has to tell the nodes.
type orders struct {
	plan  *Model
	view  view
	local local
	// was is what the nodes were asked before.
	was    local
	before *Model
	token  string
}

// prepare settles what the nodes are to be told.
func (t *task) prepare(ctx context.Context, plan, before, config *Model) diag.Diagnostics {
	o := &orders{plan: plan, before: before}
	var diags, more diag.Diagnostics
	o.view, diags = plan.view(ctx)
	o.local, more = plan.local(ctx)
	diags.Append(more...)
	o.was, more = before.local(ctx)
	diags.Append(more...)
	given, more := config.local(ctx)
	diags.Append(more...)
	if given.removal != nil {
		o.token = given.removal.APIToken.ValueString()
	}
	t.orders = o
	return diags
}

// message returns what the nodes are to know now.
func (t *task) message() message {
	o := t.orders
	return o.plan.message(o.view, o.local, t.ids, t.certificatesByName(), o.token, t.client.URL())
}

// tellBefore tells the nodes before anything changes at Cloudflare that serves already: what Cloudflare will ask them for must be
// there first. What it still uses stays until tellAfter.
func (t *task) tellBefore(ctx context.Context, _ *desired) diag.Diagnostics {
	o := t.orders
	serving := t.ids.balancer != "" || len(t.ids.records) > 0
	if !o.local.any() && o.was.removal != nil && t.crew.memory.Told != "" {
		return t.holdBack(ctx)
	}
	if !o.local.any() || !serving {
		return nil
	}
	m := t.message()
	if o.local.proxy == nil && o.was.proxy != nil {
		m.body.Proxy = o.was.toSpec()
		m.body.Proxy.Certificates = t.certificatesByName()
	}
	return t.tell(ctx, m)
}

// holdBack tells the nodes of a load balancer that is none of their business any more to take nothing out from now on: they would
// undo that what they have taken out is given back, and then nobody would. That no node answers is no reason to fail.
func (t *task) holdBack(ctx context.Context) diag.Diagnostics {
	o := t.orders
	v, diags := o.before.view(ctx)
	was := o.was
	was.removal = nil
	if diags.HasError() {
		return diags
	}
	m := o.before.message(v, was, t.ids, t.certificatesByName(), "", t.client.URL())
	diags.Append(warnings(t.tell(ctx, m))...)
	return diags
}

// tellFirst tells nodes of a hostname that is not served yet: before the pools are there, so that the first check of the monitor finds
// what it asks for, and again with the pools' ids. State knows of the load balancer by then, so that nothing is left behind.
func (t *task) tellFirst(ctx context.Context, _ *desired) diag.Diagnostics {
	if !t.orders.local.any() || t.ids.balancer != "" {
		return nil
	}
	return t.tell(ctx, t.message())
}

// tellAfter brings the nodes in line when Cloudflare is: what it has stopped using goes.
func (t *task) tellAfter(ctx context.Context, _ *desired) diag.Diagnostics {
	if !t.orders.local.any() {
		return t.crew.dismiss(ctx)
	}
	return t.tell(ctx, t.message())
}

// tell tells the nodes, unless they have been told, and waits until they are as described. It also waits for those that an earlier
// run has told, which broke off for that they were not, when Cloudflare is to rely on it.
func (t *task) tell(ctx context.Context, m message) diag.Diagnostics {
	needed := m.body.Proxy != nil && t.orders.newProxy()
	mark, err := m.fingerprint()
	told := mark == t.crew.memory.Told
	if err != nil || told && (!needed || mark == t.crew.awaited) {
		return nil
	}
	var diags diag.Diagnostics
	if m.body.Removal != nil && !told {
		diags.Append(t.prove(ctx, m)...)
	}
	if diags.HasError() {
		return diags
	}
	diags.Append(t.crew.tell(ctx, m)...)
	if !diags.HasError() {
		diags.Append(t.crew.settleFirewalls(ctx, false)...)
		t.crew.awaited = mark
		diags.Append(t.crew.await(ctx, needed)...)
	}
	return diags
}

// newProxy tells whether Cloudflare is to go to a proxy, or a port of it, where it does not go yet.
func (o *orders) newProxy() bool {
	return o.local.proxy != nil && (o.before == o.plan || o.was.proxy == nil || o.was.edgePort() != o.local.edgePort())
}

// prove finds out whether the nodes' token may do what they are to do with it, which they would otherwise notice when a node dies.
func (t *task) prove(ctx context.Context, m message) diag.Diagnostics {
	var diags diag.Diagnostics
	at := path.Root("quick_removal").AtName("api_token")
	if m.token == "" {
		diags.AddAttributeError(at, invalid, "api_token is missing.\n\nGive an API token with the permission "+cloudflare.PermissionPools(true).String()+".")
		return diags
	}
	pools := slices.Sorted(maps.Values(t.ids.pools))
	if len(pools) == 0 {
		return nil
	}
	client, err := t.crew.op.CloudflareAs(m.token)
	if err == nil {
		err = client.ProveRemoval(ctx, t.ids.account, pools[0], m.body.Removal.ZoneID, m.body.Removal.BalancerID)
		err = client.Explain(ctx, t.ids.account, err)
	}
	switch {
	case err == nil:
	case transient(err):
		diags.AddAttributeWarning(at, "Token was not tried", fmt.Sprintf("Whether the token of quick_removal may do what it is for is not known: %v.", err))
	default:
		diags.AddAttributeError(at, "Token of quick_removal", fmt.Sprintf("The nodes could not take a dead one out with it: %v.\n\n"+
			"Give the token of quick_removal what it lacks; the dashboard calls Write \"Edit\".", err))
	}
	return diags
}

// keepRemoved keeps out what the nodes have taken out, as long as that is theirs to do.
func (d *desired) keepRemoved(want *cloudflare.Pool, have cloudflare.Pool) {
	if !d.removal {
		return
	}
	want.Origins = slices.Clone(want.Origins)
	for n := range want.Origins {
		o := &want.Origins[n]
		o.Removed = o.Enabled && slices.ContainsFunc(have.Origins, func(h cloudflare.Origin) bool { return h.Name == o.Name && h.Removed })
	}
}

// keepSuspended keeps the drain suspended while the nodes have a reason for it.
func (d *desired) keepSuspended(want *cloudflare.LoadBalancer, have cloudflare.LoadBalancer) {
	want.Session.DrainSuspended = d.removal && have.Session.DrainSuspended && want.Session.Affinity != cloudflare.AffinityNone
}

// removedOf returns the names of the endpoints that the nodes have taken out.
func removedOf(pools map[string]cloudflare.Pool) []string {
	var out []string
	for _, p := range pools {
		for _, o := range p.Origins {
			if o.Removed {
				out = append(out, o.Name)
			}
		}
	}
	slices.Sort(out)
	return out
}
