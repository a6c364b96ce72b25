package wireguard_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/wireguard"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/wireguard/tunnel"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fakeNode is a machine in memory with just enough of the tunnel, nft and ip for the driver.
type fakeNode struct {
	*hosttest.Host
	t      *testing.T
	driver mesh.Driver
	key    string

	mu      sync.Mutex
	state   tunnel.State
	table   string
	address netip.Prefix
	// deaf makes the tunnel obey nothing, problem is what it says of every configuration.
	deaf    bool
	problem string
}

func newFakeNode(t *testing.T) *fakeNode {
	t.Helper()
	n := &fakeNode{Host: hosttest.New(), t: t}
	n.HandleStart(wireguard.UnitName, func() {
		n.state = tunnel.State{}
		n.adopt()
	})
	n.HandleSignal(wireguard.UnitName, func(signal string) {
		if signal != "HUP" {
			t.Errorf("the tunnel got signal %s", signal)
		}
		if !n.deaf {
			n.state.Repairs++
			n.adopt()
		}
	})
	n.Handle("nft", func(c host.Command) (host.Output, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		switch {
		case c.Args[0] == "-f":
			rules, err := n.ReadFile(c.Args[1])
			n.table = string(rules)
			return host.Output{}, err
		case c.Args[0] == "delete":
			n.table = ""
		case c.Args[1] == "tables" && n.table != "":
			return host.Output{Stdout: []byte("table inet other\ntable inet atoll_mesh\n")}, nil
		case c.Args[1] == "table":
			return host.Output{Stdout: []byte(n.table)}, nil
		}
		return host.Output{}, nil
	})
	n.Handle("ip", func(c host.Command) (host.Output, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if !c.ReadOnly || !n.address.IsValid() {
			return host.Output{}, nil
		}
		return host.Output{Stdout: []byte(fmt.Sprintf(`[{"ifname":"atoll0","flags":["UP"],"addr_info":[{"local":%q,"prefixlen":%d}]}]`, n.address.Addr(), n.address.Bits()))}, nil
	})
	n.newDriver()
	var err error
	if n.key, err = n.driver.EnsureKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// adopt is what the tunnel does with its configuration.
func (n *fakeNode) adopt() {
	file, err := n.ReadFile(wireguard.ConfigPath)
	if err != nil {
		n.t.Errorf("the tunnel runs without a configuration: %v", err)
		return
	}
	var c tunnel.Config
	if err := json.Unmarshal(file, &c); err != nil {
		n.t.Error(err)
	}
	n.mu.Lock()
	n.address = c.Address
	n.mu.Unlock()
	n.state.Read, n.state.Problem = tunnel.Digest(file), n.problem
	n.says()
}

// says writes the tunnel's state.
func (n *fakeNode) says() {
	text, err := json.Marshal(n.state)
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := n.WriteFile(wireguard.StatePath, text, 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// newDriver is what a restart of the agent does.
func (n *fakeNode) newDriver() {
	n.driver = wireguard.NewWith(n.Host, slog.New(slog.DiscardHandler), wireguard.Options{
		Program: "/usr/local/bin/atolld", Settle: 100 * time.Millisecond,
		Lookup: func(_ context.Context, name string) ([]netip.Addr, error) {
			if name == "us.example" {
				return []netip.Addr{netip.MustParseAddr("2001:db8::3"), netip.MustParseAddr("203.0.113.3")}, nil
			}
			return nil, fmt.Errorf("lookup %s: no such host", name)
		},
	})
}

func newKey(t *testing.T) string {
	t.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key.PublicKey().String()
}

func peer(name, address, key string, public ...string) topology.Peer {
	return topology.Peer{Name: name, MeshAddress: netip.MustParseAddr(address), MeshKey: key, Addresses: public}
}

func (n *fakeNode) view(peers ...topology.Peer) *topology.View {
	return &topology.View{
		Cluster: "web", Mesh: spec.Mesh{Driver: spec.MeshWireGuard, Port: 655}, CIDR: netip.MustParsePrefix("10.66.0.0/16"),
		Self: peer("hk-1", "10.66.0.1", n.key), Peers: peers,
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t)
	sg, us := peer("sg-1", "10.66.0.2", newKey(t), "198.51.100.2"), peer("us-1", "10.66.0.3", newKey(t), "us.example")
	sg.Link.MTU = 1400
	hidden := peer("hidden", "10.66.0.4", newKey(t))
	if err := n.driver.Apply(t.Context(), n.view(hidden, sg, us)); err != nil {
		t.Fatal(err)
	}
	config, err := n.ReadFile(wireguard.ConfigPath)
	if err != nil {
		t.Fatal(err)
	}
	got := n.Text() + string(config)
	for who, key := range map[string]string{"hk-1": n.key, "sg-1": sg.MeshKey, "us-1": us.MeshKey, "hidden": hidden.MeshKey} {
		got = strings.ReplaceAll(got, key, "(key of "+who+")")
	}
	file := filepath.Join("testdata", "three.golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; make it with -update", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}

	// The private key is in its own file, and nowhere else.
	private, err := n.ReadFile(wireguard.KeyPath)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(got, strings.TrimSpace(string(private))) {
		t.Error("the private key is in a file, a command or a unit")
	}
	if err := n.driver.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if left := n.Text(); strings.Contains(left, "file") || strings.Contains(left, "unit") || n.table != "" {
		t.Errorf("left on the machine:\n%s%s", left, n.table)
	}
}

// TestPaths has a path measured to take less than the mesh sends: that is remembered across restarts of the agent, apart from what the operator says of it, and
// forgotten with the peer.
func TestPaths(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t)
	sg, us := peer("sg-1", "10.66.0.2", newKey(t), "198.51.100.2"), peer("us-1", "10.66.0.3", newKey(t), "198.51.100.3")
	apply := func(peers ...topology.Peer) {
		t.Helper()
		v := n.view(peers...)
		v.Self.Addresses = []string{"198.51.100.1"}
		if err := n.driver.Apply(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	fit := func(paths map[string]int) {
		t.Helper()
		f, ok := n.driver.(mesh.Fitter)
		if !ok {
			t.Fatalf("%T fits nothing", n.driver)
		}
		if err := f.Fit(t.Context(), paths); err != nil {
			t.Fatal(err)
		}
	}
	wants := func(what string, want map[string]int) {
		t.Helper()
		var c tunnel.Config
		file, err := n.ReadFile(wireguard.ConfigPath)
		if err := errors.Join(err, json.Unmarshal(file, &c)); err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for _, p := range c.Peers {
			got[p.Name] = p.MTU
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	apply(sg, us)
	fit(map[string]int{"sg-1": 1280, "us-1": 1420, "gone": 1280})
	wants("measured", map[string]int{"sg-1": 1200, "us-1": 1328})
	sg.Link.MTU, us.Link.MTU = 1300, 1300
	apply(sg, us)
	wants("the operator says 1300", map[string]int{"sg-1": 1200, "us-1": 1216})
	n.newDriver()
	fit(map[string]int{"sg-1": 0}) // without a view it does nothing
	sg.Link.MTU, us.Link.MTU = 0, 0
	apply(sg, us)
	wants("after a restart, when the operator says nothing any more", map[string]int{"sg-1": 1200, "us-1": 1328})
	fit(map[string]int{"sg-1": 0})
	wants("the path takes all again", map[string]int{"sg-1": 0, "us-1": 1328})
	apply(sg)
	apply(sg, us)
	wants("another node of the same name", map[string]int{"sg-1": 0, "us-1": 0})
}

func TestTrouble(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	tests := []struct {
		name  string
		peers []topology.Peer
		edit  func(*fakeNode)
		// want is in the error, there are the peers that the tunnel has all the same.
		want  string
		there []string
	}{
		{"a key that is none", []topology.Peer{peer("a", "10.66.0.2", "RSA"), peer("b", "10.66.0.3", key)}, nil, `mesh key of node "a": it is not a WireGuard key`, []string{"b"}},
		{"an empty key", []topology.Peer{peer("a", "10.66.0.2", (wgtypes.Key{}).String()), peer("b", "10.66.0.3", key)}, nil, `mesh key of node "a": it is empty`, []string{"b"}},
		{"a key of two", []topology.Peer{peer("a", "10.66.0.2", key), peer("b", "10.66.0.3", key)}, nil, `mesh key of node "b": it is also that of node "a"`, []string{"a"}},
		{"a name that nobody knows", []topology.Peer{peer("a", "10.66.0.2", newKey(t), "gone.example"), peer("b", "10.66.0.3", key)}, nil, `address of node "a"`, []string{"a", "b"}},
		{"a tunnel that refuses", []topology.Peer{peer("b", "10.66.0.3", key)}, func(n *fakeNode) { n.problem = "port 655 is taken" }, "port 655 is taken", []string{"b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newFakeNode(t)
			if tt.edit != nil {
				tt.edit(n)
			}
			err := n.driver.Apply(t.Context(), n.view(tt.peers...))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
			file, err := n.ReadFile(wireguard.ConfigPath)
			if err != nil {
				t.Fatal(err)
			}
			var c tunnel.Config
			if err := json.Unmarshal(file, &c); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range c.Peers {
				got = append(got, p.Name)
			}
			if diff := cmp.Diff(tt.there, got); diff != "" {
				t.Errorf("peers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDeafTunnel(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t)
	if err := n.driver.Apply(t.Context(), n.view()); err != nil {
		t.Fatal(err)
	}
	n.deaf = true
	err := n.driver.Apply(t.Context(), n.view(peer("a", "10.66.0.2", newKey(t))))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), wireguard.UnitName) {
		t.Errorf("error %v must say that the tunnel did not obey, and where to look", err)
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t)
	n.newDriver()
	if again, err := n.driver.EnsureKey(t.Context()); err != nil || again != n.key {
		t.Errorf("a new agent has key %s, %v", again, err)
	}
	v := n.view()
	v.Self.MeshKey = newKey(t)
	if err := n.driver.Apply(t.Context(), v); err == nil || !strings.Contains(err.Error(), "another mesh key") {
		t.Errorf("the cluster knows another key: %v", err)
	}
	if _, err := n.WriteFile(wireguard.KeyPath, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.driver.EnsureKey(t.Context()); err == nil || !strings.Contains(err.Error(), wireguard.KeyPath) {
		t.Errorf("a damaged key: %v", err)
	}
	if text, _ := n.ReadFile(wireguard.KeyPath); string(text) != "damaged" {
		t.Error("a damaged key was replaced")
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t)
	status := func() mesh.Status {
		t.Helper()
		st, err := n.driver.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	if got := status(); got.Running {
		t.Error("runs before the first Apply")
	}
	v := n.view(peer("a", "10.66.0.2", newKey(t)), peer("b", "10.66.0.3", newKey(t)), peer("c", "10.66.0.4", newKey(t)))
	if err := n.driver.Apply(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	n.state.Routes = map[string]string{"a": "a", "b": "a", "gone": "a"}
	n.says()
	want := mesh.Status{Running: true, Interface: "atoll0", Peers: map[string]mesh.PeerStatus{
		"a": {Reachable: true, Direct: true}, "b": {Reachable: true, NextHop: "a"}, "c": {},
	}}
	if diff := cmp.Diff(want, status()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	n.Kill(wireguard.UnitName)
	if got := status(); got.Running || got.Peers["a"].Reachable {
		t.Errorf("after the tunnel died: %+v", got)
	}
}

// TestNilViewLeavesOthersAlone removes a driver that was never used from a node whose mesh is of another.
func TestNilViewLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t)
	n.table, n.address = "table inet atoll_mesh {}", netip.MustParsePrefix("10.66.0.1/16")
	if err := n.driver.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if text := n.Text(); text != "" || n.table == "" {
		t.Errorf("the key alone was to go, but: %q, table %q", text, n.table)
	}
}
