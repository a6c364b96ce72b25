package agent_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
)

// onPlatform returns a machine of a platform, "" for none.
func onPlatform(t *testing.T, name string) platform.Machine {
	t.Helper()
	root := t.TempDir()
	if name != "" {
		if err := os.MkdirAll(filepath.Join(root, "etc/atoll"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, "etc/atoll/platform"), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return platform.Machine{Root: root}
}

func TestMetadataGuard(t *testing.T) {
	t.Parallel()
	missing := &host.CommandError{Command: "nft", ExitCode: 1, Err: errors.New("no such table")}
	absent := &host.CommandError{Command: "nft", ExitCode: -1, Err: errors.New("not found")}
	tests := []struct {
		name, platform string
		have           string
		err            error
		want           []string
		fails          bool
	}{
		{"made", "linode", "", missing, []string{"nft -f -"}, false},
		{"already there", "linode", strings.ReplaceAll(agent.GuardRules, "\t", "  "), nil, nil, false},
		{"changed by somebody", "linode", "table inet atoll_guard {\n}\n", nil, []string{"nft -f -"}, false},
		{"no nft", "linode", "", absent, nil, true},
		{"not wanted here", "", "", missing, nil, false},
		{"not wanted any more", "", agent.GuardRules, nil, []string{"nft delete table inet atoll_guard"}, false},
		{"no nft where none is needed", "", "", absent, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := hosttest.New()
			h.Handle("nft", func(c host.Command) (host.Output, error) {
				if c.ReadOnly {
					return host.Output{Stdout: []byte(tt.have)}, tt.err
				}
				return host.Output{}, nil
			})
			err := agent.ReconcileGuard(t.Context(), h, onPlatform(t, tt.platform))
			if (err != nil) != tt.fails {
				t.Errorf("got error %v, want one: %v", err, tt.fails)
			}
			var want strings.Builder
			for _, c := range tt.want {
				want.WriteString("run " + c + "\n")
			}
			if got := h.Text(); got != want.String() {
				t.Errorf("got %q, want %q", got, want.String())
			}
		})
	}
}

// TestGuardStandsBeforeTheFirstLook has a machine whose user-data is not there yet: the guard must stand before the agent
// asks for it the first time, and still stand when the node has left a cluster.
func TestGuardStandsBeforeTheFirstLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "sg1")
	var stands atomic.Bool
	m.host.Handle("nft", func(c host.Command) (host.Output, error) {
		switch {
		case c.Args[0] == "-j":
			return host.Output{}, &host.CommandError{Command: "nft", ExitCode: 1, Err: errors.New("no such table")}
		case !c.ReadOnly:
			stands.Store(c.Args[0] == "-f")
			return host.Output{}, nil
		case stands.Load():
			return host.Output{Stdout: []byte(agent.GuardRules)}, nil
		default:
			return host.Output{}, &host.CommandError{Command: "nft", ExitCode: 1, Err: errors.New("no such table")}
		}
	})
	var asked, open atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if !stands.Load() {
			open.Add(1)
		}
		rw.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	m.metadata = []string{server.URL}
	m.onPlatform("linode")
	m.start()
	w.wait("the agent asks for user-data", func() error {
		if asked.Load() == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	if open.Load() > 0 {
		t.Error("the agent asked for user-data that every user could read")
	}
	m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
	m.waitHealth("joins", healthy)
	m.push(w.tombstone("sg1"))
	m.waitHealth("waits again", waiting)
	if !stands.Load() {
		t.Error("a node that waits again has opened its user-data to every user")
	}
}

// TestNoGuardIsTold has no nft: the node says so while it waits, and joins nevertheless.
func TestNoGuardIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "sg1")
	m.host.Handle("nft", func(host.Command) (host.Output, error) {
		return host.Output{}, &host.CommandError{Command: "nft", ExitCode: -1, Err: errors.New("executable file not found")}
	})
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	m.metadata = []string{server.URL}
	m.onPlatform("linode")
	m.start()
	m.waitHealth("tells", func(h healthOf) bool {
		return waiting(h) && contains(h.Parts["metadata guard"], "executable file not found")
	})
	m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
	m.waitHealth("joins", healthy)
}

// onPlatform makes the machine one of a platform.
func (m *machine) onPlatform(name string) {
	m.w.t.Helper()
	if err := os.MkdirAll(filepath.Join(m.root, "etc/atoll"), 0o755); err != nil {
		m.w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.root, "etc/atoll/platform"), []byte(name), 0o600); err != nil {
		m.w.t.Fatal(err)
	}
}
