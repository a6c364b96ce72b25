package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
)

const (
	waiting  = `{"healthy":false,"state":"waiting","waiting":"no data"}`
	member1  = `{"healthy":false,"state":"joined","parts":{"mesh":"hk1 does not answer"}}`
	healthy1 = `{"healthy":true,"state":"joined","parts":{"mesh":"ok"}}`
)

// agentThat answers with each body once and with the last one for ever, and returns its port.
func agentThat(t *testing.T, bodies ...string) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, bodies[min(int(asked.Add(1)), len(bodies))-1])
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestStatusWaits(t *testing.T) {
	tests := []struct {
		name, port string
		args       []string
		last       string // line of what is printed
		err        error
	}{
		{"until it has joined", agentThat(t, waiting, member1, healthy1), []string{"--wait", "joined"}, "mesh: hk1 does not answer", nil},
		{"until it is healthy", agentThat(t, waiting, member1, healthy1), []string{"--wait=healthy", "--timeout=1m"}, "mesh: ok", nil},
		{"in vain", agentThat(t, waiting), []string{"--wait", "joined", "--timeout", "2s"}, "waiting: no data", exitUnhealthy},
		{"for health in vain", agentThat(t, member1), []string{"--wait", "healthy", "--timeout", "2s"}, "mesh: hk1 does not answer", exitUnhealthy},
		{"for nobody", "1", []string{"--wait", "joined", "--timeout", "2s"}, "member: of no cluster", api.ErrUnreachable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, err := run(t, append([]string{"status", "--state-dir", t.TempDir(), "--port", tt.port}, tt.args...)...)
			if !strings.HasSuffix(out, "\n"+tt.last+"\n") && out != tt.last+"\n" || !errors.Is(err, tt.err) {
				t.Errorf("got %q and %v, want it to end with %q, and %v", out, err, tt.last, tt.err)
			}
		})
	}
	if _, err := run(t, "status", "--wait", "soon"); err == nil || !strings.Contains(err.Error(), "joined or healthy") {
		t.Errorf("got %v", err)
	}
}

// TestStatusWaitsForAnAgent has an agent begin to answer later than it is asked.
func TestStatusWaitsForAnAgent(t *testing.T) {
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan struct{})
	go func() {
		defer close(refused)
		if c, err := l.Accept(); err == nil {
			_ = c.Close() // the first to ask gets no answer
		}
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { //nolint:gosec // it ends with the test
			_, _ = fmt.Fprint(w, healthy1)
		}))
	}()
	t.Cleanup(func() { _ = l.Close(); <-refused })
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, "status", "--state-dir", t.TempDir(), "--port", port, "--wait", "joined", "--timeout", "1m"); err != nil {
		t.Errorf("got %q and %v", out, err)
	}
}

func TestStatusAsJSON(t *testing.T) {
	out, err := run(t, "status", "--json", "--state-dir", t.TempDir(), "--port", agentThat(t, healthy1))
	if err != nil {
		t.Fatal(err)
	}
	var got status
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	want := status{Health: &api.Health{Healthy: true, State: "joined", Parts: map[string]string{"mesh": "ok"}}}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}
