package cloudflare

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/cloudflare/cloudflare-go/v7/accounts"
	"github.com/cloudflare/cloudflare-go/v7/dns"
	"github.com/cloudflare/cloudflare-go/v7/load_balancers"
	"github.com/cloudflare/cloudflare-go/v7/option"
	"github.com/cloudflare/cloudflare-go/v7/origin_ca_certificates"
	"github.com/cloudflare/cloudflare-go/v7/user"
	"github.com/cloudflare/cloudflare-go/v7/zones"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/rest"
)

// DefaultURL is where the vendor's API is.
const DefaultURL = "https://api.cloudflare.com/client/v4"

// The vendor allows a token 1,200 requests in five minutes and then refuses everything for five.
const (
	requests = 1200
	period   = 5 * time.Minute
)

// Config is how to reach the API.
type Config struct {
	// Token is an API token, not the account-wide API key.
	Token string
	// URL is the API's base with its version, DefaultURL when empty.
	URL       string
	UserAgent string

	// The rest has defaults that suit the real API; tests shorten them.

	// Timeout bounds one try of one request. Default 30 s.
	Timeout time.Duration
	// Pause is the first pause before a repeated request, doubled each time. Default 1 s.
	Pause time.Duration
	// Transport sends the requests. Default http.DefaultTransport.
	Transport http.RoundTripper
}

// tries is how often one request is sent at most.
const tries = 5

// Client is a connection to the API. Safe for concurrent use.
type Client struct {
	zones     *zones.ZoneService
	records   *dns.RecordService
	monitors  *load_balancers.MonitorService
	pools     *load_balancers.PoolService
	balancers *load_balancers.LoadBalancerService
	tokens    *user.TokenService
	owned     *accounts.TokenService

	certificates *origin_ca_certificates.OriginCACertificateService

	// http, base and token are for the calls that the library does not have.
	http        *http.Client
	base, token string

	pause time.Duration
	// found are the zones that were found, by name; what is kept of them does not change during a run.
	found sync.Map
}

// New returns a client for cfg. It sends nothing yet.
func New(cfg Config) (*Client, error) {
	base := cfg.URL
	if base == "" {
		base = DefaultURL
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, fmt.Errorf("%q is not the address of an API, write https://host/client/v4", cfg.URL)
	}
	window := rest.NewWindow(requests, period)
	pause := orDefault(cfg.Pause, time.Second)
	transport := &rest.Transport{
		Base: cfg.Transport, Window: func(*http.Request) *rest.Window { return window }, Judge: judge,
		Try: orDefault(cfg.Timeout, 30*time.Second), Pause: pause, Tries: tries,
	}
	client := &http.Client{Transport: transport}
	options := []option.RequestOption{
		option.WithBaseURL(base), option.WithAPIToken(cfg.Token), option.WithHTTPClient(client),
		// The library would repeat everything, creates too.
		option.WithMaxRetries(0),
	}
	if cfg.UserAgent != "" {
		options = append(options, option.WithHeader("User-Agent", cfg.UserAgent))
	}
	return &Client{
		zones: zones.NewZoneService(options...), records: dns.NewRecordService(options...),
		monitors: load_balancers.NewMonitorService(options...), pools: load_balancers.NewPoolService(options...),
		balancers: load_balancers.NewLoadBalancerService(options...), tokens: user.NewTokenService(options...),
		owned:        accounts.NewTokenService(options...),
		certificates: origin_ca_certificates.NewOriginCACertificateService(options...),
		http:         client, base: strings.TrimSuffix(base, "/"), token: cfg.Token, pause: pause,
	}, nil
}

// URL returns the API's base with its version.
func (c *Client) URL() string { return c.base }

func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// call runs one call of the library and types its error.
func call[T any](ctx context.Context, op string, f func(context.Context) (T, error)) (T, error) {
	watched, failure := rest.Watch(ctx)
	v, err := f(watched)
	if err == nil && failure() == nil {
		return v, nil
	}
	var zero T
	if known, ok := asError(failure()); ok {
		named := *known
		named.Op = op
		return zero, &named
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	// The answer came and was a success, but the library could not read it: the request has been carried out.
	return zero, &Error{Op: op, Kind: ErrUnreachable, Err: fmt.Errorf("read answer: %w", err)}
}

// remove runs one call that deletes something. That it does not exist is no error.
func remove[T any](ctx context.Context, op string, f func(context.Context) (T, error)) error {
	_, err := call(ctx, op, f)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// once makes something exactly once: it is looked for first, and again whenever it is not known whether it was made. existed
// tells that this call has not made it: an earlier run did, or another one at the same time.
func once[T any](
	ctx context.Context, c *Client, find func(context.Context) (T, bool, error), create func(context.Context) (T, error),
) (v T, existed bool, err error) {
	asked := false
	pause := c.pause
	for n := 1; ; n++ {
		found, ok, err := find(ctx)
		if err != nil || ok {
			return found, ok && !asked, err
		}
		made, err := create(ctx)
		if err == nil {
			return made, false, nil
		}
		failure, _ := asError(err)
		if failure == nil || !failure.ambiguous() && !errors.Is(failure.Kind, ErrExists) {
			return made, false, err
		}
		asked = asked || failure.ambiguous()
		// The answer was lost, or another run took the name between the look and the request: look again.
		if found, ok, lookErr := find(ctx); lookErr == nil && ok {
			return found, !asked, nil
		}
		if !failure.ambiguous() || n == tries || rest.Sleep(ctx, pause) != nil {
			return made, false, err
		}
		pause *= 2
	}
}

// asError returns err as this package's error.
func asError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// perPage is how many things one page of a list holds, and maxPages how many are read, so that a list that never ends does
// not either.
const (
	perPage  = 100
	maxPages = 100
)

// pages walks a list. The library's own walk drops the caller's context after the first page.
func pages[T any](ctx context.Context, op string, page func(ctx context.Context, n float64) ([]T, error)) ([]T, error) {
	return pagesOf(ctx, op, perPage, page)
}

// pagesOf is pages for a list of which one page holds another number of things.
func pagesOf[T any](ctx context.Context, op string, size int, page func(ctx context.Context, n float64) ([]T, error)) ([]T, error) {
	var out []T
	for n := 1; n <= maxPages; n++ {
		some, err := call(ctx, op, func(ctx context.Context) ([]T, error) { return page(ctx, float64(n)) })
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
		if len(some) < size {
			return out, nil
		}
	}
	return nil, &Error{Op: op, Kind: ErrInvalid, Err: fmt.Errorf("the list has more than %d pages", maxPages)}
}
