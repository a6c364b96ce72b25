package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// ReasonNoSuchNode is for a node that an agent does not know, or not as a member.
const ReasonNoSuchNode trust.Reason = "NoSuchNode"

// Relayer is implemented by a Backend that passes calls on to other nodes. Somebody who calls a node behind address translation
// calls another one, which reaches it over the mesh.
type Relayer interface {
	// Relay connects to the agent of another member over the mesh. It fails with *Error and ReasonNoSuchNode when there is no such member.
	Relay(ctx context.Context, node string) (net.Conn, error)
}

// relayPatience bounds the agent's own call to the other node.
const relayPatience = 5 * time.Second

// Relay connects to another node's agent by way of this one. What goes over the connection is for the other node alone: the caller
// makes its own TLS connection over it, with the other node's identity at the end. It lasts until it is closed or breaks, also
// after ctx has ended. Only the operator may.
func (c *Client) Relay(ctx context.Context, node string) (net.Conn, error) {
	stream, err := c.stream(ctx, "/v1/relay/"+url.PathEscape(node))
	if err != nil {
		return nil, fmt.Errorf("reach node %q by way of %s: %w", node, c.target, err)
	}
	return &relayed{ReadWriteCloser: stream, node: node, by: c.target.Node}, nil
}

// relayed is a connection by way of another node. It keeps no deadlines: whoever uses it closes it instead, as tls does when a context
// ends.
type relayed struct {
	io.ReadWriteCloser
	node, by string
}

// relayAddress names the end of such a connection.
type relayAddress string

func (relayAddress) Network() string  { return "relay" }
func (a relayAddress) String() string { return string(a) }

func (r *relayed) LocalAddr() net.Addr            { return relayAddress("by way of " + r.by) }
func (r *relayed) RemoteAddr() net.Addr           { return relayAddress(r.node + " by way of " + r.by) }
func (*relayed) SetDeadline(time.Time) error      { return nil }
func (*relayed) SetReadDeadline(time.Time) error  { return nil }
func (*relayed) SetWriteDeadline(time.Time) error { return nil }

func (h *handler) relay(r Relayer) func(http.ResponseWriter, *http.Request, trust.Caller) {
	return func(w http.ResponseWriter, req *http.Request, _ trust.Caller) {
		if req.Header.Get("Upgrade") != streamProtocol {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", streamProtocol)
			fail(w, &Error{StatusCode: http.StatusUpgradeRequired, Reason: trust.ReasonMalformed, Message: "the caller does not ask for protocol " + streamProtocol})
			return
		}
		ctx, cancel := context.WithTimeout(req.Context(), relayPatience)
		defer cancel()
		other, err := r.Relay(ctx, req.PathValue("node"))
		if err != nil {
			var told *Error
			if !errors.As(err, &told) {
				err = &Error{StatusCode: http.StatusBadGateway, Reason: ReasonNoSuchNode, Message: err.Error()}
			}
			fail(w, err)
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			_ = other.Close()
			fail(w, fmt.Errorf("take over the connection: %w", err))
			return
		}
		if err := errors.Join(conn.SetDeadline(time.Time{}), switchProtocols(conn)); err != nil {
			_, _ = conn.Close(), other.Close()
			return
		}
		pipe(&hijacked{Conn: conn, read: buffered}, other)
	}
}

// pipe passes bytes on in both directions until one end is closed, and then closes both.
func pipe(a, b net.Conn) {
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // either end may go at any time
			_, _ = a.Close(), b.Close()
		})
	}
	both.Wait()
}
