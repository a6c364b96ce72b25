package loadbalancer

import (
	"context"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
)

// desired is what shall be at Cloudflare, in its terms but for ids.
type desired struct {
	hostname string
	mode     Mode
	monitor  cloudflare.Monitor
	// pools are those of the sites, in order of preference.
	pools []desiredPool
	// fallback is the site whose pool is the last resort.
	fallback string
	balancer cloudflare.LoadBalancer
	// removal tells that the nodes may take endpoints out.
	removal bool
	// records are by address.
	records map[string]cloudflare.Record
}

type desiredPool struct {
	site    string
	pool    cloudflare.Pool
	regions []string
	weight  float64
}

// desired returns what a model describes, all of whose arguments are known.
func (m *Model) desired(ctx context.Context) (desired, diag.Diagnostics) {
	v, diags := m.view(ctx)
	d := desired{
		hostname: m.Hostname.ValueString(), mode: Mode(m.Mode.ValueString()), fallback: m.FallbackSite.ValueString(),
		records: map[string]cloudflare.Record{},
	}
	if d.mode == ModeDNS {
		d.addRecords(m, v)
		return d, diags
	}
	var mon monitorModel
	var s sessionModel
	diags.Append(m.Monitor.As(ctx, &mon, basetypes.ObjectAsOptions{UnhandledNullAsEmpty: true})...)
	diags.Append(m.SessionAffinity.As(ctx, &s, basetypes.ObjectAsOptions{UnhandledNullAsEmpty: true})...)
	d.monitor = mon.toAPI(d.hostname)
	l, more := m.local(ctx)
	diags.Append(more...)
	d.removal = l.removal != nil
	for _, s := range v.sites() {
		d.pools = append(d.pools, m.pool(s, l))
	}
	d.balancer = cloudflare.LoadBalancer{
		Name: d.hostname, Description: mark(d.hostname, ""), Enabled: true, Proxied: m.Proxied.ValueBool(), TTL: int(m.TTL.ValueInt64()),
		Steering: cloudflare.Steering(m.Steering.ValueString()), FailoverAcrossPools: m.FailoverAcrossSites.ValueBool(), Session: s.toAPI(),
	}
	return d, diags
}

func (d *desired) addRecords(m *Model, v view) {
	ttl := int(m.TTL.ValueInt64())
	if m.Proxied.ValueBool() {
		ttl = cloudflare.AutomaticTTL
	}
	for _, e := range v.endpoints {
		if !e.enabled {
			continue
		}
		for _, ip := range e.ips() {
			kind := cloudflare.RecordA
			if ip.Is6() {
				kind = cloudflare.RecordAAAA
			}
			d.records[ip.String()] = cloudflare.Record{
				Type: kind, Name: d.hostname, Content: ip.String(), Proxied: m.Proxied.ValueBool(), TTL: ttl, Comment: mark(d.hostname, e.name),
			}
		}
	}
}

func (m *Model) pool(s site, l local) desiredPool {
	hostname := m.Hostname.ValueString()
	p := cloudflare.Pool{
		Name: poolName(hostname, s.name), Description: mark(hostname, s.name), Enabled: s.enabled(), MinimumOrigins: s.minimum(),
		CheckRegions: setStrings(m.CheckRegions), OriginSteering: cloudflare.OriginSteering(m.EndpointSteering.ValueString()),
	}
	if known(s.settings.Latitude) && known(s.settings.Longitude) {
		p.Latitude, p.Longitude = s.settings.Latitude.ValueFloat64Pointer(), s.settings.Longitude.ValueFloat64Pointer()
	}
	for _, e := range s.endpoints {
		port := m.portOf(e)
		if l.proxy != nil {
			port = l.edgePort()
		}
		p.Origins = append(p.Origins, cloudflare.Origin{
			Name: e.name, Address: e.serves(), Port: port, Enabled: e.enabled, Weight: e.weight, Host: m.HostHeader.ValueString(),
		})
	}
	return desiredPool{site: s.name, pool: p, regions: setStrings(s.settings.Regions), weight: s.weight()}
}

// portOf is the port of the application on a node, 0 for what the client asked for.
func (m *Model) portOf(e endpoint) int {
	if e.port != 0 {
		return e.port
	}
	return int(m.Port.ValueInt64())
}

// withPools returns the load balancer with the ids of its pools, by site.
func (d *desired) withPools(ids map[string]string) cloudflare.LoadBalancer {
	lb := d.balancer
	lb.FallbackPool = ids[d.fallback]
	for _, p := range d.pools {
		id := ids[p.site]
		lb.DefaultPools = append(lb.DefaultPools, id)
		if lb.Steering.Weighted() {
			if lb.PoolWeights == nil {
				lb.PoolWeights = map[string]float64{}
			}
			lb.PoolWeights[id] = p.weight
		}
		if lb.Steering == cloudflare.SteeringGeo {
			for _, r := range p.regions {
				if lb.RegionPools == nil {
					lb.RegionPools = map[string][]string{}
				}
				lb.RegionPools[r] = append(lb.RegionPools[r], id)
			}
		}
	}
	return lb
}

// lost tells whether a pool has been described with something that is left to the vendor now.
func (d *desired) lost(p desiredPool) bool {
	return d != nil && len(p.pool.CheckRegions) == 0 && slices.ContainsFunc(d.pools, func(was desiredPool) bool {
		return was.site == p.site && len(was.pool.CheckRegions) > 0
	})
}

// hasSite tells whether a site has a pool.
func (d *desired) hasSite(name string) bool {
	return slices.ContainsFunc(d.pools, func(p desiredPool) bool { return p.site == name })
}

func (c monitorModel) toAPI(hostname string) cloudflare.Monitor {
	return cloudflare.Monitor{
		Description: mark(hostname, ""), Type: cloudflare.MonitorType(c.Type.ValueString()), Port: int(c.Port.ValueInt64()),
		Interval: int(c.Interval.ValueInt64()), Timeout: int(c.Timeout.ValueInt64()), Retries: int(c.Retries.ValueInt64()),
		ConsecutiveDown: int(c.ConsecutiveDown.ValueInt64()), ConsecutiveUp: int(c.ConsecutiveUp.ValueInt64()),
		Method: c.Method.ValueString(), Path: c.Path.ValueString(), Host: c.HostHeader.ValueString(),
		ExpectedCodes: c.ExpectedCodes.ValueString(), ExpectedBody: c.ExpectedBody.ValueString(),
		AllowInsecure: c.AllowInsecure.ValueBool(), FollowRedirects: c.FollowRedirects.ValueBool(),
	}
}

func (c sessionModel) toAPI() cloudflare.Session {
	return cloudflare.Session{
		Affinity: cloudflare.Affinity(c.Type.ValueString()), TTL: int(c.TTL.ValueInt64()), Drain: int(c.Drain.ValueInt64()),
		Failover: c.Failover.ValueString(), SameSite: c.SameSite.ValueString(), Secure: c.Secure.ValueString(),
		Headers: setStrings(c.Headers), RequireAll: c.RequireAllHeaders.ValueBool(),
	}
}
