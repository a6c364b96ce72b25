package cloudflare

import (
	"context"
	"maps"

	"github.com/cloudflare/cloudflare-go/v7/load_balancers"
)

// Steering is how a load balancer chooses a pool.
type Steering string

// The ways to choose a pool.
const (
	SteeringOff              Steering = "off"
	SteeringGeo              Steering = "geo"
	SteeringRandom           Steering = "random"
	SteeringLatency          Steering = "dynamic_latency"
	SteeringProximity        Steering = "proximity"
	SteeringLeastOutstanding Steering = "least_outstanding_requests"
	SteeringLeastConnections Steering = "least_connections"
)

// Steerings lists every way to choose a pool.
func Steerings() []Steering {
	return []Steering{
		SteeringLatency, SteeringProximity, SteeringGeo, SteeringRandom, SteeringLeastOutstanding, SteeringLeastConnections, SteeringOff,
	}
}

// Weighted tells whether the weights of pools count.
func (s Steering) Weighted() bool {
	return s == SteeringRandom || s == SteeringLeastOutstanding || s == SteeringLeastConnections
}

// Affinity is how a load balancer knows a client again.
type Affinity string

// The ways to know a client again.
const (
	AffinityNone     Affinity = "none"
	AffinityCookie   Affinity = "cookie"
	AffinityIPCookie Affinity = "ip_cookie"
	AffinityHeader   Affinity = "header"
)

// Affinities lists every way to know a client again.
func Affinities() []Affinity {
	return []Affinity{AffinityNone, AffinityCookie, AffinityIPCookie, AffinityHeader}
}

// Session is how clients stay on the endpoint that they came to first. Times are in seconds.
type Session struct {
	Affinity Affinity
	// TTL is how long a client stays: since the session began for cookies, since its last request for headers.
	TTL int
	// Drain is how long sessions may go on at an endpoint that is being disabled.
	Drain int
	// DrainSuspended tells that the nodes have suspended the drain while an endpoint is removed, whose sessions must move at once.
	DrainSuspended bool
	// Failover is what becomes of a session whose endpoint fails: "none", "temporary" or "sticky".
	Failover string
	// SameSite and Secure are attributes of the cookie.
	SameSite, Secure string
	// Headers are the names of the headers by which AffinityHeader knows a client.
	Headers    []string
	RequireAll bool
}

// LoadBalancer is a hostname that is served by pools.
type LoadBalancer struct {
	ID string
	// Name is the hostname.
	Name string
	// Description is without the record of a suspended drain, which is in Session.
	Description string
	Enabled     bool
	Proxied     bool
	// TTL is that of the DNS answer in seconds, for one that is not proxied; 0 is the vendor's default.
	TTL int
	// DefaultPools are the ids of the pools in order of preference.
	DefaultPools []string
	// FallbackPool is the id of the pool that gets the traffic when none is well. Its own health does not count.
	FallbackPool string
	Steering     Steering
	// RegionPools are the pools for clients of a region, for SteeringGeo.
	RegionPools map[string][]string
	// PoolWeights are the pools' shares from 0 to 1 in steps of 0.1, for the ways of steering that are Weighted.
	PoolWeights map[string]float64
	// FailoverAcrossPools lets a request that meets a dead endpoint be tried again in another pool.
	FailoverAcrossPools bool
	Session             Session
}

// LoadBalancers returns the zone's load balancers.
func (c *Client) LoadBalancers(ctx context.Context, zone string) ([]LoadBalancer, error) {
	list, err := call(ctx, "list load balancers", func(ctx context.Context) ([]load_balancers.LoadBalancer, error) {
		var p load_balancers.LoadBalancerListParams
		p.ZoneID.Value, p.ZoneID.Present = zone, true
		page, err := c.balancers.List(ctx, p) // the API gives all of them on one page
		if err != nil {
			return nil, err
		}
		return page.Result, nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]LoadBalancer, len(list))
	for i := range list {
		out[i] = balancerFromAPI(&list[i])
	}
	return out, nil
}

// FindLoadBalancer returns the load balancer of a hostname, and whether there is one.
func (c *Client) FindLoadBalancer(ctx context.Context, zone, hostname string) (LoadBalancer, bool, error) {
	list, err := c.LoadBalancers(ctx, zone)
	for _, lb := range list {
		if lb.Name == hostname {
			return lb, true, err
		}
	}
	return LoadBalancer{}, false, err
}

// LoadBalancer returns the load balancer with id, ErrNotFound when it does not exist.
func (c *Client) LoadBalancer(ctx context.Context, zone, id string) (LoadBalancer, error) {
	var p load_balancers.LoadBalancerGetParams
	p.ZoneID.Value, p.ZoneID.Present = zone, true
	lb, err := call(ctx, "read load balancer "+id, func(ctx context.Context) (*load_balancers.LoadBalancer, error) {
		return c.balancers.Get(ctx, id, p)
	})
	if err != nil {
		return LoadBalancer{}, err
	}
	return balancerFromAPI(lb), nil
}

// CreateLoadBalancer creates a load balancer, or returns that of the same hostname which is there already: existed tells that
// this call has not made it.
func (c *Client) CreateLoadBalancer(ctx context.Context, zone string, lb LoadBalancer) (made LoadBalancer, existed bool, err error) {
	var p load_balancers.LoadBalancerNewParams
	p.ZoneID.Value, p.ZoneID.Present = zone, true
	return once(ctx, c, func(ctx context.Context) (LoadBalancer, bool, error) {
		return c.FindLoadBalancer(ctx, zone, lb.Name)
	}, func(ctx context.Context) (LoadBalancer, error) {
		made, err := call(ctx, "create load balancer "+lb.Name, func(ctx context.Context) (*load_balancers.LoadBalancer, error) {
			return c.balancers.New(ctx, p, body(lb.wire()))
		})
		if err != nil {
			return LoadBalancer{}, err
		}
		return balancerFromAPI(made), nil
	})
}

