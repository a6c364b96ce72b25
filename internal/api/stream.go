package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// ReasonNoSuchPair is for a pair that the node does not belong to, or not yet.
const ReasonNoSuchPair trust.Reason = "NoSuchPair"

// streamProtocol is what a connection becomes when it is upgraded (RFC 9110 §7.8): bytes of a pair's replication program,
// as it makes them.
const streamProtocol = "atoll-pair"

// Streamer is implemented by a Backend whose node belongs to pairs.
type Streamer interface {
	// Stream returns what takes a stream of another node to this node's side of a pair; it is called once, with the connection, and
	// closes that. Stream fails with *Error: ReasonNoSuchPair, or trust.ReasonNotAllowed for a node that is not the pair's other.
	Stream(pair, node string) (take func(net.Conn), err error)
	// Canary returns the nonce of the newest canary of another node that has arrived in this node's tree of a pair, as soon as that is
	// not after, or fails when ctx ends. It fails as Stream does.
	Canary(ctx context.Context, pair, node, after string) (nonce string, err error)
}

// ColdStreamer is implemented by a Backend whose pairs move old directories to a root of their own.
type ColdStreamer interface {
	// ColdStream is Streamer.Stream for the program that moves them. There may be several streams at a time.
	ColdStream(pair, node string) (take func(net.Conn), err error)
}

// ColdStream is Stream for what moves old directories of a pair.
func (c *Client) ColdStream(ctx context.Context, pair string) (io.ReadWriteCloser, error) {
	stream, err := c.stream(ctx, "/v1/pairs/"+url.PathEscape(pair)+"/cold")
	if err != nil {
		return nil, fmt.Errorf("open a stream about old directories of pair %q to %s: %w", pair, c.target, err)
	}
	return stream, nil
}

// Stream opens a stream to the agent's side of a pair. It lasts until it is closed or the connection breaks, also after ctx has ended. It fails with *Error
// and ReasonNoSuchPair while the agent does not know the pair. Only the pair's other node may.
func (c *Client) Stream(ctx context.Context, pair string) (io.ReadWriteCloser, error) {
	stream, err := c.stream(ctx, "/v1/pairs/"+url.PathEscape(pair)+"/stream")
	if err != nil {
		return nil, fmt.Errorf("open a stream of pair %q to %s: %w", pair, c.target, err)
	}
	return stream, nil
}

func (c *Client) stream(ctx context.Context, path string) (io.ReadWriteCloser, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://agent.atoll.invalid"+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set(WireHeader, strconv.Itoa(spec.WireVersion))
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", streamProtocol)
	if c.boot != "" {
		req.Header.Set(BootHeader, c.boot)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, transportError(err, false)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		if stream, ok := resp.Body.(io.ReadWriteCloser); ok && resp.Header.Get("Upgrade") == streamProtocol {
			return stream, nil
		}
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody))
	if err != nil {
		return nil, transportError(err, false)
	}
	return nil, answerError(resp.StatusCode, data, false)
}

// opener returns what takes a stream of another node.
type opener func(pair, node string) (take func(net.Conn), err error)

func (h *handler) stream(open opener) func(http.ResponseWriter, *http.Request, trust.Caller) {
	return func(w http.ResponseWriter, r *http.Request, caller trust.Caller) {
		pair := r.PathValue("name")
		if caller.Operator {
			fail(w, &Error{StatusCode: http.StatusForbidden, Reason: trust.ReasonNotAllowed, Message: fmt.Sprintf("only the other node of pair %q may open a stream to it", pair)})
			return
		}
		if r.Header.Get("Upgrade") != streamProtocol {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", streamProtocol)
			fail(w, &Error{StatusCode: http.StatusUpgradeRequired, Reason: trust.ReasonMalformed, Message: "the caller does not ask for protocol " + streamProtocol})
			return
		}
		take, err := open(pair, caller.Node)
		if err != nil {
			fail(w, err)
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			fail(w, fmt.Errorf("take over the connection: %w", err))
			return
		}
		// The server's limits are for requests; a stream may be silent for days.
		err = errors.Join(conn.SetDeadline(time.Time{}), switchProtocols(conn))
		if err != nil {
			_ = conn.Close()
			return
		}
		take(&hijacked{Conn: conn, read: buffered})
	}
}

func switchProtocols(conn net.Conn) error {
	_, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %d\r\n\r\n", streamProtocol, WireHeader, spec.WireVersion)
	return err
}

// hijacked is a connection whose first bytes after the request may have been read already.
type hijacked struct {
	net.Conn
	read io.Reader
}

// Read implements net.Conn.
func (h *hijacked) Read(p []byte) (int, error) { return h.read.Read(p) }
