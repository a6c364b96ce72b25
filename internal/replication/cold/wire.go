package cold

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	// upgrade is what a connection becomes that rsync works over (RFC 9110 §7.8).
	upgrade = "atoll-cold"
	// maxAnswer bounds an answer, in bytes: a directory's path has some ten.
	maxAnswer = 16 << 20
	// resultWithin is how long rsync may take to end after its stream.
	resultWithin = time.Minute
	// readHeaderWithin bounds how long a request may take to be read.
	readHeaderWithin = 10 * time.Second
)

// wireError is an error as it is told.
type wireError struct {
	Busy *BusyError `json:"busy,omitempty"`
	// Unreached tells that Other is about a side that was not reached.
	Unreached bool    `json:"unreached,omitempty"`
	Problem   Problem `json:"problem,omitempty"`
	Other     string  `json:"other,omitempty"`
}

func (w wireError) error() error {
	switch {
	case w.Busy != nil:
		return w.Busy
	case w.Problem != "":
		return w.Problem
	case w.Unreached:
		return &UnreachedError{errors.New(w.Other)}
	}
	return errors.New(w.Other)
}

func describe(err error) wireError {
	var b *BusyError
	var p Problem
	switch {
	case errors.As(err, &p):
		return wireError{Problem: p}
	case errors.As(err, &b):
		return wireError{Busy: b}
	}
	return wireError{Other: err.Error(), Unreached: isUnreached(err)}
}

// NewHandler answers a Client with what a side says.
func NewHandler(side Side, log *slog.Logger) http.Handler {
	h := &handler{side: side, log: log, results: map[string]chan error{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /state", func(rw http.ResponseWriter, r *http.Request) { reply(rw)(side.State(r.Context())) })
	mux.HandleFunc("POST /copy", func(rw http.ResponseWriter, r *http.Request) {
		reply(rw)(side.Copy(r.Context(), r.URL.Query().Get("dir")))
	})
	mux.HandleFunc("POST /swap", func(rw http.ResponseWriter, r *http.Request) {
		reply(rw)(nil, side.Swap(r.Context(), r.URL.Query().Get("dir")))
	})
	mux.HandleFunc("POST /follow", func(rw http.ResponseWriter, r *http.Request) {
		reply(rw)(nil, side.Follow(r.Context(), r.URL.Query().Get("dir")))
	})
	mux.HandleFunc("POST /finish", func(rw http.ResponseWriter, r *http.Request) { reply(rw)(nil, side.Finish(r.Context())) })
	mux.HandleFunc("POST /serve", h.serve)
	mux.HandleFunc("POST /sync", h.sync)
	mux.HandleFunc("POST /synced", h.synced)
	return mux
}

// reply writes a value, or why there is none.
func reply(rw http.ResponseWriter) func(any, error) {
	return func(value any, err error) {
		rw.Header().Set("Content-Type", "application/json")
		if err != nil {
			rw.WriteHeader(http.StatusConflict)
			value = describe(err)
		}
		_ = json.NewEncoder(rw).Encode(value) // whoever asked is gone
	}
}

type handler struct {
	side Side
	log  *slog.Logger

	mu      sync.Mutex
	results map[string]chan error
}

func (h *handler) serve(rw http.ResponseWriter, r *http.Request) {
	// The request's context does not end with a connection that was taken over.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	inner, err := h.side.Serve(ctx)
	if err != nil {
		reply(rw)(nil, err)
		return
	}
	outer, err := takeOver(rw)
	if err != nil {
		_ = inner.Close()
		return
	}
	join(outer, inner)
}

func (h *handler) sync(rw http.ResponseWriter, r *http.Request) {
	stream, err := takeOver(rw)
	if err != nil {
		return
	}
	done := make(chan error, 1)
	h.mu.Lock()
	h.results[r.URL.Query().Get("id")] = done
	h.mu.Unlock()
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	done <- h.side.Sync(ctx, Way(r.URL.Query().Get("way")), r.URL.Query()["dir"], stream)
}

// synced tells how a run has ended.
func (h *handler) synced(rw http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	done := h.results[r.URL.Query().Get("id")]
	delete(h.results, r.URL.Query().Get("id"))
	h.mu.Unlock()
	if done == nil {
		reply(rw)(nil, errors.New("there is no such run"))
		return
	}
	select {
	case err := <-done:
		reply(rw)(nil, err)
	case <-r.Context().Done():
	}
}

// buffered is a connection whose first bytes may have been read already.
type buffered struct {
	net.Conn
	read *bufio.Reader
}

// Read implements io.Reader.
func (b *buffered) Read(p []byte) (int, error) { return b.read.Read(p) }

func takeOver(rw http.ResponseWriter) (io.ReadWriteCloser, error) {
	c, buffer, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return nil, err
	}
	_, err = fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", upgrade)
	if err := errors.Join(err, c.SetDeadline(time.Time{})); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &buffered{Conn: c, read: buffer.Reader}, nil
}

// join copies each way between two streams until one of them ends, and closes both.
func join(a, b io.ReadWriteCloser) {
	done := make(chan struct{}, 2)
	for _, way := range [][2]io.ReadWriteCloser{{a, b}, {b, a}} {
		go func() {
			_, _ = io.Copy(way[0], way[1]) // whoever works over it sees how it ends
			done <- struct{}{}
		}()
	}
	<-done
	_, _ = a.Close(), b.Close()
	<-done
}

// Client is a side that is reached over streams, one for each request. It is safe for concurrent use.
type Client struct {
	http *http.Client
}

var _ Side = (*Client)(nil)

// NewClient returns the side that answers on the streams that dial opens.
func NewClient(dial func(ctx context.Context) (net.Conn, error)) *Client {
	return &Client{http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}}
}

