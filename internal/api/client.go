package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

const (
	// requestTimeout bounds one request once it has a connection.
	requestTimeout = 20 * time.Second
	// maxAnswer bounds an answer: every record of a large cluster.
	maxAnswer = 64 << 20
	// maxPush is how much of the records goes into one request, well under MaxBody.
	maxPush = 4 << 20
)

// Target is the agent that a client calls.
type Target struct {
	Cluster string
	// Node is the node that must answer; "" accepts any node of the cluster.
	Node string
	// Endpoints are host:port of the agent's API, best first.
	Endpoints []string
	// Pin is the only identity that may answer; nil accepts any with a valid proof.
	Pin *trust.PublicKey
	// Ticket is the ID of the only ticket that who answers may have joined with; "" accepts any. It is for the first contact
	// with a node that was made again: its predecessor may still run at the same address and has a valid proof too.
	Ticket string
	// Dial makes the TCP connections; nil is a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client calls one agent. Safe for concurrent use.
type Client struct {
	target Target
	http   *http.Client
	// boot is sent in BootHeader unless it is "".
	boot string
}

// NewOperatorClient returns a client that calls as the operator.
func NewOperatorClient(k *trust.SigningKey, t Target) *Client {
	root := trust.Root{Cluster: t.Cluster, Key: k.Public()}
	return newClient(t, func() (*tls.Config, error) {
		config, err := trust.OperatorClientTLS(k, root, t.Node, t.Pin, time.Now())
		return t.withTicket(config, root), err
	})
}

// NewNodeClient returns a client that calls as a node. Boot is the start of the calling agent; "" says nothing of it.
func NewNodeClient(id *trust.Identity, proof trust.Proof, root trust.Root, boot string, t Target) *Client {
	c := newClient(t, func() (*tls.Config, error) {
		config, err := trust.NodeClientTLS(id, proof, root, t.Node, t.Pin)
		return t.withTicket(config, root), err
	})
	c.boot = boot
	return c
}

func newClient(t Target, config func() (*tls.Config, error)) *Client {
	d := &dialer{target: t, config: config}
	return &Client{target: t, http: &http.Client{
		Transport: &http.Transport{
			// Every connection leads to the target's endpoints, and each gets a certificate of its own, since an
			// operator's is valid for an hour only.
			DialTLSContext:      func(ctx context.Context, _, _ string) (net.Conn, error) { return d.dial(ctx) },
			MaxIdleConnsPerHost: 1,
			IdleConnTimeout:     30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Info returns what the agent says of itself.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var out Info
	err := c.call(ctx, http.MethodGet, "/v1/info", nil, &out)
	return out, err
}

// Status returns the whole cluster as the agent sees it.
func (c *Client) Status(ctx context.Context) (ClusterStatus, error) {
	var out ClusterStatus
	err := c.call(ctx, http.MethodGet, "/v1/status", nil, &out)
	return out, err
}

// Records returns every record of the agent.
func (c *Client) Records(ctx context.Context) ([]store.Record, error) {
	var out recordsBody
	err := c.call(ctx, http.MethodGet, "/v1/records", nil, &out)
	return out.Records, err
}

// Push gives records to the agent and returns what became of each, in order. An accepted record is on the agent's disk.
// After an error the first outcomes may be known already.
func (c *Client) Push(ctx context.Context, recs []store.Record) ([]store.Outcome, error) {
	var out []store.Outcome
	for len(recs) > 0 {
		n, err := batch(recs)
		if err != nil {
			return out, err
		}
		var part outcomesBody
		if err := c.call(ctx, http.MethodPut, "/v1/records", recordsBody{Records: recs[:n]}, &part); err != nil {
			return out, err
		}
		if len(part.Outcomes) != n {
			return out, fmt.Errorf("push to node %q: it answered %d outcomes for %d records", c.target.Node, len(part.Outcomes), n)
		}
		out, recs = append(out, part.Outcomes...), recs[n:]
	}
	return out, nil
}

// Sync shows the agent a digest and returns what it has newer, and the keys that it wants.
func (c *Client) Sync(ctx context.Context, d store.Digest) (newer []store.Record, wanted []store.Key, err error) {
	var out syncBody
	err = c.call(ctx, http.MethodPost, "/v1/sync", syncRequest{Digest: d}, &out)
	return out.Newer, out.Wanted, err
}

// Leave tells the agent to remove what it made on its machine and to end. Only the operator may.
func (c *Client) Leave(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/leave", struct{}{}, nil)
}

// batch returns how many of the records go into the next request.
func batch(recs []store.Record) (int, error) {
	size := 0
	for i, r := range recs {
		data, err := json.Marshal(r)
		if err != nil {
			return 0, fmt.Errorf("encode record: %w", err)
		}
		if size += len(data); size > maxPush && i > 0 {
			return i, nil
		}
	}
	return len(recs), nil
}

// call makes one request. A request that fails on a kept connection is made once more on a new one, which may take another
// path: everything that the API does may be done twice.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	err := c.try(ctx, method, path, body, out)
	var stale *staleError
	if errors.As(err, &stale) && ctx.Err() == nil {
		c.http.CloseIdleConnections()
		err = c.try(ctx, method, path, body, out)
	}
	if err != nil {
		return fmt.Errorf("%s %s of %s: %w", method, path, c.target, err)
	}
	return nil
}

func (c *Client) try(ctx context.Context, method, path string, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ctx, kept := watchKept(ctx, cancel)
	req, err := http.NewRequestWithContext(ctx, method, "https://agent.atoll.invalid"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set(WireHeader, strconv.Itoa(spec.WireVersion))
	if c.boot != "" {
		req.Header.Set(BootHeader, c.boot)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return transportError(err, kept.Load())
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return transportError(err, kept.Load())
	case len(data) > maxAnswer:
		return fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	case resp.StatusCode >= http.StatusBadRequest:
		return answerError(resp.StatusCode, data, kept.Load())
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

// answerError reads a refusal. On a connection that was kept, "expired" says that it has outlived the operator's
// certificate; a new one gets a new certificate.
func answerError(code int, data []byte, kept bool) error {
	var body errorBody
	if err := json.Unmarshal(data, &body); err != nil || body.Error == nil {
		return &Error{StatusCode: code, Reason: ReasonInternal, Message: fmt.Sprintf("answered %d %s without a reason", code, http.StatusText(code))}
	}
	body.Error.StatusCode = code
	if kept && body.Error.Reason == trust.ReasonExpired {
		return &staleError{body.Error}
	}
	return body.Error
}

// String names the target for messages.
func (t Target) String() string {
	name := "any node"
	if t.Node != "" {
		name = "node " + strconv.Quote(t.Node)
	}
	return fmt.Sprintf("%s of cluster %q", name, t.Cluster)
}
