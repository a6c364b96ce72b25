package loadbalancer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const invalid = "Invalid load balancer"

// ValidateConfig reports everything that is wrong with the values that are known.
func (r *Resource) ValidateConfig(ctx context.Context, req resource.ValidateConfigRequest, resp *resource.ValidateConfigResponse) {
	var config Model
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	if resp.Diagnostics.HasError() {
		return
	}
	m := config
	resp.Diagnostics.Append(m.derive(ctx, &config)...)
	if resp.Diagnostics.HasError() {
		return
	}
	c := &check{config: &config, m: &m}
	c.hostname()
	l, diags := m.local(ctx)
	c.diags.Append(diags...)
	if known(m.Mode) {
		c.mode(l)
	}
	v, diags := m.view(ctx)
	c.diags.Append(diags...)
	c.nodes(v, l)
	c.local(v, l)
	c.places(v)
	if m.Mode.ValueString() == string(ModeBalancer) {
		c.monitor(ctx)
		c.session(ctx)
	}
	resp.Diagnostics.Append(c.diags...)
}

// check collects what is wrong with a configuration.
type check struct {
	config *Model
	// m is the configuration with its defaults.
	m     *Model
	diags diag.Diagnostics
}

func (c *check) fault(at path.Path, format string, args ...any) {
	c.diags.AddAttributeError(at, invalid, fmt.Sprintf(format, args...))
}

func (c *check) hostname() {
	for name, v := range map[string]interface {
		attr.Value
		ValueString() string
	}{"hostname": c.m.Hostname, "zone": c.m.Zone} {
		text := v.ValueString()
		if !known(v) {
			continue
		}
		ps := spec.ValidateHost(name, text)
		if len(ps) == 0 && (strings.ToLower(text) != text || !strings.ContainsFunc(text, func(r rune) bool { return r >= 'a' && r <= 'z' }) || !strings.Contains(text, ".")) {
			c.fault(path.Root(name), "%s %q is not a domain name in lower case.\n\nWrite it like www.example.com, without a dot at its end.", name, text)
		}
		c.diags.Append(diagnose.Problems(invalid, path.Empty(), nil, ps)...)
	}
	if !known(c.m.Hostname) || !known(c.m.Zone) || c.diags.HasError() {
		return
	}
	hostname, zone := c.m.Hostname.ValueString(), c.m.Zone.ValueString()
	if hostname != zone && !strings.HasSuffix(hostname, "."+zone) {
		c.fault(path.Root("hostname"), "hostname %s is not in zone %s.\n\nGive a name that ends with .%s, or another zone.", hostname, zone, zone)
	}
}

// mode reports arguments that would have no effect.
func (c *check) mode(l local) {
	dns := c.m.Mode.ValueString() == string(ModeDNS)
	balancer := map[string]attr.Value{
		"sites": c.config.Sites, "port": c.config.Port, "host_header": c.config.HostHeader, "steering": c.config.Steering,
		"endpoint_steering": c.config.EndpointSteering, "fallback_site": c.config.FallbackSite, "failover_across_sites": c.config.FailoverAcrossSites,
		"check_regions": c.config.CheckRegions, "monitor": c.config.Monitor, "session_affinity": c.config.SessionAffinity,
		"shadow_dns_records": c.config.ShadowDNSRecords,
	}
	// The nodes need the port where Cloudflare does not.
	forNodes := l.any() || l.unknown
	if forNodes {
		delete(balancer, "port")
	}
	for _, name := range slices.Sorted(maps.Keys(balancer)) {
		if dns && !balancer[name].IsNull() {
			c.fault(path.Root(name), "%s has no effect in mode %q.\n\nRemove it, or set mode to %q.", name, ModeDNS, ModeBalancer)
		}
	}
	if !known(c.m.Proxied) {
		return
	}
	if c.m.Proxied.ValueBool() && !c.config.TTL.IsNull() {
		c.fault(path.Root("ttl"), "ttl has no effect on a hostname that is proxied.\n\nRemove it, or set proxied to false.")
	}
	if c.m.Proxied.ValueBool() || dns {
		return
	}
	for name, v := range map[string]attr.Value{"port": c.config.Port, "host_header": c.config.HostHeader} {
		if !v.IsNull() && (name != "port" || !forNodes) {
			c.fault(path.Root(name), "%s has no effect unless the load balancer is proxied: clients go to the nodes themselves.\n\nRemove it, or set proxied to true.", name)
		}
	}
}