func (c *Client) request(ctx context.Context, path string, query url.Values, stream bool) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://cold.invalid"+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	if stream {
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", upgrade)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreached(ctx, err)
	}
	want := http.StatusOK
	if stream {
		want = http.StatusSwitchingProtocols
	}
	if resp.StatusCode == want {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, unreached(ctx, err)
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		return nil, &UnreachedError{fmt.Errorf("%s", text)}
	}
	var failed wireError
	if err := json.Unmarshal(text, &failed); err != nil || resp.StatusCode != http.StatusConflict {
		return nil, fmt.Errorf("%s: %s", resp.Status, text)
	}
	return nil, failed.error()
}

func (c *Client) ask(ctx context.Context, path string, query url.Values, into any) error {
	resp, err := c.request(ctx, path, query, false)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if into == nil {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return unreached(ctx, err)
	}
	return json.Unmarshal(text, into)
}

// unreached is what follows from how a request has failed.
func unreached(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // the request is of no interest
	}
	return &UnreachedError{err}
}

// State implements Side.
func (c *Client) State(ctx context.Context) (State, error) {
	var s State
	return s, c.ask(ctx, "/state", nil, &s)
}

// Copy implements Side.
func (c *Client) Copy(ctx context.Context, dir string) (Copied, error) {
	var out Copied
	return out, c.ask(ctx, "/copy", url.Values{"dir": {dir}}, &out)
}

// Swap implements Side.
func (c *Client) Swap(ctx context.Context, dir string) error {
	return c.ask(ctx, "/swap", url.Values{"dir": {dir}}, nil)
}

// Follow implements Side.
func (c *Client) Follow(ctx context.Context, dir string) error {
	return c.ask(ctx, "/follow", url.Values{"dir": {dir}}, nil)
}

// Finish implements Side.
func (c *Client) Finish(ctx context.Context) error { return c.ask(ctx, "/finish", nil, nil) }

// Serve implements Side.
func (c *Client) Serve(ctx context.Context) (io.ReadWriteCloser, error) {
	return c.stream(ctx, "/serve", nil)
}

// Sync implements Side.
func (c *Client) Sync(ctx context.Context, way Way, dirs []string, peer io.ReadWriteCloser) error {
	query := url.Values{"way": {string(way)}, "dir": dirs, "id": {rand.Text()}}
	stream, err := c.stream(ctx, "/sync", query)
	if err != nil {
		return errors.Join(err, peer.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() })
	join(stream, peer)
	stop()
	ctx, cancel := context.WithTimeout(ctx, resultWithin)
	defer cancel()
	return c.ask(ctx, "/synced", query, nil)
}

// stream has a request's connection become a stream, which lasts until it is closed.
func (c *Client) stream(ctx context.Context, path string, query url.Values) (io.ReadWriteCloser, error) {
	during, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	resp, err := c.request(during, path, query, true) //nolint:bodyclose // it is the stream
	if err != nil {
		cancel()
		return nil, err
	}
	stream, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || !stop() {
		cancel()
		return nil, errors.Join(ctx.Err(), resp.Body.Close())
	}
	return &until{ReadWriteCloser: stream, cancel: cancel}, nil
}

// until is a stream that lasts as long as its request's context.
type until struct {
	io.ReadWriteCloser
	cancel context.CancelFunc
}

// Close ends the stream.
func (u *until) Close() error {
	err := u.ReadWriteCloser.Close()
	u.cancel()
	return err
}
