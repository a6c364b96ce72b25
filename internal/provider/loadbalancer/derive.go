package loadbalancer

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// The project's defaults where the vendor's are not those.
const (
	defaultInterval = 60
	defaultTimeout  = 5
	defaultRetries  = 2
	defaultSession  = 1800
	defaultTTL      = 30
	defaultTTLOfDNS = 60
	defaultMinimum  = 1
)

// derive fills in everything that follows from the configuration. It starts from the configuration each time, never from the
// state, so that an argument that is taken out has its default again.
func (m *Model) derive(ctx context.Context, config *Model) diag.Diagnostics {
	m.ID = config.Hostname
	if config.Mode.IsUnknown() {
		return nil
	}
	l, diags := m.local(ctx)
	m.deriveMinimum(config, l)
	if diags.HasError() {
		return diags
	}
	m.Mode = orString(config.Mode, string(ModeBalancer))
	m.Proxied = orBool(config.Proxied, true)
	if m.Mode.ValueString() == string(ModeDNS) {
		m.deriveDNS(config)
		return nil
	}
	v, more := config.view(ctx)
	diags.Append(more...)
	switch {
	case !config.TTL.IsNull():
	case m.Proxied.IsUnknown():
		m.TTL = types.Int64Unknown()
	case m.Proxied.ValueBool():
		m.TTL = types.Int64Null()
	default:
		m.TTL = types.Int64Value(defaultTTL)
	}
	m.Steering = orString(config.Steering, string(cloudflare.SteeringLatency))
	m.EndpointSteering = orString(config.EndpointSteering, string(cloudflare.OriginRandom))
	m.FailoverAcrossSites = orBool(config.FailoverAcrossSites, true)
	if config.FallbackSite.IsNull() {
		m.FallbackSite = v.fallback()
	}
	diags.Append(m.deriveMonitor(ctx, config, v, l)...)
	diags.Append(m.deriveSession(ctx, config)...)
	return diags
}

func (m *Model) deriveDNS(config *Model) {
	switch {
	case !config.TTL.IsNull():
	case m.Proxied.IsUnknown():
		m.TTL = types.Int64Unknown()
	case m.Proxied.ValueBool():
		m.TTL = types.Int64Null()
	default:
		m.TTL = types.Int64Value(defaultTTLOfDNS)
	}
	// What the other mode has is null unless it was configured, which is an error that is reported elsewhere.
	m.Steering, m.EndpointSteering, m.FallbackSite = config.Steering, config.EndpointSteering, config.FallbackSite
	m.FailoverAcrossSites, m.Monitor, m.SessionAffinity = config.FailoverAcrossSites, config.Monitor, config.SessionAffinity
}

// fallback is the first site with a node that may get traffic.
func (v view) fallback() types.String {
	if !v.placed || !v.settled {
		return types.StringUnknown()
	}
	for _, s := range v.sites() {
		if s.serving() {
			return types.StringValue(s.name)
		}
	}
	return types.StringUnknown()
}

func (m *Model) deriveMonitor(ctx context.Context, config *Model, v view, l local) diag.Diagnostics {
	if config.Monitor.IsUnknown() {
		return nil
	}
	var c monitorModel
	var diags diag.Diagnostics
	if !config.Monitor.IsNull() {
		diags.Append(config.Monitor.As(ctx, &c, basetypes.ObjectAsOptions{})...)
	}
	c.Type = orString(c.Type, string(cloudflare.MonitorHTTP))
	if c.Port.IsNull() {
		c.Port = v.healthPort()
	}
	c.Interval = orInt64(c.Interval, defaultInterval)
	c.Timeout = orInt64(c.Timeout, defaultTimeout)
	c.Retries = orInt64(c.Retries, defaultRetries)
	switch {
	case c.Type.IsUnknown():
		unknownStrings(&c.Path, &c.Method, &c.ExpectedCodes)
		unknownBools(&c.FollowRedirects, &c.AllowInsecure)
	case c.Type.ValueString() != string(cloudflare.MonitorTCP):
		if c.Path.IsNull() {
			c.Path = m.healthPath(l)
		}
		c.Method = orString(c.Method, "GET")
		c.ExpectedCodes = orString(c.ExpectedCodes, "200")
		c.FollowRedirects = orBool(c.FollowRedirects, false)
		c.AllowInsecure = orBool(c.AllowInsecure, false)
	}
	diags.Append(m.setMonitor(ctx, c)...)
	return diags
}

