package linode

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxBody bounds what is read of one answer, in bytes.
const maxBody = 32 << 20

// outcome is how the last try of one call ended. linodego turns every failure into text; the transport records it here
// before that, so that errors can be typed.
type outcome struct{ failure *Error }

type outcomeKey struct{}

// transport keeps the rate limits, bounds every try in time and repeats what may be repeated.
type transport struct {
	base   http.RoundTripper
	limits *limits
	// try bounds one try, answer included; pause is the first pause between two tries, doubled each time.
	try, pause time.Duration
	tries      int

	clock clock
}

// longestPause is the longest pause between two tries unless the API asks for a longer one.
const longestPause = 30 * time.Second

// RoundTrip implements http.RoundTripper. The answer's body is in memory when it returns. While an instance is busy it is
// tried until the caller's context ends, since what the instance does ends by itself.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	body, err := drain(r)
	if err != nil {
		return nil, err
	}
	out, _ := ctx.Value(outcomeKey{}).(*outcome)
	if out == nil {
		out = &outcome{}
	}
	pause := t.pause
	for n := 1; ; n++ {
		out.failure = nil
		if err := t.limits.wait(ctx, r); err != nil {
			out.failure = &Error{Kind: ErrRateLimited, Err: err}
			return nil, err
		}
		resp, err := t.once(ctx, r, body)
		out.failure = failureOf(resp, err)
		if ctx.Err() != nil || !repeatable(r, out.failure) || n >= t.tries && !errors.Is(out.failure.Kind, ErrBusy) {
			return resp, err
		}
		wait := max(pause, out.failure.RetryAfter)
		pause = min(2*pause, longestPause)
		if sleep(ctx, wait) != nil {
			return resp, err // what the API said is worth more than "deadline exceeded"
		}
	}
}

func (t *transport) once(ctx context.Context, r *http.Request, body []byte) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, t.try)
	defer cancel()
	req := r.Clone(ctx)
	if body != nil {
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	t.clock.compare(resp.Header.Get("Date"), time.Now())
	return resp, nil
}

func drain(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	defer func() { _ = r.Body.Close() }()
	return io.ReadAll(r.Body)
}

// repeatable tells whether a failed request may be sent again as it is. After 429, 409 and "busy" nothing was done; what
// failed on the API's side may have been done, so only a method that can be repeated without harm is. Creating an instance
// is repeated by its caller, who looks first whether somebody else has made it.
func repeatable(r *http.Request, f *Error) bool {
	switch {
	case f == nil:
		return false
	case errors.Is(f.Kind, ErrRateLimited), errors.Is(f.Kind, ErrBusy):
		return true
	case errors.Is(f.Kind, ErrConflict):
		return !creates(r)
	case r.Method == http.MethodPost:
		return false
	default:
		return f.Status == http.StatusRequestTimeout || f.ambiguous()
	}
}

func failureOf(resp *http.Response, err error) *Error {
	if err != nil {
		return &Error{Kind: ErrUnreachable, Err: err}
	}
	if resp.StatusCode < http.StatusBadRequest {
		return nil
	}
	f := &Error{Status: resp.StatusCode}
	var said struct {
		Errors []Reason `json:"errors"`
	}
	if answer, err := io.ReadAll(resp.Body); err == nil {
		resp.Body = io.NopCloser(bytes.NewReader(answer))
		if json.Unmarshal(answer, &said) == nil {
			f.Reasons = said.Errors
		}
	}
	f.Kind = kindOf(f.Status, f.Reasons)
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		f.RetryAfter = time.Duration(s) * time.Second
	}
	if errors.Is(f.Kind, ErrUnauthorized) {
		f.NeededScopes = resp.Header.Get("X-Accepted-Oauth-Scopes")
		f.TokenScopes = resp.Header.Get("X-Oauth-Scopes")
	}
	return f
}
