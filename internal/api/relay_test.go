package api_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Relay reaches whatever listens where the node's name says, and no node that is called away.
func (b backend) Relay(ctx context.Context, node string) (net.Conn, error) {
	if node == "away" {
		return nil, &api.Error{StatusCode: http.StatusNotFound, Reason: api.ReasonNoSuchNode, Message: "this node knows no " + node}
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", node)
}

func TestRelay(t *testing.T) {
	f := newFixture(t)
	near, _ := f.serve("127.0.0.1:0")
	far, _ := f.serve("127.0.0.1:0")
	operator := f.operator(near)

	// A call that goes by way of another node is an ordinary one at its end: TLS is between the two.
	target := api.Target{Cluster: clusterName, Node: "hk1", Endpoints: []string{far}}
	var used net.Conn
	target.Dial = func(ctx context.Context, _, address string) (net.Conn, error) {
		conn, err := operator.Relay(ctx, address)
		used = conn
		return conn, err
	}
	info, err := f.client(target).Info(t.Context())
	if err != nil || info.Node != target.Node {
		t.Fatalf("got %+v, %v", info, err)
	}
	if used == nil || used.RemoteAddr().Network() != "relay" {
		t.Errorf("the call went by %v", used)
	}

	var refused *api.Error
	if _, err := operator.Relay(t.Context(), "away"); !errors.As(err, &refused) || refused.Reason != api.ReasonNoSuchNode || refused.StatusCode != http.StatusNotFound {
		t.Errorf("to nobody: %v", err)
	}
	id, proof := f.machine("sg1", time.Now())
	f.store.Merge([]store.Record{store.ProofRecord(proof)})
	if _, err := f.asNode(id, proof, near).Relay(t.Context(), far); !errors.As(err, &refused) || refused.Reason != trust.ReasonNotAllowed {
		t.Errorf("for another node: %v", err)
	}
}

// TestRelayEnds closes both connections when one end closes its own.
func TestRelayEnds(t *testing.T) {
	f := newFixture(t)
	near, _ := f.serve("127.0.0.1:0")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	conn, err := f.operator(near).Relay(t.Context(), listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(other, got); err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	// An end that goes away, as one does whose handshake is given up.
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if n, err := other.Read(got); err == nil || n > 0 {
		t.Errorf("%d bytes, %v after the end", n, err)
	}
	_ = other.Close()
}
