package cloudflare

import (
	"context"

	"github.com/cloudflare/cloudflare-go/v7/load_balancers"
)

// ProveRemoval finds out whether the client's token may do what SetRemoved and SuspendDrain do, by changes that change nothing. The
// load balancer is left out when balancer is empty. The error of a token that may not names the permission that it lacks.
func (c *Client) ProveRemoval(ctx context.Context, account, pool, zone, balancer string) error {
	have, err := c.Pool(ctx, account, pool)
	if err == nil {
		var edit load_balancers.PoolEditParams
		edit.AccountID.Value = account
		_, err = call(ctx, "change pool "+have.Name, func(ctx context.Context) (*load_balancers.Pool, error) {
			return c.pools.Edit(ctx, pool, edit, body(map[string]any{"name": have.Name}))
		})
	}
	if err != nil || balancer == "" {
		return lacking(err, PermissionPools(true))
	}
	lb, err := c.LoadBalancer(ctx, zone, balancer)
	if err == nil {
		var edit load_balancers.LoadBalancerEditParams
		edit.ZoneID.Value, edit.ZoneID.Present = zone, true
		_, err = call(ctx, "change load balancer "+lb.Name, func(ctx context.Context) (*load_balancers.LoadBalancer, error) {
			return c.balancers.Edit(ctx, balancer, edit, body(map[string]any{"proxied": lb.Proxied}))
		})
	}
	return lacking(err, PermissionBalancers(true))
}

// lacking names the permission that is needed for everything, of which a request that only reads needs less.
func lacking(err error, p Permission) error {
	if denied, ok := asError(err); ok && denied.Permission.Name != "" {
		denied.Permission = p
	}
	return err
}
