package cloudflare

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// LoadBalancer is a hostname that pools serve.
type LoadBalancer struct {
	ID                        string              `json:"id"`
	CreatedOn                 time.Time           `json:"created_on"`
	ModifiedOn                time.Time           `json:"modified_on"`
	Name                      string              `json:"name"`
	ZoneName                  string              `json:"zone_name"`
	Description               string              `json:"description"`
	Enabled                   bool                `json:"enabled"`
	Proxied                   bool                `json:"proxied"`
	TTL                       int                 `json:"ttl,omitempty"`
	DefaultPools              []string            `json:"default_pools"`
	FallbackPool              string              `json:"fallback_pool"`
	RegionPools               map[string][]string `json:"region_pools"`
	CountryPools              map[string][]string `json:"country_pools"`
	PopPools                  map[string][]string `json:"pop_pools"`
	SteeringPolicy            string              `json:"steering_policy"`
	RandomSteering            *RandomSteering     `json:"random_steering"`
	AdaptiveRouting           *AdaptiveRouting    `json:"adaptive_routing"`
	LocationStrategy          *LocationStrategy   `json:"location_strategy"`
	SessionAffinity           string              `json:"session_affinity"`
	SessionAffinityTTL        int                 `json:"session_affinity_ttl,omitempty"`
	SessionAffinityAttributes *AffinityAttributes `json:"session_affinity_attributes"`
	Rules                     []json.RawMessage   `json:"rules"`
}

// RandomSteering weighs pools; weights are 0 to 1.
type RandomSteering struct {
	DefaultWeight float64            `json:"default_weight"`
	PoolWeights   map[string]float64 `json:"pool_weights,omitempty"`
}

// AdaptiveRouting says whether a request that failed may be tried on an endpoint of another pool.
type AdaptiveRouting struct {
	FailoverAcrossPools bool `json:"failover_across_pools"`
}

// LocationStrategy says where a client is taken to be.
type LocationStrategy struct {
	Mode      string `json:"mode"`
	PreferECS string `json:"prefer_ecs"`
}

// AffinityAttributes are the particulars of session affinity. DrainDuration is in seconds.
type AffinityAttributes struct {
	SameSite             string   `json:"samesite"`
	Secure               string   `json:"secure"`
	DrainDuration        int      `json:"drain_duration,omitempty"`
	ZeroDowntimeFailover string   `json:"zero_downtime_failover"`
	Headers              []string `json:"headers,omitempty"`
	RequireAllHeaders    bool     `json:"require_all_headers,omitempty"`
}

// UnmarshalJSON implements [json.Unmarshaler]; fields that are not there have the vendor's defaults.
func (b *LoadBalancer) UnmarshalJSON(data []byte) error {
	type plain LoadBalancer
	v := plain{Enabled: true}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	*b = LoadBalancer(v)
	for _, pools := range []*map[string][]string{&b.RegionPools, &b.CountryPools, &b.PopPools} {
		if *pools == nil {
			*pools = map[string][]string{}
		}
	}
	if b.Rules == nil {
		b.Rules = []json.RawMessage{}
	}
	setDefault(&b.SessionAffinity, "none")
	if b.SteeringPolicy == "" {
		b.SteeringPolicy = "off"
		if len(b.RegionPools)+len(b.CountryPools)+len(b.PopPools) > 0 {
			b.SteeringPolicy = "geo"
		}
	}
	if b.RandomSteering == nil {
		b.RandomSteering = &RandomSteering{DefaultWeight: 1}
	}
	if b.AdaptiveRouting == nil {
		b.AdaptiveRouting = &AdaptiveRouting{}
	}
	if b.LocationStrategy == nil {
		b.LocationStrategy = &LocationStrategy{}
	}
	setDefault(&b.LocationStrategy.Mode, "pop")
	setDefault(&b.LocationStrategy.PreferECS, "proximity")
	if b.SessionAffinityAttributes == nil {
		b.SessionAffinityAttributes = &AffinityAttributes{}
	}
	setDefault(&b.SessionAffinityAttributes.SameSite, "Auto")
	setDefault(&b.SessionAffinityAttributes.Secure, "Auto")
	setDefault(&b.SessionAffinityAttributes.ZeroDowntimeFailover, "none")
	if !b.Proxied {
		setDefault(&b.TTL, 30)
	} else {
		b.TTL = 0 // only names that are not proxied have one
	}
	return nil
}