// UpdateLoadBalancer replaces everything of the load balancer with lb.ID.
func (c *Client) UpdateLoadBalancer(ctx context.Context, zone string, lb LoadBalancer) error {
	var p load_balancers.LoadBalancerUpdateParams
	p.ZoneID.Value, p.ZoneID.Present = zone, true
	_, err := call(ctx, "update load balancer "+lb.Name, func(ctx context.Context) (*load_balancers.LoadBalancer, error) {
		return c.balancers.Update(ctx, lb.ID, p, body(lb.wire()))
	})
	return err
}

// DeleteLoadBalancer deletes the load balancer with id. That it does not exist is no error.
func (c *Client) DeleteLoadBalancer(ctx context.Context, zone, id string) error {
	var p load_balancers.LoadBalancerDeleteParams
	p.ZoneID.Value, p.ZoneID.Present = zone, true
	return remove(ctx, "delete load balancer "+id, func(ctx context.Context) (*load_balancers.LoadBalancerDeleteResponse, error) {
		return c.balancers.Delete(ctx, id, p)
	})
}

// balancerWire is a load balancer as the API takes it.
type balancerWire struct {
	Name            string              `json:"name"`
	Description     string              `json:"description"`
	Enabled         bool                `json:"enabled"`
	Proxied         bool                `json:"proxied"`
	TTL             int                 `json:"ttl,omitempty"`
	DefaultPools    []string            `json:"default_pools"`
	FallbackPool    string              `json:"fallback_pool"`
	Steering        Steering            `json:"steering_policy"`
	RegionPools     map[string][]string `json:"region_pools"`
	RandomSteering  *weightsWire        `json:"random_steering,omitempty"`
	AdaptiveRouting adaptiveWire        `json:"adaptive_routing"`
	Affinity        Affinity            `json:"session_affinity"`
	AffinityTTL     int                 `json:"session_affinity_ttl,omitempty"`
	Attributes      *attributesWire     `json:"session_affinity_attributes,omitempty"`
}

type adaptiveWire struct {
	FailoverAcrossPools bool `json:"failover_across_pools"`
}

type weightsWire struct {
	DefaultWeight float64            `json:"default_weight"`
	PoolWeights   map[string]float64 `json:"pool_weights"`
}

type attributesWire struct {
	Drain      int      `json:"drain_duration"`
	Failover   string   `json:"zero_downtime_failover,omitempty"`
	SameSite   string   `json:"samesite,omitempty"`
	Secure     string   `json:"secure,omitempty"`
	Headers    []string `json:"headers,omitempty"`
	RequireAll bool     `json:"require_all_headers,omitempty"`
}

func (lb LoadBalancer) wire() balancerWire {
	w := balancerWire{
		Name: lb.Name, Description: lb.Description, Enabled: lb.Enabled, Proxied: lb.Proxied, TTL: lb.TTL,
		DefaultPools: lb.DefaultPools, FallbackPool: lb.FallbackPool, Steering: lb.Steering, RegionPools: lb.RegionPools,
		AdaptiveRouting: adaptiveWire{lb.FailoverAcrossPools}, Affinity: lb.Session.Affinity,
	}
	if w.RegionPools == nil {
		w.RegionPools = map[string][]string{}
	}
	if len(lb.PoolWeights) > 0 {
		w.RandomSteering = &weightsWire{DefaultWeight: 1, PoolWeights: lb.PoolWeights}
	}
	if s := lb.Session; s.Affinity != AffinityNone {
		w.AffinityTTL = s.TTL
		w.Attributes = &attributesWire{
			Drain: s.Drain, Failover: s.Failover, SameSite: s.SameSite, Secure: s.Secure, Headers: s.Headers, RequireAll: s.RequireAll,
		}
		if s.DrainSuspended {
			w.Attributes.Drain, w.Description = 0, withDrain(lb.Description, s.Drain)
		}
	}
	return w
}

func balancerFromAPI(in *load_balancers.LoadBalancer) LoadBalancer {
	description, drain, suspended := splitDrain(in.Description)
	out := LoadBalancer{
		ID: in.ID, Name: in.Name, Description: description, Enabled: in.Enabled, Proxied: in.Proxied, TTL: int(in.TTL),
		DefaultPools: in.DefaultPools, FallbackPool: in.FallbackPool, Steering: Steering(in.SteeringPolicy),
		RegionPools: maps.Clone(in.RegionPools), PoolWeights: maps.Clone(in.RandomSteering.PoolWeights),
		FailoverAcrossPools: in.AdaptiveRouting.FailoverAcrossPools, Session: Session{Affinity: Affinity(in.SessionAffinity)},
	}
	if out.Session.Affinity == "" {
		out.Session.Affinity = AffinityNone
	}
	if out.Session.Affinity != AffinityNone {
		a := in.SessionAffinityAttributes
		out.Session = Session{
			Affinity: out.Session.Affinity, TTL: int(in.SessionAffinityTTL), Drain: int(a.DrainDuration),
			Failover: string(a.ZeroDowntimeFailover), SameSite: string(a.Samesite), Secure: string(a.Secure),
			Headers: a.Headers, RequireAll: a.RequireAllHeaders,
		}
		// A drain that somebody has set again since is not suspended any more.
		if suspended && out.Session.Drain == 0 {
			out.Session.Drain, out.Session.DrainSuspended = drain, true
		}
	}
	return out
}