// nodes checks each node, and that one of them may get traffic.
func (c *check) nodes(v view, l local) {
	names := map[string]string{}
	serving := 0
	dns := c.m.Mode.ValueString() == string(ModeDNS)
	for _, e := range v.endpoints {
		if other, taken := names[e.name]; taken && e.name != "" {
			c.fault(e.at(), "nodes %q and %q are both node %s.\n\nName each node once.", other, e.key, e.name)
		}
		names[e.name] = e.key
		c.address(e, dns, l)
		if e.address != "" {
			c.diags.Append(diagnose.Problems(invalid, path.Empty(), map[string]path.Path{"address": e.setting("address")}, spec.ValidateHost("address", e.address))...)
		}
		if e.enabled && (dns || e.weight > 0) && (v.settings[e.site].Enabled.IsNull() || v.settings[e.site].Enabled.ValueBool() || v.settings[e.site].Enabled.IsUnknown()) {
			serving++
		}
	}
	for key := range c.config.NodeSettings.Elements() {
		at := path.Root("node_settings").AtMapKey(key)
		if !c.m.Nodes.IsUnknown() && c.m.Nodes.Elements()[key] == nil {
			c.fault(at, "nodes has no key %q.\n\nThe keys of node_settings are those of nodes: %s.", key, strings.Join(slices.Sorted(maps.Keys(c.m.Nodes.Elements())), ", "))
		}
	}
	if serving == 0 && (v.placed || dns && v.complete) && !c.m.Sites.IsUnknown() && !c.m.NodeSettings.IsUnknown() {
		c.fault(path.Root("nodes"), "no node may get traffic: all are disabled or have the weight 0.\n\nLeave one enabled, or destroy the load balancer.")
	}
}

func (c *check) address(e endpoint, dns bool, l local) {
	switch {
	case e.addresses == nil && e.address == "":
	case dns && len(e.ips()) == 0:
		c.fault(e.at().AtName("addresses"), "node %s has no IP address, which a DNS record needs (it has %q).\n\nGive it one in node_settings.%s.address.", e.name, e.addresses, e.key)
	case e.serves() == "":
		c.fault(e.at().AtName("addresses"), "node %s has no public address.\n\nGive it one in node_settings.%s.address.", e.name, e.key)
	}
	if !dns {
		return
	}
	for name, v := range map[string]bool{"port": e.port != 0 && !l.any() && !l.unknown, "weight": e.weight != 1} {
		if v {
			c.fault(e.setting(name), "%s has no effect in mode %q.\n\nRemove it, or set mode to %q.", name, ModeDNS, ModeBalancer)
		}
	}
}

// places checks sites and steering, as far as it is known which sites there are.
func (c *check) places(v view) {
	sites := v.sites()
	names := v.siteNames()
	for _, e := range v.endpoints {
		if e.homeless && c.m.Mode.ValueString() == string(ModeBalancer) {
			c.fault(e.at().AtName("failure_domain"), "node %s has no failure_domain, whose site says which pool it is in.", e.name)
		}
	}
	if !v.placed {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.m.Sites.Elements())) {
		if !slices.Contains(names, name) {
			c.fault(path.Root("sites").AtMapKey(name), "no node is in site %q.\n\nThe keys of sites are the nodes' failure_domain.site: %s.", name, strings.Join(names, ", "))
		}
	}
	if f := c.config.FallbackSite; known(f) {
		at := slices.IndexFunc(sites, func(s site) bool { return s.name == f.ValueString() })
		switch {
		case at < 0:
			c.fault(path.Root("fallback_site"), "no node is in site %q.\n\nName one of %s.", f.ValueString(), strings.Join(names, ", "))
		case v.complete && !sites[at].serving():
			c.fault(path.Root("fallback_site"), "no node of site %q may get traffic.\n\nName another site.", f.ValueString())
		}
	}
	c.steering(sites)
}

func (c *check) steering(sites []site) {
	steering := cloudflare.Steering(c.m.Steering.ValueString())
	if !known(c.m.Steering) {
		return
	}
	regions := 0
	for _, s := range sites {
		at := path.Root("sites").AtMapKey(s.name)
		latitude, longitude := s.settings.Latitude, s.settings.Longitude
		switch {
		case latitude.IsNull() != longitude.IsNull():
			c.fault(at, "latitude and longitude belong together.\n\nGive both or neither.")
		case steering == cloudflare.SteeringProximity && latitude.IsNull():
			c.fault(at.AtName("latitude"), "steering %q needs to know where each site is.\n\nGive latitude and longitude of site %s.", steering, s.name)
		}
		if !s.settings.Regions.IsNull() {
			regions++
			if steering != cloudflare.SteeringGeo {
				c.fault(at.AtName("regions"), "regions have no effect with steering %q.\n\nRemove them, or set steering to %q.", steering, cloudflare.SteeringGeo)
			}
		}
		if !s.settings.Weight.IsNull() && !steering.Weighted() {
			c.fault(at.AtName("weight"), "a site's weight has no effect with steering %q.\n\nRemove it, or steer by %q, %q or %q.", steering,
				cloudflare.SteeringRandom, cloudflare.SteeringLeastOutstanding, cloudflare.SteeringLeastConnections)
		}
		if n := s.minimum(); n > len(s.endpoints) {
			c.fault(at.AtName("minimum_healthy"), "site %s has only %d nodes, so %d of them are never healthy.\n\nGive a smaller number.", s.name, len(s.endpoints), n)
		}
	}
	if steering == cloudflare.SteeringGeo && regions == 0 {
		c.fault(path.Root("steering"), "steering %q needs to know which regions the sites serve.\n\nGive sites.*.regions.", steering)
	}
}