// healthPath is what the agents' health endpoints are asked for: what they say of this hostname, where they know of it.
func (m *Model) healthPath(l local) types.String {
	switch {
	case l.any() && m.Hostname.IsUnknown(), !l.any() && l.unknown:
		return types.StringUnknown()
	case l.any():
		return types.StringValue(api.HealthPath + "/" + m.Hostname.ValueString())
	default:
		return types.StringValue(api.HealthPath)
	}
}

// deriveMinimum settles how many nodes stay in service, which all nodes count that know of the load balancer.
func (m *Model) deriveMinimum(config *Model, l local) {
	m.MinimumNodes = config.MinimumNodes
	switch {
	case !m.MinimumNodes.IsNull():
	case l.any():
		m.MinimumNodes = types.Int64Value(defaultMinimum)
	case l.unknown:
		m.MinimumNodes = types.Int64Unknown()
	}
}

// healthPort is the port of the clusters' health endpoints.
func (v view) healthPort() types.Int64 {
	for _, e := range v.endpoints {
		if e.healthPort != 0 {
			return types.Int64Value(int64(e.healthPort))
		}
	}
	if !v.complete {
		return types.Int64Unknown()
	}
	return types.Int64Value(int64(spec.DefaultPorts().Health))
}

func (m *Model) deriveSession(ctx context.Context, config *Model) diag.Diagnostics {
	if config.SessionAffinity.IsUnknown() || config.SessionAffinity.IsNull() && m.Proxied.IsUnknown() {
		m.SessionAffinity = types.ObjectUnknown(sessionTypes())
		return nil
	}
	var c sessionModel
	var diags diag.Diagnostics
	if !config.SessionAffinity.IsNull() {
		diags.Append(config.SessionAffinity.As(ctx, &c, basetypes.ObjectAsOptions{})...)
	}
	usual := cloudflare.AffinityNone
	if m.Proxied.ValueBool() {
		usual = cloudflare.AffinityCookie
	}
	c.Type = orString(c.Type, string(usual))
	if c.Type.IsUnknown() {
		unknownStrings(&c.Failover, &c.SameSite, &c.Secure)
		unknownBools(&c.RequireAllHeaders)
		unknownInts(&c.TTL, &c.Drain)
	}
	if t := cloudflare.Affinity(c.Type.ValueString()); t != cloudflare.AffinityNone && known(c.Type) {
		failover := "sticky"
		if t == cloudflare.AffinityHeader {
			failover = "temporary"
			c.RequireAllHeaders = orBool(c.RequireAllHeaders, false)
		} else {
			c.SameSite, c.Secure = orString(c.SameSite, "Auto"), orString(c.Secure, "Auto")
		}
		c.TTL = orInt64(c.TTL, defaultSession)
		if c.Drain.IsNull() {
			c.Drain = c.TTL
			if !c.TTL.IsUnknown() && c.TTL.ValueInt64() < minSession {
				c.Drain = types.Int64Value(minSession)
			}
		}
		c.Failover = orString(c.Failover, failover)
	}
	diags.Append(m.setSession(ctx, c)...)
	return diags
}

func (m *Model) setMonitor(ctx context.Context, c monitorModel) diag.Diagnostics {
	o, diags := types.ObjectValueFrom(ctx, monitorTypes(), c)
	m.Monitor = o
	return diags
}

func (m *Model) setSession(ctx context.Context, c sessionModel) diag.Diagnostics {
	if c.Headers.ElementType(ctx) == nil || c.Headers.IsNull() {
		c.Headers = types.SetNull(types.StringType)
	}
	o, diags := types.ObjectValueFrom(ctx, sessionTypes(), c)
	m.SessionAffinity = o
	return diags
}

func orString(v types.String, otherwise string) types.String {
	if v.IsNull() {
		return types.StringValue(otherwise)
	}
	return v
}

func orInt64(v types.Int64, otherwise int64) types.Int64 {
	if v.IsNull() {
		return types.Int64Value(otherwise)
	}
	return v
}

func orBool(v types.Bool, otherwise bool) types.Bool {
	if v.IsNull() {
		return types.BoolValue(otherwise)
	}
	return v
}

// unknownStrings leaves open what follows from something that is not known yet.
func unknownStrings(values ...*types.String) {
	for _, v := range values {
		if v.IsNull() {
			*v = types.StringUnknown()
		}
	}
}

// unknownBools is unknownStrings for bools.
func unknownBools(values ...*types.Bool) {
	for _, v := range values {
		if v.IsNull() {
			*v = types.BoolUnknown()
		}
	}
}

// unknownInts is unknownStrings for numbers.
func unknownInts(values ...*types.Int64) {
	for _, v := range values {
		if v.IsNull() {
			*v = types.Int64Unknown()
		}
	}
}
