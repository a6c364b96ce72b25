package cloudflare

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/cloudflare/cloudflare-go/v7/load_balancers"
)

// SetRemoved takes endpoints of a pool out of service, or gives them back, by their names, and returns the pool as it is then. It
// changes nothing else of the pool, also nothing that this package does not know of. Endpoints that the pool does not have, that the
// operator has disabled, or that are as wanted already are left alone; when that are all of them nothing is sent but the question. The
// vendor has no way to change a pool only if nobody else has: what another one changes in the moment between may be undone, so
// look again later.
func (c *Client) SetRemoved(ctx context.Context, account, id string, removed map[string]bool) (Pool, error) {
	var get load_balancers.PoolGetParams
	get.AccountID.Value = account
	have, err := call(ctx, "read pool "+id, func(ctx context.Context) (*load_balancers.Pool, error) { return c.pools.Get(ctx, id, get) })
	if err != nil {
		return Pool{}, err
	}
	pool := poolFromAPI(have)
	before := slices.Clone(pool.Origins)
	for n := range pool.Origins {
		o := &pool.Origins[n]
		if wanted, named := removed[o.Name]; named && o.Enabled {
			o.Removed = wanted
		}
	}
	if slices.Equal(before, pool.Origins) {
		return pool, nil
	}
	op := "take endpoints of pool " + pool.Name + " out of service"
	change, err := removalBody(have.JSON.RawJSON(), pool)
	if err != nil {
		return Pool{}, &Error{Op: op, Kind: ErrUnreachable, Err: err}
	}
	var edit load_balancers.PoolEditParams
	edit.AccountID.Value = account
	made, err := call(ctx, op, func(ctx context.Context) (*load_balancers.Pool, error) {
		return c.pools.Edit(ctx, id, edit, body(change))
	})
	if err != nil {
		return Pool{}, err
	}
	return poolFromAPI(made), nil
}

// removalBody is the change of a pool that only enables and disables endpoints. The vendor replaces the list as a whole.
func removalBody(raw string, pool Pool) (map[string]any, error) {
	var said struct {
		Origins []map[string]json.RawMessage `json:"origins"`
	}
	if err := json.Unmarshal([]byte(raw), &said); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	wire := pool.wire()
	if len(said.Origins) != len(wire.Origins) {
		return nil, fmt.Errorf("read the answer: it has %d endpoints and then %d", len(wire.Origins), len(said.Origins))
	}
	for n, o := range said.Origins {
		o["enabled"] = json.RawMessage(fmt.Sprint(wire.Origins[n].Enabled))
		delete(o, "disabled_at") // it is the vendor's
	}
	return map[string]any{"origins": said.Origins, "description": wire.Description}, nil
}

// SuspendDrain makes sessions leave disabled endpoints of a load balancer at once, or lets them drain again as the operator wants
// it. It changes nothing else, and sends nothing but the question when the load balancer is as wanted or has no sessions. While an
// endpoint is disabled the vendor does not check whether it is well, and a session would be sent to it until the drain is over.
func (c *Client) SuspendDrain(ctx context.Context, zone, id string, suspend bool) (changed bool, err error) {
	var get load_balancers.LoadBalancerGetParams
	get.ZoneID.Value, get.ZoneID.Present = zone, true
	have, err := call(ctx, "read load balancer "+id, func(ctx context.Context) (*load_balancers.LoadBalancer, error) {
		return c.balancers.Get(ctx, id, get)
	})
	if err != nil {
		return false, err
	}
	lb := balancerFromAPI(have)
	if lb.Session.Affinity == AffinityNone || lb.Session.DrainSuspended == suspend || suspend && lb.Session.Drain == 0 {
		return false, nil
	}
	op := "suspend the drain of load balancer " + lb.Name
	if !suspend {
		op = "let sessions of load balancer " + lb.Name + " drain again"
	}
	var said struct {
		Attributes map[string]json.RawMessage `json:"session_affinity_attributes"`
	}
	if err := json.Unmarshal([]byte(have.JSON.RawJSON()), &said); err != nil {
		return false, &Error{Op: op, Kind: ErrUnreachable, Err: fmt.Errorf("read the answer: %w", err)}
	}
	lb.Session.DrainSuspended = suspend
	wire := lb.wire()
	attributes := maps.Clone(said.Attributes)
	if attributes == nil {
		attributes = map[string]json.RawMessage{}
	}
	attributes["drain_duration"] = json.RawMessage(fmt.Sprint(wire.Attributes.Drain))
	var edit load_balancers.LoadBalancerEditParams
	edit.ZoneID.Value, edit.ZoneID.Present = zone, true
	_, err = call(ctx, op, func(ctx context.Context) (*load_balancers.LoadBalancer, error) {
		return c.balancers.Edit(ctx, id, edit, body(map[string]any{"session_affinity_attributes": attributes, "description": wire.Description}))
	})
	return err == nil, err
}
