package cloudflare

import (
	"context"
	"slices"

	"github.com/cloudflare/cloudflare-go/v7/load_balancers"
)

// Pool is a group of endpoints that one load balancer or several send traffic to.
type Pool struct {
	ID string
	// Name is unique in the account: letters, digits, hyphens and underscores.
	Name string
	// Description is without the record of what the nodes have removed, which is in Origins.
	Description string
	Enabled     bool
	// Monitor is the id of the monitor of the pool's endpoints.
	Monitor string
	// MinimumOrigins is how many endpoints must be well for the pool to get traffic.
	MinimumOrigins int
	// Latitude and Longitude say where the pool is, nil when that is not given.
	Latitude, Longitude *float64
	// CheckRegions are the regions from which monitors ask, the vendor's default when empty.
	CheckRegions []string
	// OriginSteering is how an endpoint of the pool is chosen.
	OriginSteering OriginSteering
	Origins        []Origin
}

// Origin is an endpoint, by the vendor's older name for it.
type Origin struct {
	// Name is unique in its pool.
	Name string
	// Address is an IP address or a host name that Cloudflare does not proxy.
	Address string
	// Port is where connections go, 0 for that of the protocol.
	Port int
	// Enabled tells whether the operator wants the endpoint to get traffic.
	Enabled bool
	// Removed tells that the nodes have taken the endpoint out of service, and will enable it again when its node is well. It means
	// something only while Enabled is true: an endpoint that the operator disables is not the nodes' any more.
	Removed bool
	// Weight is the endpoint's share of the pool's traffic, from 0 to 1 in steps of 0.01.
	Weight float64
	// Host replaces the Host header, empty for that of the request.
	Host string
}

// OriginSteering is how an endpoint of a pool is chosen.
type OriginSteering string

// The ways to choose an endpoint of a pool.
const (
	OriginRandom           OriginSteering = "random"
	OriginHash             OriginSteering = "hash"
	OriginLeastOutstanding OriginSteering = "least_outstanding_requests"
	OriginLeastConnections OriginSteering = "least_connections"
)

// OriginSteerings lists every way to choose an endpoint of a pool.
func OriginSteerings() []OriginSteering {
	return []OriginSteering{OriginRandom, OriginHash, OriginLeastOutstanding, OriginLeastConnections}
}

// CheckRegions lists the regions from which monitors can ask, and for which pools can be chosen.
func CheckRegions() []string {
	return []string{"WNAM", "ENAM", "WEU", "EEU", "NSAM", "SSAM", "OC", "ME", "NAF", "SAF", "SAS", "SEAS", "NEAS"}
}

// Pools returns the account's pools.
func (c *Client) Pools(ctx context.Context, account string) ([]Pool, error) {
	list, err := call(ctx, "list pools", func(ctx context.Context) ([]load_balancers.Pool, error) {
		var p load_balancers.PoolListParams
		p.AccountID.Value = account
		page, err := c.pools.List(ctx, p) // the API gives all of them on one page
		if err != nil {
			return nil, err
		}
		return page.Result, nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]Pool, len(list))
	for i := range list {
		out[i] = poolFromAPI(&list[i])
	}
	return out, nil
}

// FindPool returns the pool with a name, and whether there is one.
func (c *Client) FindPool(ctx context.Context, account, name string) (Pool, bool, error) {
	list, err := c.Pools(ctx, account)
	for _, p := range list {
		if p.Name == name {
			return p, true, err
		}
	}
	return Pool{}, false, err
}

// Pool returns the pool with id, ErrNotFound when it does not exist.
func (c *Client) Pool(ctx context.Context, account, id string) (Pool, error) {
	var p load_balancers.PoolGetParams
	p.AccountID.Value = account
	pool, err := call(ctx, "read pool "+id, func(ctx context.Context) (*load_balancers.Pool, error) { return c.pools.Get(ctx, id, p) })
	if err != nil {
		return Pool{}, err
	}
	return poolFromAPI(pool), nil
}

// CreatePool creates a pool, or returns the one with the same name that is there already: existed tells that this call has
// not made it.
func (c *Client) CreatePool(ctx context.Context, account string, pool Pool) (made Pool, existed bool, err error) {
	var p load_balancers.PoolNewParams
	p.AccountID.Value = account
	return once(ctx, c, func(ctx context.Context) (Pool, bool, error) {
		return c.FindPool(ctx, account, pool.Name)
	}, func(ctx context.Context) (Pool, error) {
		made, err := call(ctx, "create pool "+pool.Name, func(ctx context.Context) (*load_balancers.Pool, error) {
			return c.pools.New(ctx, p, body(pool.wire()))
		})
		if err != nil {
			return Pool{}, err
		}
		return poolFromAPI(made), nil
	})
}

