// Package cloudflare lets an edge.Actor act at Cloudflare.
package cloudflare

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/edge"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// try bounds one try of a request: the whole removal is to take three seconds, and a try that hangs is better repeated.
const try = 3 * time.Second

// vendor is one load balancer at Cloudflare.
type vendor struct {
	client  *cloudflare.Client
	removal spec.QuickRemoval
}

// Open is an edge.Open. Each vendor keeps the rate limit by itself; an actor asks far less often than that allows.
func Open(removal spec.QuickRemoval, token string) (edge.Vendor, error) {
	client, err := cloudflare.New(cloudflare.Config{
		Token: token, URL: removal.BaseURL, UserAgent: "atolld", Timeout: try, Pause: 200 * time.Millisecond,
		// A connection pool of its own: a connection that died with the network is not another load balancer's.
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: try},
	})
	if err != nil {
		return nil, err
	}
	return &vendor{client: client, removal: removal}, nil
}

// Packages returns what has to be installed to reach the API: the authorities by which its certificate is checked.
func Packages() []host.Package {
	return []host.Package{{Name: "ca-certificates", Binary: "update-ca-certificates"}}
}

// Pools implements edge.Vendor.
func (v *vendor) Pools(ctx context.Context, ids []string) (map[string]edge.Pool, error) {
	list, err := v.client.Pools(ctx, v.removal.AccountID)
	if err != nil {
		return nil, v.failure(ctx, err)
	}
	out := map[string]edge.Pool{}
	for _, p := range list {
		if slices.Contains(ids, p.ID) {
			out[p.ID] = poolOf(p)
		}
	}
	return out, nil
}

// SetRemoved implements edge.Vendor.
func (v *vendor) SetRemoved(ctx context.Context, pool string, removed map[string]bool) (edge.Pool, error) {
	p, err := v.client.SetRemoved(ctx, v.removal.AccountID, pool, removed)
	if err != nil {
		return edge.Pool{}, v.failure(ctx, err)
	}
	return poolOf(p), nil
}

// SuspendDrain implements edge.Vendor.
func (v *vendor) SuspendDrain(ctx context.Context, suspend bool) error {
	if v.removal.BalancerID == "" {
		return nil
	}
	if _, err := v.client.SuspendDrain(ctx, v.removal.ZoneID, v.removal.BalancerID, suspend); err != nil {
		return v.failure(ctx, err)
	}
	return nil
}

func poolOf(p cloudflare.Pool) edge.Pool {
	out := edge.Pool{Enabled: p.Enabled}
	for _, o := range p.Origins {
		out.Endpoints = append(out.Endpoints, edge.Endpoint{Name: o.Name, Enabled: o.Enabled, Removed: o.Removed})
	}
	return out
}

// failure types an error for the actor. What Cloudflare says of a token that lacks a permission it says of a bad one too, so it is
// asked about the token itself.
func (v *vendor) failure(ctx context.Context, err error) error {
	err = v.client.Explain(ctx, v.removal.AccountID, err)
	f := &edge.Failure{Reason: edge.ReasonUnreachable, Err: err}
	var said *cloudflare.Error
	if errors.As(err, &said) {
		f.After = said.RetryAfter
	}
	for _, known := range []struct {
		kind   error
		reason string
	}{
		{cloudflare.ErrRateLimited, edge.ReasonRateLimited},
		{cloudflare.ErrUnauthorized, edge.ReasonTokenRefused},
		{cloudflare.ErrForbidden, edge.ReasonPermissionMissing},
		{cloudflare.ErrNotFound, edge.ReasonMissing},
		{cloudflare.ErrInvalid, edge.ReasonRefused},
	} {
		if errors.Is(err, known.kind) {
			f.Reason = known.reason
		}
	}
	return f
}