// UnmarshalJSON implements [json.Unmarshaler]; fields that are not there have the vendor's defaults.
func (r *RandomSteering) UnmarshalJSON(data []byte) error {
	type plain RandomSteering
	v := plain{DefaultWeight: 1}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	*r = RandomSteering(v)
	return nil
}

// Pools returns the identifiers of all pools that the load balancer names, some of them more than once.
func (b *LoadBalancer) Pools() []string {
	pools := append(slices.Clone(b.DefaultPools), b.FallbackPool)
	for _, by := range []map[string][]string{b.RegionPools, b.CountryPools, b.PopPools} {
		for _, list := range by {
			pools = append(pools, list...)
		}
	}
	return pools
}

func (b *LoadBalancer) uses(pool string) bool { return slices.Contains(b.Pools(), pool) }

// steeringPolicies are those that the vendor has. Which plan may use which is not published.
var steeringPolicies = []string{
	"off", "geo", "random", "dynamic_latency", "proximity", "least_outstanding_requests", "least_connections",
}

func (s *Server) checkBalancer(b *LoadBalancer, zone *Zone) error {
	b.Name = strings.ToLower(b.Name)
	switch {
	case !hostPattern.MatchString(b.Name):
		return invalid("name %q is not a hostname", b.Name)
	case !zone.holds(b.Name):
		return invalid("name %q is not in the zone %s", b.Name, zone.Name)
	case slices.ContainsFunc(s.state.LoadBalancers, func(o LoadBalancer) bool { return o.Name == b.Name && o.ID != b.ID }):
		return fail(http.StatusBadRequest, codeNotUnique, "value not unique")
	case len(b.DefaultPools) == 0:
		return invalid("default_pools must not be empty")
	case b.FallbackPool == "":
		return invalid("fallback_pool must be set")
	case !slices.Contains(steeringPolicies, b.SteeringPolicy):
		return invalid("steering_policy %q is not supported", b.SteeringPolicy)
	case b.RandomSteering.DefaultWeight < 0 || b.RandomSteering.DefaultWeight > 1:
		return invalid("random_steering.default_weight is not in range [0, 1]")
	}
	for _, id := range b.Pools() {
		pool, ok := s.state.Pool(id)
		if !ok {
			return invalid("pool %q does not exist", id)
		}
		if b.SteeringPolicy == "proximity" && pool.Latitude == nil {
			return invalid("pool %q needs latitude and longitude for proximity steering", pool.Name)
		}
	}
	for region := range b.RegionPools {
		if !slices.Contains(regions, region) {
			return invalid("region %q is unknown", region)
		}
	}
	for id, weight := range b.RandomSteering.PoolWeights {
		if weight < 0 || weight > 1 {
			return invalid("random_steering weight of pool %q is not in range [0, 1]", id)
		}
	}
	return checkAffinity(b)
}

func checkAffinity(b *LoadBalancer) error {
	least, most := 0, 0
	attributes := b.SessionAffinityAttributes
	switch b.SessionAffinity {
	case "none":
	case "cookie", "ip_cookie":
		least, most = 1800, 604800
	case "header":
		least, most = 30, 3600
		if len(attributes.Headers) == 0 {
			return invalid("session_affinity_attributes.headers must name a header")
		}
		if attributes.ZeroDowntimeFailover == "sticky" {
			return invalid("zero_downtime_failover sticky is not supported for session affinity by header")
		}
	default:
		return invalid("session_affinity %q is not supported", b.SessionAffinity)
	}
	switch ttl := b.SessionAffinityTTL; {
	case most == 0 || ttl == 0:
	case ttl < least || ttl > most:
		return invalid("session_affinity_ttl is not in range [%d, %d]", least, most)
	}
	if attributes.DrainDuration < 0 {
		return invalid("session_affinity_attributes.drain_duration must not be negative")
	}
	for _, choice := range []struct {
		field, value string
		of           []string
	}{
		{"samesite", attributes.SameSite, []string{"Auto", "Lax", "None", "Strict"}},
		{"secure", attributes.Secure, []string{"Auto", "Always", "Never"}},
		{"zero_downtime_failover", attributes.ZeroDowntimeFailover, []string{"none", "temporary", "sticky"}},
	} {
		if !slices.Contains(choice.of, choice.value) {
			return invalid("session_affinity_attributes.%s %q is not supported", choice.field, choice.value)
		}
	}
	if attributes.SameSite == "None" && attributes.Secure == "Never" {
		return invalid("session_affinity_attributes: samesite None needs a secure cookie")
	}
	return nil
}

