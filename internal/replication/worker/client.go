package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
)

// maxAnswer bounds what a client reads of an answer, in bytes.
const maxAnswer = 4 << 20

// maxDirectory bounds what a client reads of a directory, in bytes: an entry has about 250.
const maxDirectory = 64 << 20

// Client reaches a worker by its control socket. It is safe for concurrent use.
type Client struct {
	http *http.Client
}

// NewClient returns a client for a control socket. Dial connects to a Unix socket; nil means this machine.
func NewClient(socket string, dial func(ctx context.Context, network, address string) (net.Conn, error)) *Client {
	if dial == nil {
		var dialer net.Dialer
		dial = dialer.DialContext
	}
	return &Client{http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // a worker comes and goes
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, "unix", socket) },
	}}}
}

// RefusedError is a worker's answer that it cannot do something.
type RefusedError struct {
	StatusCode int
	Message    string
}

// Error returns the worker's words.
func (e *RefusedError) Error() string { return e.Message }

// Status returns the side as it is.
func (c *Client) Status(ctx context.Context) (replication.Status, error) {
	var s replication.Status
	return s, c.ask(ctx, http.MethodGet, "/status", &s)
}

// Canary makes this side's canary anew.
func (c *Client) Canary(ctx context.Context) (replication.Canary, error) {
	var out replication.Canary
	return out, c.ask(ctx, http.MethodPost, "/canary", &out)
}

// Canaries returns the other side's newest canary as soon as its nonce is not after.
func (c *Client) Canaries(ctx context.Context, after string) (replication.Canary, error) {
	var out replication.Canary
	return out, c.ask(ctx, http.MethodGet, "/canaries?after="+url.QueryEscape(after), &out)
}

// Digest begins a digest of a tree, or asks how the one with that ID goes. It fails with *RefusedError of status 503 while there is no tree to
// look at.
func (c *Client) Digest(ctx context.Context, r digest.Request) (digest.Result, error) {
	var out digest.Result
	text, err := json.Marshal(r)
	if err != nil {
		return out, err
	}
	return out, c.send(ctx, http.MethodPost, "/digest", bytes.NewReader(text), &out, maxAnswer)
}

// Directory returns one directory of a tree, as digest.Lister does. It fails like Digest.
func (c *Client) Directory(ctx context.Context, part digest.Part, path string) (digest.Directory, error) {
	var out digest.Directory
	err := c.send(ctx, http.MethodGet, "/directory?"+url.Values{"path": {path}, "part": {string(part)}}.Encode(), nil, &out, maxDirectory)
	var refused *RefusedError
	if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
		return out, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return out, err
}

func (c *Client) send(ctx context.Context, method, path string, body io.Reader, into any, most int64) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://worker.invalid"+path, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return refused(resp.StatusCode, io.LimitReader(resp.Body, maxAnswer))
	}
	return json.NewDecoder(io.LimitReader(resp.Body, most)).Decode(into)
}

func (c *Client) ask(ctx context.Context, method, path string, into any) error {
	resp, err := c.do(ctx, method, path)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body := io.LimitReader(resp.Body, maxAnswer)
	if resp.StatusCode != http.StatusOK {
		return refused(resp.StatusCode, body)
	}
	return json.NewDecoder(body).Decode(into)
}

func (c *Client) do(ctx context.Context, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://worker.invalid"+path, nil)
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", upgrade)
	}
	return c.http.Do(req)
}

func refused(code int, body io.Reader) error {
	said, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	return &RefusedError{StatusCode: code, Message: strings.TrimSpace(string(said))}
}

// stream has a request's connection become a stream. Ctx bounds only the time until then.
func (c *Client) stream(ctx context.Context, path string) (conn, error) {
	during, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	resp, err := c.do(during, http.MethodPost, path)
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = errors.Join(refused(resp.StatusCode, io.LimitReader(resp.Body, maxAnswer)), resp.Body.Close())
	}
	if err != nil {
		cancel()
		return nil, err
	}
	stream, ok := resp.Body.(conn)
	if !ok || !stop() {
		cancel()
		return nil, errors.Join(ctx.Err(), resp.Body.Close())
	}
	return &until{conn: stream, cancel: cancel}, nil
}

// until is a stream that lasts as long as its request's context.
type until struct {
	conn
	cancel context.CancelFunc
}

// Close ends the stream.
func (u *until) Close() error {
	err := u.conn.Close()
	u.cancel()
	return err
}

// Stream hands a stream of the other side to the worker, on the node that does not lead. It returns when the stream has ended, and closes it.
func (c *Client) Stream(ctx context.Context, stream io.ReadWriteCloser) error {
	return c.hand(ctx, "/stream", stream)
}

// StreamCold is Stream for what OfferCold has opened on the other node. There may be several at a time.
func (c *Client) StreamCold(ctx context.Context, stream io.ReadWriteCloser) error {
	return c.hand(ctx, "/cold/stream", stream)
}

// Permit lets the worker move old directories alone for a minute.
func (c *Client) Permit(ctx context.Context) error {
	var out struct{}
	return c.send(ctx, http.MethodPost, "/cold/permit", nil, &out, maxAnswer)
}

func (c *Client) hand(ctx context.Context, path string, stream io.ReadWriteCloser) error {
	inner, err := c.stream(ctx, path)
	if err != nil {
		return errors.Join(err, stream.Close())
	}
	return joinUntil(ctx, inner, stream)
}

// Offer offers a stream to the worker on the node that leads, opens it when the worker wants it, and returns when it has ended.
func (c *Client) Offer(ctx context.Context, open func(context.Context) (io.ReadWriteCloser, error)) error {
	return c.offer(ctx, "/offer", open)
}

// OfferCold is Offer for streams about old directories, of which the worker may want several at a time.
func (c *Client) OfferCold(ctx context.Context, open func(context.Context) (io.ReadWriteCloser, error)) error {
	return c.offer(ctx, "/cold/offer", open)
}

func (c *Client) offer(ctx context.Context, path string, open func(context.Context) (io.ReadWriteCloser, error)) error {
	inner, err := c.stream(ctx, path)
	if err != nil {
		return err
	}
	opening, cancel := context.WithTimeout(ctx, dialWithin-2*time.Second)
	outer, err := open(opening)
	cancel()
	word := ready
	if err != nil {
		word = strings.Join(strings.Fields(err.Error()), " ")
	}
	if _, sayErr := fmt.Fprintln(inner, word); err != nil || sayErr != nil {
		if err == nil {
			err = errors.Join(sayErr, outer.Close())
		}
		return errors.Join(err, inner.Close())
	}
	return joinUntil(ctx, inner, outer)
}

func joinUntil(ctx context.Context, a, b io.ReadWriteCloser) error {
	stop := context.AfterFunc(ctx, func() { _ = errors.Join(a.Close(), b.Close()) }) // Join says how it ended
	defer stop()
	return Join(a, b)
}
