package cloudflare

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Pool is a set of endpoints, usually those of one site.
type Pool struct {
	ID                 string              `json:"id"`
	CreatedOn          time.Time           `json:"created_on"`
	ModifiedOn         time.Time           `json:"modified_on"`
	Name               string              `json:"name"`
	Description        string              `json:"description"`
	Enabled            bool                `json:"enabled"`
	DisabledAt         *time.Time          `json:"disabled_at,omitempty"`
	MinimumOrigins     int                 `json:"minimum_origins"`
	Monitor            string              `json:"monitor,omitempty"`
	CheckRegions       []string            `json:"check_regions"`
	Origins            []Origin            `json:"origins"`
	OriginSteering     *OriginSteering     `json:"origin_steering"`
	LoadShedding       *LoadShedding       `json:"load_shedding"`
	Latitude           *float64            `json:"latitude,omitempty"`
	Longitude          *float64            `json:"longitude,omitempty"`
	NotificationEmail  string              `json:"notification_email"`
	NotificationFilter *NotificationFilter `json:"notification_filter"`
}

// Origin is one endpoint of a pool.
type Origin struct {
	Name             string              `json:"name"`
	Address          string              `json:"address"`
	Enabled          bool                `json:"enabled"`
	DisabledAt       *time.Time          `json:"disabled_at,omitempty"`
	Weight           float64             `json:"weight"` // 0 to 1
	Port             int                 `json:"port"`   // 0 is the port that the client asked
	Header           map[string][]string `json:"header,omitempty"`
	VirtualNetworkID string              `json:"virtual_network_id,omitempty"`
	FlattenCNAME     bool                `json:"flatten_cname"`
}

// OriginSteering says how an endpoint of a pool is chosen.
type OriginSteering struct {
	Policy string `json:"policy"`
}

// LoadShedding says which share of a pool's traffic goes elsewhere. Percents are 0 to 100.
type LoadShedding struct {
	DefaultPercent float64 `json:"default_percent"`
	DefaultPolicy  string  `json:"default_policy"`
	SessionPercent float64 `json:"session_percent"`
	SessionPolicy  string  `json:"session_policy"`
}

// NotificationFilter says which changes of health the vendor sends mail about.
type NotificationFilter struct {
	Origin *NotificationChoice `json:"origin,omitempty"`
	Pool   *NotificationChoice `json:"pool,omitempty"`
}

// NotificationChoice is a part of NotificationFilter.
type NotificationChoice struct {
	Disable bool  `json:"disable"`
	Healthy *bool `json:"healthy,omitempty"`
}

// UnmarshalJSON implements [json.Unmarshaler]; fields that are not there have the vendor's defaults.
func (p *Pool) UnmarshalJSON(data []byte) error {
	type plain Pool
	v := plain{Enabled: true, MinimumOrigins: 1}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	*p = Pool(v)
	if p.Origins == nil {
		p.Origins = []Origin{}
	}
	if p.OriginSteering == nil {
		p.OriginSteering = &OriginSteering{}
	}
	setDefault(&p.OriginSteering.Policy, "random")
	if p.LoadShedding == nil {
		p.LoadShedding = &LoadShedding{}
	}
	setDefault(&p.LoadShedding.DefaultPolicy, "random")
	setDefault(&p.LoadShedding.SessionPolicy, "hash")
	return nil
}

// UnmarshalJSON implements [json.Unmarshaler]; fields that are not there have the vendor's defaults.
func (o *Origin) UnmarshalJSON(data []byte) error {
	type plain Origin
	v := plain{Enabled: true, Weight: 1, FlattenCNAME: true}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	*o = Origin(v)
	return nil
}