func (c *check) monitor(ctx context.Context) {
	if !known(c.m.Monitor) {
		return
	}
	var given, m monitorModel
	if !c.config.Monitor.IsNull() {
		c.diags.Append(c.config.Monitor.As(ctx, &given, basetypes.ObjectAsOptions{})...)
	}
	c.diags.Append(c.m.Monitor.As(ctx, &m, basetypes.ObjectAsOptions{})...)
	at := path.Root("monitor")
	if m.Type.ValueString() == string(cloudflare.MonitorTCP) {
		for name, v := range map[string]attr.Value{
			"path": given.Path, "method": given.Method, "host_header": given.HostHeader, "expected_codes": given.ExpectedCodes,
			"expected_body": given.ExpectedBody, "follow_redirects": given.FollowRedirects, "allow_insecure": given.AllowInsecure,
		} {
			if !v.IsNull() {
				c.fault(at.AtName(name), "%s has no effect on a monitor of type tcp.\n\nRemove it, or set type to http or https.", name)
			}
		}
	}
	if known(m.Interval) && known(m.Timeout) && known(m.Retries) {
		// A check with all its repetitions must be over before the next one.
		if took := m.Timeout.ValueInt64() * (m.Retries.ValueInt64() + 1); took > m.Interval.ValueInt64() {
			c.fault(at.AtName("interval"), "a check may take %d seconds (timeout %d, repeated %d times), longer than the interval of %d.\n\nRaise interval, or lower timeout or retries.",
				took, m.Timeout.ValueInt64(), m.Retries.ValueInt64(), m.Interval.ValueInt64())
		}
	}
}

func (c *check) session(ctx context.Context) {
	if !known(c.m.SessionAffinity) {
		return
	}
	var given, s sessionModel
	if !c.config.SessionAffinity.IsNull() {
		c.diags.Append(c.config.SessionAffinity.As(ctx, &given, basetypes.ObjectAsOptions{})...)
	}
	c.diags.Append(c.m.SessionAffinity.As(ctx, &s, basetypes.ObjectAsOptions{})...)
	at := path.Root("session_affinity")
	kind := cloudflare.Affinity(s.Type.ValueString())
	if known(s.Type) && kind != cloudflare.AffinityNone && known(c.m.Proxied) && !c.m.Proxied.ValueBool() {
		c.fault(at.AtName("type"), "session affinity %q needs a load balancer that is proxied.\n\nSet proxied to true, or type to %q.", kind, cloudflare.AffinityNone)
		return
	}
	useless := map[string]attr.Value{}
	switch kind {
	case cloudflare.AffinityNone:
		useless = map[string]attr.Value{
			"ttl": given.TTL, "drain": given.Drain, "failover": given.Failover, "samesite": given.SameSite, "secure": given.Secure,
			"headers": given.Headers, "require_all_headers": given.RequireAllHeaders,
		}
	case cloudflare.AffinityHeader:
		useless = map[string]attr.Value{"samesite": given.SameSite, "secure": given.Secure}
		if s.Headers.IsNull() {
			c.fault(at.AtName("headers"), "session affinity %q needs the name of a header.\n\nGive headers.", kind)
		}
		if s.Failover.ValueString() == "sticky" {
			c.fault(at.AtName("failover"), "failover \"sticky\" is not to be had with session affinity %q.\n\nUse \"temporary\" or \"none\".", kind)
		}
		c.between(at, s, minSession, maxHeaderSession)
	case cloudflare.AffinityCookie, cloudflare.AffinityIPCookie:
		useless = map[string]attr.Value{"headers": given.Headers, "require_all_headers": given.RequireAllHeaders}
		if s.SameSite.ValueString() == "None" && s.Secure.ValueString() == "Never" {
			c.fault(at.AtName("secure"), "a cookie with samesite \"None\" must be secure.\n\nSet secure to \"Auto\" or \"Always\".")
		}
		c.between(at, s, minCookieSession, maxCookieSession)
	}
	for name, v := range useless {
		if !v.IsNull() {
			c.fault(at.AtName(name), "%s has no effect with session affinity %q.\n\nRemove it, or set another type.", name, kind)
		}
	}
	if known(s.TTL) && known(s.Drain) && s.Drain.ValueInt64() < s.TTL.ValueInt64() {
		c.fault(at.AtName("drain"), "a node that is being disabled keeps its sessions for %d seconds, less than they last (ttl %d): clients would lose them.\n\nRaise drain to ttl, or lower ttl.",
			s.Drain.ValueInt64(), s.TTL.ValueInt64())
	}
}

func (c *check) between(at path.Path, s sessionModel, least, most int64) {
	if n := s.TTL.ValueInt64(); known(s.TTL) && (n < least || n > most) {
		c.fault(at.AtName("ttl"), "ttl of session affinity %q must be between %d and %d seconds, not %d.", s.Type.ValueString(), least, most, n)
	}
}