// UpdatePool replaces everything of the pool with pool.ID.
func (c *Client) UpdatePool(ctx context.Context, account string, pool Pool) error {
	var p load_balancers.PoolUpdateParams
	p.AccountID.Value = account
	_, err := call(ctx, "update pool "+pool.Name, func(ctx context.Context) (*load_balancers.Pool, error) {
		return c.pools.Update(ctx, pool.ID, p, body(pool.wire()))
	})
	return err
}

// DeletePool deletes the pool with id. That it does not exist is no error; ErrInUse while a load balancer has it.
func (c *Client) DeletePool(ctx context.Context, account, id string) error {
	var p load_balancers.PoolDeleteParams
	p.AccountID.Value = account
	return remove(ctx, "delete pool "+id, func(ctx context.Context) (*load_balancers.PoolDeleteResponse, error) {
		return c.pools.Delete(ctx, id, p)
	})
}

// PoolUsers returns the names of the load balancers that refer to a pool, in the order of the API.
func (c *Client) PoolUsers(ctx context.Context, account, id string) ([]string, error) {
	var p load_balancers.PoolReferenceGetParams
	p.AccountID.Value = account
	list, err := call(ctx, "read what refers to pool "+id, func(ctx context.Context) ([]load_balancers.PoolReferenceGetResponse, error) {
		page, err := c.pools.References.Get(ctx, id, p)
		if err != nil {
			return nil, err
		}
		return page.Result, nil
	})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range list {
		if r.ReferenceType == load_balancers.PoolReferenceGetResponseReferenceTypeReferrer {
			out = append(out, r.ResourceName)
		}
	}
	return out, nil
}

// poolWire is a pool as the API takes it.
type poolWire struct {
	Name           string        `json:"name"`
	Description    string        `json:"description"`
	Enabled        bool          `json:"enabled"`
	Monitor        string        `json:"monitor,omitempty"`
	MinimumOrigins int           `json:"minimum_origins"`
	Latitude       *float64      `json:"latitude,omitempty"`
	Longitude      *float64      `json:"longitude,omitempty"`
	CheckRegions   []string      `json:"check_regions,omitempty"`
	OriginSteering *steeringWire `json:"origin_steering,omitempty"`
	Origins        []originWire  `json:"origins"`
}

type steeringWire struct {
	Policy OriginSteering `json:"policy"`
}

type originWire struct {
	Name    string              `json:"name"`
	Address string              `json:"address"`
	Port    int                 `json:"port"`
	Enabled bool                `json:"enabled"`
	Weight  float64             `json:"weight"`
	Header  map[string][]string `json:"header,omitempty"`
}

func (p Pool) wire() poolWire {
	w := poolWire{
		Name: p.Name, Description: p.Description, Enabled: p.Enabled, Monitor: p.Monitor, MinimumOrigins: p.MinimumOrigins,
		Latitude: p.Latitude, Longitude: p.Longitude, CheckRegions: p.CheckRegions, Origins: []originWire{},
	}
	if p.OriginSteering != "" {
		w.OriginSteering = &steeringWire{p.OriginSteering}
	}
	var removed []string
	for _, o := range p.Origins {
		if o.Enabled && o.Removed {
			removed = append(removed, o.Name)
		}
		one := originWire{Name: o.Name, Address: o.Address, Port: o.Port, Enabled: o.Enabled && !o.Removed, Weight: o.Weight}
		if o.Host != "" {
			one.Header = map[string][]string{hostHeader: {o.Host}}
		}
		w.Origins = append(w.Origins, one)
	}
	w.Description = withRemoved(p.Description, removed)
	return w
}

func poolFromAPI(in *load_balancers.Pool) Pool {
	description, removed := splitRemoved(in.Description)
	out := Pool{
		ID: in.ID, Name: in.Name, Description: description, Enabled: in.Enabled, Monitor: in.Monitor,
		MinimumOrigins: int(in.MinimumOrigins), OriginSteering: OriginSteering(in.OriginSteering.Policy),
	}
	// The library makes a zero of a number that is absent or null, but 0 is a place on the map too.
	if !in.JSON.Latitude.IsNull() && !in.JSON.Latitude.IsMissing() && !in.JSON.Longitude.IsNull() && !in.JSON.Longitude.IsMissing() {
		out.Latitude, out.Longitude = &in.Latitude, &in.Longitude
	}
	for _, r := range in.CheckRegions {
		out.CheckRegions = append(out.CheckRegions, string(r))
	}
	for _, o := range in.Origins {
		one := Origin{Name: o.Name, Address: o.Address, Port: int(o.Port), Enabled: o.Enabled, Weight: o.Weight}
		if !o.Enabled && slices.Contains(removed, o.Name) {
			one.Enabled, one.Removed = true, true
		}
		if len(o.Header.Host) > 0 {
			one.Host = o.Header.Host[0]
		}
		out.Origins = append(out.Origins, one)
	}
	return out
}
