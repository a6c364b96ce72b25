package agent_test

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

var update = flag.Bool("update", false, "rewrite golden files")

// writingDriver is a driver that keeps one file and one unit.
type writingDriver struct {
	fakeMesh
	sys host.System
}

func (d *writingDriver) Apply(ctx context.Context, v *topology.View) error {
	var text strings.Builder
	fmt.Fprintf(&text, "address = %s\n", v.Self.MeshAddress)
	for _, p := range v.Peers {
		fmt.Fprintf(&text, "peer = %s\n", p.Name)
	}
	if _, err := d.sys.WriteFile("/etc/fake/mesh.conf", []byte(text.String()), 0o600); err != nil {
		return err
	}
	_, err := d.sys.Units().Ensure(ctx, host.Unit{Name: "fake-mesh.service", Content: []byte("[Service]\n"), Enabled: true, Running: true})
	return err
}

func TestPlan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "hk1")
	cfg := m.config()
	cfg.Drivers = map[spec.MeshDriver]mesh.New{spec.MeshTinc: func(sys host.System, _ *slog.Logger) mesh.Driver {
		return &writingDriver{sys: sys}
	}}
	if _, err := agent.Plan(t.Context(), cfg); !errors.Is(err, agent.ErrNotJoined) {
		t.Errorf("before joining: got %v, want ErrNotJoined", err)
	}
	m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
	m.start()
	m.waitHealth("is fit", healthy)
	if err := os.WriteFile(filepath.Join(m.root, "etc/atoll/platform"), []byte("linode"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.host.Text()

	var text strings.Builder
	section := func(title string) *agent.Planned {
		t.Helper()
		p, err := agent.Plan(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "# %s\n%s\n", title, strings.Join(p.Lines(), "\n"))
		return p
	}
	section("the agent runs, nothing is made yet")
	if got := m.host.Text(); got != "" {
		t.Errorf("the plan changed the machine:\n%s", got)
	}
	made := &writingDriver{sys: m.host}
	if err := made.Apply(t.Context(), &topology.View{Self: topology.Peer{MeshAddress: m.meshAddress()}}); err != nil {
		t.Fatal(err)
	}
	m.host.Handle("nft", func(c host.Command) (host.Output, error) {
		if c.Args[0] == "-j" { // the image's firewall
			return host.Output{Stdout: []byte(`{"nftables": [{"set": {"name": "open_tcp", "elem": [655, 7443, 7480]}}]}`)}, nil
		}
		return host.Output{Stdout: []byte(agent.GuardRules)}, nil
	})
	if p := section("all is made"); len(p.Changes) > 0 {
		t.Errorf("changes: %v", p.Changes)
	}
	if _, err := m.host.WriteFile("/etc/fake/mesh.conf", []byte("edited by hand\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	section("somebody has edited a file")
	delete(cfg.Drivers, spec.MeshTinc)
	section("the agent does not know the mesh driver")

	const golden = "testdata/plan.txt"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
}

// TestJoinFromLinodeMetadata joins by user-data, which stays readable afterwards: neither a restart nor a removal may make
// the agent use it again.
func TestJoinFromLinodeMetadata(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "sg1")
	payload := m.payload(m.ticket(ticketFor{}), m.node(""))
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/v1/token":
			_, _ = rw.Write([]byte("token"))
		case r.URL.Path == "/v1/user-data" && r.Header.Get("Metadata-Token") == "token":
			_, _ = rw.Write([]byte(base64.StdEncoding.EncodeToString(payload)))
		default:
			rw.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer server.Close()
	if err := os.MkdirAll(filepath.Join(m.root, "etc/atoll"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.root, "etc/atoll/platform"), []byte("linode\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.metadata = []string{server.URL}
	m.start()
	m.waitHealth("joins", healthy)
	if got := m.readJoin()["source"]; got != "Linode metadata" {
		t.Errorf("it joined by %v", got)
	}
	if !strings.Contains(m.host.Text(), "run nft -f -") {
		t.Error("the metadata service was not closed to other users")
	}
	m.restart()
	m.waitHealth("is still a member", healthy)
	m.push(w.tombstone("sg1"))
	m.waitHealth("does not come back by itself", func(h healthOf) bool {
		return waiting(h) && contains(h.Waiting, "issue a new ticket")
	})
}
