package api_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
)

// TestEndpoints tries addresses that are dead in different ways before the one that works.
func TestEndpoints(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	closed := closedPort(t)
	tests := []struct {
		name      string
		endpoints []string
		works     bool
	}{
		{"the right one", []string{endpoint}, true},
		{"a closed port first", []string{closed, endpoint}, true},
		{"one that never answers first", []string{silent.Addr().String(), endpoint}, true},
		{"many dead ones first", []string{closed, closed, silent.Addr().String(), closed, endpoint}, true},
		{"a closed port alone", []string{closed}, false},
		{"none", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := f.operator(tt.endpoints...).Info(t.Context())
			if tt.works != (err == nil) {
				t.Errorf("error = %v", err)
			}
			if !tt.works && !errors.Is(err, api.ErrUnreachable) {
				t.Errorf("error = %v, want ErrUnreachable in its chain", err)
			}
		})
	}
}

// TestWrongNodeBeforeRight has an address that now belongs to somebody else before the one that works.
func TestWrongNodeBeforeRight(t *testing.T) {
	f, other := newFixture(t), newFixture(t)
	right, _ := f.serve("127.0.0.1:0")
	wrong, _ := other.serve("127.0.0.1:0")
	if _, err := f.operator(wrong, right).Info(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := f.operator(wrong, closedPort(t)).Info(t.Context()); err == nil || errors.Is(err, api.ErrUnreachable) {
		t.Errorf("error = %v, want one that is not unreachable: somebody else answered", err)
	}
}

// TestContextEnds gives up when the caller does.
func TestContextEnds(t *testing.T) {
	f := newFixture(t)
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := f.operator(silent.Addr().String()).Info(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want the context's", err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("gave up after %s", took)
	}
}

// TestKeptConnection restarts the agent between two calls of one client.
func TestKeptConnection(t *testing.T) {
	f := newFixture(t)
	endpoint, stop := f.serve("127.0.0.1:0")
	c := f.operator(endpoint)
	if _, err := c.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	f.serve(endpoint)
	if _, err := c.Info(t.Context()); err != nil {
		t.Errorf("after a restart of the agent: %v", err)
	}
}

// TestSilentConnection has the path of a kept connection go dead without a word, as when the mesh falls: the call is made
// again over the other address.
func TestSilentConnection(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	mesh, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var dead atomic.Bool
	var conns sync.WaitGroup
	defer conns.Wait()
	defer func() { _ = mesh.Close() }()
	conns.Go(func() { relay(t, &conns, mesh, endpoint, &dead) })
	c := f.operator(mesh.Addr().String(), endpoint)
	defer c.Close()
	if _, err := c.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	dead.Store(true)
	begin := time.Now()
	if _, err := c.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}

// relay carries connections from l to endpoint until it is dead, and swallows what comes then.
func relay(t *testing.T, conns *sync.WaitGroup, l net.Listener, endpoint string, dead *atomic.Bool) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := (&net.Dialer{}).DialContext(context.WithoutCancel(t.Context()), "tcp", endpoint)
		if err != nil {
			t.Error(err)
			return
		}
		for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
			conns.Go(func() {
				buf := make([]byte, 32<<10)
				for {
					n, err := way[0].Read(buf)
					if err != nil {
						_ = way[1].Close()
						return
					}
					if !dead.Load() {
						_, _ = way[1].Write(buf[:n])
					}
				}
			})
		}
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