var (
	poolName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	regions  = []string{
		"WNAM", "ENAM", "WEU", "EEU", "NSAM", "SSAM", "OC", "ME", "NAF", "SAF", "SAS", "SEAS", "NEAS", "ALL_REGIONS",
	}
	hostPattern = regexp.MustCompile(`^(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)
)

func (s *Server) checkPool(p *Pool) error {
	switch {
	case !poolName.MatchString(p.Name):
		return invalid("name %q must be letters, digits, '-' and '_'", p.Name)
	case slices.ContainsFunc(s.state.Pools, func(o Pool) bool { return o.Name == p.Name && o.ID != p.ID }):
		return fail(http.StatusBadRequest, codeNotUnique, "value not unique")
	case len(p.Origins) < 1 || len(p.Origins) > s.Quotas.Endpoints:
		return invalid("the origin list length must be in range [1, %d]", s.Quotas.Endpoints)
	case p.MinimumOrigins < 0 || p.MinimumOrigins > len(p.Origins):
		return invalid("minimum_origins is not in range [0, %d]", len(p.Origins))
	case !slices.Contains([]string{"random", "hash", "least_outstanding_requests", "least_connections"}, p.OriginSteering.Policy):
		return invalid("origin_steering policy %q is not supported", p.OriginSteering.Policy)
	case (p.Latitude == nil) != (p.Longitude == nil):
		return invalid("latitude and longitude must be set together")
	}
	if p.Monitor != "" {
		if _, ok := s.state.Monitor(p.Monitor); !ok {
			return invalid("monitor %q does not exist", p.Monitor)
		}
	}
	for _, region := range p.CheckRegions {
		if !slices.Contains(regions, region) {
			return invalid("check region %q is unknown", region)
		}
	}
	return s.checkOrigins(p)
}

func (s *Server) checkOrigins(p *Pool) error {
	type place struct {
		address, network string
		port             int
	}
	names, places := map[string]bool{}, map[place]bool{}
	for _, o := range p.Origins {
		at := place{strings.ToLower(o.Address), o.VirtualNetworkID, o.Port}
		_, err := netip.ParseAddr(o.Address)
		switch {
		case o.Name == "":
			return invalid("origin name must be set")
		case names[o.Name]:
			return invalid("origin name %q is not unique in the pool", o.Name)
		case err != nil && (!hostPattern.MatchString(o.Address) || !strings.Contains(o.Address, ".")):
			return invalid("origin address %q is neither an IP address nor a hostname", o.Address)
		case places[at]:
			return invalid("origin address %q is not unique in the pool", o.Address)
		case o.Weight < 0 || o.Weight > 1:
			return invalid("origin weight is not in range [0, 1]")
		case o.Port < 0 || o.Port > 65535:
			return invalid("origin port is not in range [0, 65535]")
		}
		names[o.Name], places[at] = true, true
		for name, values := range o.Header {
			if name != "Host" {
				return invalid("origin header %q is not allowed", name)
			}
			for _, host := range values {
				if !slices.ContainsFunc(s.state.Zones, func(z Zone) bool { return z.holds(host) }) {
					return invalid("Host header %q not allowed for origin domain %q", host, o.Address)
				}
			}
		}
	}
	if endpoints(s.state.Pools, p.ID)+len(p.Origins) > s.Quotas.Endpoints {
		return overQuota("endpoints", s.Quotas.Endpoints)
	}
	return nil
}

// endpoints counts those of all pools but one.
func endpoints(pools []Pool, except string) int {
	n := 0
	for _, p := range pools {
		if p.ID != except {
			n += len(p.Origins)
		}
	}
	return n
}

func (s *Server) poolRoutes() []route {
	const (
		list = "/accounts/{account}/load_balancers/pools"
		one  = list + "/{id}"
	)
	return []route{
		{pattern: "GET " + list, permission: MonitorsAndPoolsRead, do: s.listPools},
		{pattern: "POST " + list, permission: MonitorsAndPoolsWrite, do: s.createPool},
		{pattern: "GET " + one, permission: MonitorsAndPoolsRead, do: s.getPool},
		{pattern: "PUT " + one, permission: MonitorsAndPoolsWrite, do: s.updatePool},
		{pattern: "PATCH " + one, permission: MonitorsAndPoolsWrite, do: s.updatePool},
		{pattern: "DELETE " + one, permission: MonitorsAndPoolsWrite, do: s.deletePool},
		{pattern: "GET " + one + "/health", permission: MonitorsAndPoolsRead, do: s.poolHealth},
		{pattern: "GET " + one + "/references", permission: MonitorsAndPoolsRead, do: s.poolReferences},
	}
}

func (s *Server) findPool(c *call) (int, error) {
	return index(s.state.Pools, "pool", func(p Pool) bool { return p.ID == c.PathValue("id") })
}

func (s *Server) listPools(c *call) (any, error) {
	pools, err := filter(c.URL.Query(), s.state.Pools, "monitor")
	if err != nil {
		return nil, err
	}
	return all(c, pools), nil
}

func (s *Server) getPool(c *call) (any, error) {
	n, err := s.findPool(c)
	if err != nil {
		return nil, err
	}
	return s.state.Pools[n], nil
}

var poolReadOnly = []string{"id", "created_on", "modified_on", "networks"}

func (s *Server) createPool(c *call) (any, error) {
	fields, err := c.fields()
	if err != nil {
		return nil, err
	}
	p, err := merge[Pool](nil, fields, poolReadOnly...)
	if err != nil {
		return nil, err
	}
	if err := s.checkPool(&p); err != nil {
		return nil, err
	}
	if len(s.state.Pools) >= s.Quotas.Pools {
		return nil, overQuota("pools", s.Quotas.Pools)
	}
	now := s.now()
	p.ID, p.CreatedOn, p.ModifiedOn = newID(), now, now
	s.stampDisabled(&p, nil)
	s.state.Pools = append(s.state.Pools, p)
	return p, nil
}

func (s *Server) updatePool(c *call) (any, error) {
	n, err := s.findPool(c)
	if err != nil {
		return nil, err
	}
	fields, err := c.fields()
	if err != nil {
		return nil, err
	}
	old := s.state.Pools[n]
	p, err := merge(over(c, &old), fields, poolReadOnly...)
	if err != nil {
		return nil, err
	}
	p.ID, p.CreatedOn, p.ModifiedOn = old.ID, old.CreatedOn, s.now()
	if err := s.checkPool(&p); err != nil {
		return nil, err
	}
	s.stampDisabled(&p, &old)
	s.state.Pools[n] = p
	return p, nil
}

// stampDisabled notes since when the pool and its endpoints are disabled; sessions drain from then on.
func (s *Server) stampDisabled(p, old *Pool) {
	now := s.now()
	stamp := func(enabled bool, before *time.Time) *time.Time {
		switch {
		case enabled:
			return nil
		case before != nil:
			return before
		}
		return &now
	}
	before := map[string]*time.Time{}
	var pool *time.Time
	if old != nil {
		pool = old.DisabledAt
		for _, o := range old.Origins {
			before[o.Address+" "+fmt.Sprint(o.Port)] = o.DisabledAt
		}
	}
	p.DisabledAt = stamp(p.Enabled, pool)
	for n := range p.Origins {
		o := &p.Origins[n]
		o.DisabledAt = stamp(o.Enabled, before[o.Address+" "+fmt.Sprint(o.Port)])
	}
}

func (s *Server) deletePool(c *call) (any, error) {
	n, err := s.findPool(c)
	if err != nil {
		return nil, err
	}
	id := s.state.Pools[n].ID
	if slices.ContainsFunc(s.state.LoadBalancers, func(b LoadBalancer) bool { return b.uses(id) }) {
		return nil, referenced()
	}
	s.state.Pools = slices.Delete(slices.Clone(s.state.Pools), n, n+1)
	return deleted{id}, nil
}
