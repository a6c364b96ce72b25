package loadbalancer

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
)

// differences collects how a thing at Cloudflare is not as described. Only what is described counts: what the vendor fills in by
// itself, or what somebody set that this resource has no argument for, is no difference.
type differences struct {
	what  string
	lines []string
}

func differ[T comparable](d *differences, field string, want, have T) {
	if want != have {
		d.lines = append(d.lines, fmt.Sprintf("%s: %s is %v, not %v", d.what, field, quoted(have), quoted(want)))
	}
}

func (d *differences) list(field string, want, have []string) {
	if !slices.Equal(want, have) {
		d.lines = append(d.lines, fmt.Sprintf("%s: %s is [%s], not [%s]", d.what, field, strings.Join(have, " "), strings.Join(want, " ")))
	}
}

func quoted(v any) any {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return v
}

func monitorDifferences(want, have cloudflare.Monitor) []string {
	d := &differences{what: "monitor"}
	differ(d, "description", want.Description, have.Description)
	differ(d, "type", string(want.Type), string(have.Type))
	differ(d, "port", want.Port, have.Port)
	differ(d, "interval", want.Interval, have.Interval)
	differ(d, "timeout", want.Timeout, have.Timeout)
	differ(d, "retries", want.Retries, have.Retries)
	if want.ConsecutiveDown != 0 {
		differ(d, "consecutive_down", want.ConsecutiveDown, have.ConsecutiveDown)
	}
	if want.ConsecutiveUp != 0 {
		differ(d, "consecutive_up", want.ConsecutiveUp, have.ConsecutiveUp)
	}
	if want.Type.Web() {
		differ(d, "method", want.Method, have.Method)
		differ(d, "path", want.Path, have.Path)
		differ(d, "host_header", want.Host, have.Host)
		differ(d, "expected_codes", want.ExpectedCodes, have.ExpectedCodes)
		differ(d, "expected_body", want.ExpectedBody, have.ExpectedBody)
		differ(d, "follow_redirects", want.FollowRedirects, have.FollowRedirects)
		differ(d, "allow_insecure", want.AllowInsecure, have.AllowInsecure)
	}
	return d.lines
}

func poolDifferences(site string, want, have cloudflare.Pool) []string {
	d := &differences{what: "pool of " + site}
	differ(d, "name", want.Name, have.Name)
	differ(d, "description", want.Description, have.Description)
	differ(d, "enabled", want.Enabled, have.Enabled)
	differ(d, "monitor", want.Monitor, have.Monitor)
	differ(d, "minimum_healthy", want.MinimumOrigins, have.MinimumOrigins)
	differ(d, "endpoint_steering", string(want.OriginSteering), string(have.OriginSteering))
	differ(d, "latitude", number(want.Latitude), number(have.Latitude))
	differ(d, "longitude", number(want.Longitude), number(have.Longitude))
	if len(want.CheckRegions) > 0 {
		regions := slices.Clone(have.CheckRegions)
		slices.Sort(regions)
		d.list("check_regions", want.CheckRegions, regions)
	}
	for _, o := range want.Origins {
		at := slices.IndexFunc(have.Origins, func(h cloudflare.Origin) bool { return h.Name == o.Name })
		if at < 0 {
			d.lines = append(d.lines, fmt.Sprintf("%s: it lacks %s", d.what, o.Name))
			continue
		}
		h, e := have.Origins[at], &differences{what: d.what + ": " + o.Name}
		differ(e, "address", o.Address, h.Address)
		differ(e, "port", o.Port, h.Port)
		differ(e, "enabled", o.Enabled, h.Enabled)
		differ(e, "removed by the nodes", o.Removed, h.Removed)
		differ(e, "host_header", o.Host, h.Host)
		if math.Abs(o.Weight-h.Weight) > 1e-6 {
			differ(e, "weight", o.Weight, h.Weight)
		}
		d.lines = append(d.lines, e.lines...)
	}
	for _, h := range have.Origins {
		if !slices.ContainsFunc(want.Origins, func(o cloudflare.Origin) bool { return h.Name == o.Name }) {
			d.lines = append(d.lines, fmt.Sprintf("%s: it has %s (%s), which is not among the nodes", d.what, h.Name, h.Address))
		}
	}
	return d.lines
}

func number(f *float64) string {
	if f == nil {
		return "unset"
	}
	return fmt.Sprint(*f)
}

func balancerDifferences(want, have cloudflare.LoadBalancer) []string {
	d := &differences{what: "load balancer"}
	differ(d, "hostname", want.Name, have.Name)
	differ(d, "description", want.Description, have.Description)
	differ(d, "enabled", want.Enabled, have.Enabled)
	differ(d, "proxied", want.Proxied, have.Proxied)
	if !want.Proxied {
		differ(d, "ttl", want.TTL, have.TTL)
	}
	differ(d, "steering", string(want.Steering), string(have.Steering))
	differ(d, "failover_across_sites", want.FailoverAcrossPools, have.FailoverAcrossPools)
	differ(d, "fallback pool", want.FallbackPool, have.FallbackPool)
	d.list("pools", want.DefaultPools, have.DefaultPools)
	for _, region := range cloudflare.CheckRegions() {
		d.list("pools of "+region, want.RegionPools[region], have.RegionPools[region])
	}
	for id, weight := range want.PoolWeights {
		if h, ok := have.PoolWeights[id]; !ok || math.Abs(weight-h) > 1e-6 {
			differ(d, "weight of pool "+id, weight, h)
		}
	}
	s := &differences{what: "session affinity"}
	sessionDifferences(s, want.Session, have.Session)
	return append(d.lines, s.lines...)
}

func sessionDifferences(d *differences, want, have cloudflare.Session) {
	differ(d, "type", string(want.Affinity), string(have.Affinity))
	if want.Affinity == cloudflare.AffinityNone {
		return
	}
	differ(d, "ttl", want.TTL, have.TTL)
	differ(d, "drain", want.Drain, have.Drain)
	differ(d, "drain suspended by the nodes", want.DrainSuspended, have.DrainSuspended)
	differ(d, "failover", want.Failover, have.Failover)
	if want.Affinity == cloudflare.AffinityHeader {
		headers := slices.Clone(have.Headers)
		slices.Sort(headers)
		d.list("headers", want.Headers, headers)
		differ(d, "require_all_headers", want.RequireAll, have.RequireAll)
		return
	}
	differ(d, "samesite", want.SameSite, have.SameSite)
	differ(d, "secure", want.Secure, have.Secure)
}

func recordDifferences(want, have cloudflare.Record) []string {
	d := &differences{what: "record " + want.String()}
	differ(d, "name", want.Name, have.Name)
	differ(d, "type", string(want.Type), string(have.Type))
	differ(d, "content", want.Content, have.Content)
	differ(d, "proxied", want.Proxied, have.Proxied)
	differ(d, "ttl", want.TTL, have.TTL)
	differ(d, "comment", want.Comment, have.Comment)
	return d.lines
}
