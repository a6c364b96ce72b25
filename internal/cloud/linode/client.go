package linode

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/rest"
)

// Config is how to reach the API.
type Config struct {
	Token string
	// URL is the API's base without the version, empty for Linode's own.
	URL string
	// APIVersion is "v4" (also when empty) or "v4beta".
	APIVersion string
	UserAgent  string

	// The rest has defaults that suit the real API; tests shorten them.

	// Timeout bounds one try of one request. Default 30 s.
	Timeout time.Duration
	// Pause is the first pause before a repeated request, doubled each time. Default 1 s.
	Pause time.Duration
	// Poll is the pause between two looks at an instance that is being made. Default 3 s.
	Poll time.Duration
	// Beat is the pause between two signs of life of an upload. Default 15 s.
	Beat time.Duration
	// Settle is how long a change of an image's tags must last, and up to twice as long, before it counts. It must be longer
	// than another run takes between its look at the tags and its change. Default 2 s.
	Settle time.Duration
	// Stall is how long an upload may not move at all. Default 60 s.
	Stall time.Duration
	// Transport sends the requests. Default http.DefaultTransport.
	Transport http.RoundTripper
}

// tries is how often one request is sent at most.
const tries = 5

// Client is a connection to Linode's API. Safe for concurrent use.
type Client struct {
	api   linodego.Client
	poll  time.Duration
	clock *clock
	// base sends what does not go to the API: the content of images. The rest are the pauses of doing so.
	base                       http.RoundTripper
	pause, beat, settle, stall time.Duration
}

// New returns a client for cfg. It sends nothing yet.
func New(cfg Config) (*Client, error) {
	if cfg.URL != "" {
		u, err := url.Parse(cfg.URL)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			return nil, fmt.Errorf("%q is not the address of an API, write https://host", cfg.URL)
		}
	}
	base := cfg.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	measured, pause := &clock{}, orDefault(cfg.Pause, time.Second)
	t := &rest.Transport{
		Base: base, Window: newLimits().window, Judge: measured.judge, Tries: tries, Try: orDefault(cfg.Timeout, 30*time.Second), Pause: pause,
	}
	api := linodego.NewClient(&http.Client{Transport: t})
	api.SetToken(cfg.Token)
	if cfg.URL != "" {
		api.SetBaseURL(cfg.URL)
	}
	if cfg.APIVersion != "" {
		api.SetAPIVersion(cfg.APIVersion)
	}
	if cfg.UserAgent != "" {
		api.SetUserAgent(cfg.UserAgent + " " + linodego.DefaultUserAgent)
	}
	// linodego would repeat 1000 times and log bodies that carry tickets; its cache would hide changes for 15 minutes.
	api.SetRetryCount(0)
	api.SetDebug(false)
	api.UseCache(false)
	return &Client{
		api: api, poll: orDefault(cfg.Poll, 3*time.Second), clock: measured,
		base: base, pause: pause, beat: orDefault(cfg.Beat, 15*time.Second), settle: orDefault(cfg.Settle, 2*time.Second),
		stall: orDefault(cfg.Stall, time.Minute),
	}, nil
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// call runs one linodego call and types its error.
func call[T any](ctx context.Context, op string, f func(context.Context) (T, error)) (T, error) {
	watched, last := rest.Watch(ctx)
	v, err := f(watched)
	if err == nil {
		return v, nil
	}
	var zero T
	if failure, ok := asError(last()); ok {
		named := *failure
		named.Op = op
		return zero, &named
	}
	// The answer came and was a success, but linodego could not read it: the request has been carried out.
	return zero, &Error{Op: op, Kind: ErrUnreachable, Err: fmt.Errorf("read answer: %w", err)}
}

// asError returns err as this package's error.
func asError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}