func (s *Server) balancerRoutes() []route {
	const (
		list = "/zones/{zone}/load_balancers"
		one  = list + "/{id}"
	)
	return []route{
		{pattern: "GET " + list, permission: LoadBalancersRead, do: s.listBalancers},
		{pattern: "POST " + list, permission: LoadBalancersWrite, do: s.createBalancer},
		{pattern: "GET " + one, permission: LoadBalancersRead, do: s.getBalancer},
		{pattern: "PUT " + one, permission: LoadBalancersWrite, do: s.updateBalancer},
		{pattern: "PATCH " + one, permission: LoadBalancersWrite, do: s.updateBalancer},
		{pattern: "DELETE " + one, permission: LoadBalancersWrite, do: s.deleteBalancer},
	}
}

func (s *Server) findBalancer(c *call) (int, error) {
	return index(s.state.LoadBalancers, "load balancer", func(b LoadBalancer) bool {
		return b.ID == c.PathValue("id") && b.ZoneName == c.zone.Name
	})
}

func (s *Server) listBalancers(c *call) (any, error) {
	var list []LoadBalancer
	for _, b := range s.state.LoadBalancers {
		if b.ZoneName == c.zone.Name {
			list = append(list, b)
		}
	}
	return all(c, list), nil
}

func (s *Server) getBalancer(c *call) (any, error) {
	n, err := s.findBalancer(c)
	if err != nil {
		return nil, err
	}
	return s.state.LoadBalancers[n], nil
}

var balancerReadOnly = []string{"id", "created_on", "modified_on", "zone_name", "networks"}

func (s *Server) createBalancer(c *call) (any, error) {
	fields, err := c.fields()
	if err != nil {
		return nil, err
	}
	b, err := merge[LoadBalancer](nil, fields, balancerReadOnly...)
	if err != nil {
		return nil, err
	}
	if err := s.checkBalancer(&b, c.zone); err != nil {
		return nil, err
	}
	if len(s.state.LoadBalancers) >= s.Quotas.LoadBalancers {
		return nil, overQuota("load balancers", s.Quotas.LoadBalancers)
	}
	now := s.now()
	b.ID, b.ZoneName, b.CreatedOn, b.ModifiedOn = newID(), c.zone.Name, now, now
	s.state.LoadBalancers = append(s.state.LoadBalancers, b)
	return b, nil
}

func (s *Server) updateBalancer(c *call) (any, error) {
	n, err := s.findBalancer(c)
	if err != nil {
		return nil, err
	}
	fields, err := c.fields()
	if err != nil {
		return nil, err
	}
	old := s.state.LoadBalancers[n]
	b, err := merge(over(c, &old), fields, balancerReadOnly...)
	if err != nil {
		return nil, err
	}
	b.ID, b.ZoneName, b.CreatedOn, b.ModifiedOn = old.ID, old.ZoneName, old.CreatedOn, s.now()
	if err := s.checkBalancer(&b, c.zone); err != nil {
		return nil, err
	}
	s.state.LoadBalancers[n] = b
	return b, nil
}

func (s *Server) deleteBalancer(c *call) (any, error) {
	n, err := s.findBalancer(c)
	if err != nil {
		return nil, err
	}
	id := s.state.LoadBalancers[n].ID
	s.state.LoadBalancers = slices.Delete(slices.Clone(s.state.LoadBalancers), n, n+1)
	return deleted{id}, nil
}
