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

// Stream gives back every byte of a stream of pair uploads, which is hk1's and sg1's.
func (b backend) Stream(pair, node string) (func(net.Conn), error) {
	switch {
	case pair != "uploads":
		return nil, &api.Error{StatusCode: http.StatusNotFound, Reason: api.ReasonNoSuchPair, Message: "this node has no pair " + pair}
	case node != "sg1":
		return nil, &api.Error{StatusCode: http.StatusForbidden, Reason: trust.ReasonNotAllowed, Message: "the pair is not of node " + node}
	}
	return func(conn net.Conn) {
		_, _ = io.Copy(conn, conn)
		_ = conn.Close()
	}, nil
}

// Canary has seen nonce "one" of sg1's and waits for another.
func (b backend) Canary(ctx context.Context, pair, node, after string) (string, error) {
	if _, err := b.Stream(pair, node); err != nil {
		return "", err
	}
	if after != "one" {
		return "one", nil
	}
	<-ctx.Done()
	return "", ctx.Err()
}

func TestCanaryOfAPair(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	sg1, sg1Proof := f.machine("sg1", time.Now())
	hk2, hk2Proof := f.machine("hk2", time.Now())
	f.store.Merge([]store.Record{store.ProofRecord(sg1Proof), store.ProofRecord(hk2Proof)})
	if nonce, err := f.asNode(sg1, sg1Proof, endpoint).Canary(t.Context(), "uploads", "none & nothing"); nonce != "one" || err != nil {
		t.Errorf("got %q, %v", nonce, err)
	}
	// Whoever does not wait for another one any more is told nothing.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if nonce, err := f.asNode(sg1, sg1Proof, endpoint).Canary(ctx, "uploads", "one"); nonce != "" || err == nil {
		t.Errorf("while there is none: got %q, %v", nonce, err)
	}
	for client, reason := range map[*api.Client]trust.Reason{
		f.asNode(hk2, hk2Proof, endpoint): trust.ReasonNotAllowed, f.operator(endpoint): trust.ReasonNotAllowed,
	} {
		var refused *api.Error
		if _, err := client.Canary(t.Context(), "uploads", ""); !errors.As(err, &refused) || refused.Reason != reason {
			t.Errorf("got %v, want %s", err, reason)
		}
	}
}

func TestStreamOfAPair(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	id, proof := f.machine("sg1", time.Now())
	f.store.Merge([]store.Record{store.ProofRecord(proof)})

	ctx, cancel := context.WithCancel(t.Context())
	stream, err := f.asNode(id, proof, endpoint).Stream(ctx, "uploads")
	if err != nil {
		t.Fatal(err)
	}
	// What opened the stream may end before it.
	cancel()
	for _, word := range []string{"unison", "\x00\xff\r\n"} {
		if _, err := stream.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
		back := make([]byte, len(word))
		if _, err := io.ReadFull(stream, back); err != nil || string(back) != word {
			t.Fatalf("got %q, %v; want %q", back, err, word)
		}
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Read(make([]byte, 1)); err == nil {
		t.Error("a closed stream can be read")
	}
}

func TestStreamIsRefused(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	sg1, sg1Proof := f.machine("sg1", time.Now())
	hk2, hk2Proof := f.machine("hk2", time.Now())
	f.store.Merge([]store.Record{store.ProofRecord(sg1Proof), store.ProofRecord(hk2Proof)})
	tests := []struct {
		name   string
		client *api.Client
		pair   string
		reason trust.Reason
	}{
		{"of another pair", f.asNode(sg1, sg1Proof, endpoint), "photos", api.ReasonNoSuchPair},
		{"of a node that is not in it", f.asNode(hk2, hk2Proof, endpoint), "uploads", trust.ReasonNotAllowed},
		{"of the operator", f.operator(endpoint), "uploads", trust.ReasonNotAllowed},
		{"of a name that is none", f.asNode(sg1, sg1Proof, endpoint), "../up loads", api.ReasonNoSuchPair},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stream, err := tt.client.Stream(t.Context(), tt.pair)
			var refused *api.Error
			if !errors.As(err, &refused) || refused.Reason != tt.reason {
				t.Errorf("got %v, %v; want reason %s", stream, err, tt.reason)
			}
		})
	}
	t.Run("of a node that nobody admitted", func(t *testing.T) {
		id, proof := f.machine("sg1", time.Now().Add(-time.Minute))
		if _, err := f.asNode(id, proof, endpoint).Stream(t.Context(), "uploads"); err == nil {
			t.Error("it got a stream")
		}
	})
}
