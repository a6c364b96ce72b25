package rest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxBody bounds what is read of one answer, in bytes.
const maxBody = 32 << 20

// longestPause is the longest pause between two tries unless the API asks for a longer one.
const longestPause = 30 * time.Second

// Verdict is what a client makes of one try.
type Verdict struct {
	// Err is the client's own error, nil for a success.
	Err error
	// Again tells whether the same request may be sent again.
	Again bool
	// After is how long the API asked to wait, 0 when it did not say.
	After time.Duration
	// Everything tells that the API refuses every request for that long, not this one alone.
	Everything bool
	// Passing tells that what is in the way ends by itself: the request is tried until the caller's context ends.
	Passing bool
}

// readTry bounds one try of a request that only reads: it answers soon or not at all, and is harmless to repeat.
const readTry = 10 * time.Second

// Transport is an http.RoundTripper that keeps the rate limits, bounds every try in time and repeats what may be repeated.
// All fields but Base must be set. Safe for concurrent use.
type Transport struct {
	// Base sends the requests. Default http.DefaultTransport.
	Base http.RoundTripper
	// Window returns the rate limit that a request counts against.
	Window func(*http.Request) *Window
	// Judge says what to make of a try: of an answer with its whole body, or of the error in its place. An error that is a
	// *WaitError means that nothing was sent.
	Judge func(r *http.Request, resp *http.Response, body []byte, err error) Verdict
	// Try bounds one try, answer included; Pause is the first pause between two tries, doubled each time.
	Try, Pause time.Duration
	// Tries is how often one request is sent at most, unless a verdict says Passing.
	Tries int
}

// RoundTrip implements http.RoundTripper. The answer's body is in memory when it returns.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	body, err := drain(r)
	if err != nil {
		return nil, err
	}
	out, _ := ctx.Value(outcomeKey{}).(*outcome)
	if out == nil {
		out = &outcome{}
	}
	window := t.Window(r)
	pause := t.Pause
	for n := 1; ; n++ {
		if err := window.Wait(ctx); err != nil {
			out.failure = t.Judge(r, nil, nil, err).Err
			return nil, err
		}
		resp, answer, err := t.once(ctx, r, body)
		v := t.Judge(r, resp, answer, err)
		out.failure = v.Err
		if v.Err != nil && v.Everything {
			window.Hold(time.Now().Add(v.After))
		}
		if v.Err == nil || ctx.Err() != nil || !v.Again || n >= t.Tries && !v.Passing {
			return resp, err
		}
		wait := max(pause, v.After)
		pause = min(2*pause, longestPause)
		if Sleep(ctx, wait) != nil {
			return resp, err // what the API said is worth more than "deadline exceeded"
		}
	}
}

func (t *Transport) once(ctx context.Context, r *http.Request, body []byte) (*http.Response, []byte, error) {
	try := t.Try
	if r.Method == http.MethodGet {
		try = min(try, readTry)
	}
	ctx, cancel := context.WithTimeout(ctx, try)
	defer cancel()
	req := r.Clone(ctx)
	if body != nil {
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	resp, err := base.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, nil, fmt.Errorf("read answer: %w", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	return resp, answer, nil
}

func drain(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	defer func() { _ = r.Body.Close() }()
	return io.ReadAll(r.Body)
}

// outcome is how the last try of one call ended.
type outcome struct{ failure error }

type outcomeKey struct{}

// Watch returns a context for one call of a client's library, and a function that returns what Judge made of the call's last
// try: nil when it was a success or nothing was tried.
func Watch(ctx context.Context) (context.Context, func() error) {
	out := &outcome{}
	return context.WithValue(ctx, outcomeKey{}, out), func() error { return out.failure }
}
