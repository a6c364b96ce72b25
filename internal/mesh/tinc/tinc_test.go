package tinc_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/tinc"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fakeNode is a machine in memory with just enough of tincd, ip, nft and ping for the driver.
type fakeNode struct {
	*hosttest.Host
	driver mesh.Driver
	key    string

	mu      sync.Mutex
	filter  string
	held    string
	address string
	lookup  map[string]string
	lookups int
	pings   map[string]string
	// deaf makes the running tincd obey nothing.
	deaf bool
}

var (
	coreWord    = regexp.MustCompile(`(?m)^echo (\w+) >`)
	addressWord = regexp.MustCompile(`(?m)^ip address replace (\S+)`)
)

func newFakeNode(t *testing.T) *fakeNode {
	t.Helper()
	n := &fakeNode{Host: hosttest.New(), lookup: map[string]string{}, pings: map[string]string{}}
	n.HandleStart(tinc.UnitName, func() {
		up, err := n.ReadFile(tinc.UpPath)
		if err != nil {
			t.Errorf("tincd starts without tinc-up: %v", err)
			return
		}
		n.setAddress(addressWord.FindStringSubmatch(string(up))[1])
		_, _ = n.WriteFile(tinc.CorePath, []byte(coreWord.FindStringSubmatch(string(up))[1]+"\n"), 0o644)
		n.deaf = false
		n.says("tincd 1.0.36 starting, debug level 1", "Ready")
	})
	n.HandleSignal(tinc.UnitName, func(signal string) {
		if signal != "HUP" {
			t.Errorf("tincd got signal %s, which may stop it for ever", signal)
		}
		if !n.deaf {
			n.says("Got HUP signal")
		}
	})
	n.Handle("ip", func(c host.Command) (host.Output, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		switch {
		case strings.HasPrefix(c.String(), "ip address replace"):
			n.address = c.Args[2]
		case strings.HasPrefix(c.String(), "ip link delete"):
			n.address = ""
		case c.ReadOnly && n.address != "":
			addr, bits, _ := strings.Cut(n.address, "/")
			return host.Output{Stdout: []byte(fmt.Sprintf(
				`[{"ifname":"lo","flags":["UP"],"addr_info":[{"local":"127.0.0.1","prefixlen":8}]},{},{"ifname":"atoll0","flags":["POINTOPOINT","UP"],"addr_info":[{"local":%q,"prefixlen":%s}]}]`, addr, bits))}, nil
		}
		return host.Output{}, nil
	})
	n.Handle("nft", func(c host.Command) (host.Output, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		switch {
		case len(c.Stdin) > 0:
			n.held = string(c.Stdin)
		case c.Args[0] == "-f":
			rules, err := n.ReadFile(c.Args[1])
			_, n.filter, _ = strings.Cut(string(rules), "delete table inet atoll_mesh\n")
			return host.Output{}, err
		case c.Args[0] == "delete":
			n.filter = ""
		case c.Args[1] == "tables" && n.filter != "":
			return host.Output{Stdout: []byte("table inet other\ntable inet atoll_mesh\n")}, nil
		case c.Args[1] == "table":
			return host.Output{Stdout: []byte(n.filter)}, nil
		}
		return host.Output{}, nil
	})
	n.Handle("ping", func(c host.Command) (host.Output, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		answer, ok := n.pings[strings.Join(c.Args, " ")]
		if !ok {
			return host.Output{}, hosttest.Fail(c, 1, "")
		}
		if answer == "" {
			return host.Output{}, nil
		}
		return host.Output{Stdout: []byte(answer)}, hosttest.Fail(c, 1, "")
	})
	n.newDriver()
	key, err := n.driver.EnsureKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n.key = key
	return n
}

// newDriver is what a restart of the agent does.
func (n *fakeNode) newDriver() {
	n.driver = tinc.NewWith(n.Host, slog.New(slog.DiscardHandler), tinc.Options{
		KeyBits: 2048,
		Lookup: func(_ context.Context, name string) ([]netip.Addr, error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.lookups++
			var out []netip.Addr
			for _, a := range strings.Fields(n.lookup[name]) {
				out = append(out, netip.MustParseAddr(a))
			}
			if out == nil {
				return nil, fmt.Errorf("lookup %s: no such host", name)
			}
			return out, nil
		},
	})
}

func (n *fakeNode) says(lines ...string) {
	for _, line := range lines {
		n.Append(tinc.LogPath, "2026-11-21 03:00:32 tinc[15]: "+line+"\n")
	}
}

func (n *fakeNode) setAddress(a string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.address = a
}

// golden compares the state of the machine with a golden file, keys and digests replaced by words.
func (n *fakeNode) golden(t *testing.T, name string, keys map[string]string) {
	t.Helper()
	got := n.Text()
	n.mu.Lock()
	got += "nft\n\t" + strings.ReplaceAll(strings.TrimSpace(n.filter), "\n", "\n\t") + "\n"
	if n.held != "" {
		got += "nft\n\t" + n.held
	}
	n.held = ""
	n.mu.Unlock()
	for who, key := range keys {
		got = strings.ReplaceAll(got, "\t"+strings.ReplaceAll(strings.TrimSpace(key), "\n", "\n\t"), "\t(key of "+who+")")
	}
	got = regexp.MustCompile(`\b[0-9a-f]{32,64}\b`).ReplaceAllString(got, "(digest)")
	file := filepath.Join("testdata", name+".golden")
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
}

// newKey returns a public key of some other node.
func newKey(t *testing.T) string {
	t.Helper()
	key, err := tinc.NewWith(hosttest.New(), slog.New(slog.DiscardHandler), tinc.Options{KeyBits: 2048}).EnsureKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func peer(name, meshAddress, key string, addresses ...string) topology.Peer {
	return topology.Peer{Name: name, MeshAddress: netip.MustParseAddr(meshAddress), MeshKey: key, Addresses: addresses, APIPort: 7443}
}

func view(n *fakeNode, peers ...topology.Peer) *topology.View {
	return &topology.View{
		Cluster: "web", Mesh: spec.DefaultMesh(), CIDR: netip.MustParsePrefix("10.66.0.0/16"),
		Self: peer("hk-colo", "10.66.21.12", n.key, "198.51.100.1"), Peers: peers,
	}
}

func apply(t *testing.T, n *fakeNode, v *topology.View) {
	t.Helper()
	if err := n.driver.Apply(t.Context(), v); err != nil {
		t.Fatal(err)
	}
}

func TestApply(t *testing.T) {
	n := newFakeNode(t)
	n.lookup["us.example"] = "2001:db8::3 203.0.113.3"
	keys := map[string]string{"hk-colo": n.key, "sg-1": newKey(t), "us-1": newKey(t)}
	sg := peer("sg-1", "10.66.0.2", keys["sg-1"], "203.0.113.2")
	us := peer("us-1", "10.66.0.3", keys["us-1"], "us.example", "203.0.113.3")
	us.Link = spec.LinkSettings{TCPOnly: true, MTU: 1400}

	apply(t, n, view(n))
	n.golden(t, "alone", keys)
	apply(t, n, view(n, sg, us))
	n.golden(t, "three", keys)

	before := n.Text()
	apply(t, n, view(n, sg, us))
	if diff := cmp.Diff(before, n.Text()); diff != "" {
		t.Errorf("the second Apply changed something (-before +after):\n%s", diff)
	}
	n.newDriver()
	apply(t, n, view(n, sg, us))
	if diff := cmp.Diff(before, n.Text()); diff != "" {
		t.Errorf("Apply of a new agent changed something (-before +after):\n%s", diff)
	}

	// A node that cannot be reached is not dialled.
	sg.Addresses = nil
	apply(t, n, view(n, sg))
	n.golden(t, "removed", keys)
	v := view(n, sg)
	v.Mesh.Tinc = &spec.Tinc{PingInterval: 10, PingTimeout: 3, MaxTimeout: 60}
	v.Mesh.Port = 6550
	apply(t, n, v)
	n.golden(t, "timers", keys)

	apply(t, n, nil)
	want := "nft\n\t\n"
	if got := n.Text(); !strings.HasPrefix(got, "run ") || strings.Contains(got, "file ") || strings.Contains(got, "unit ") {
		t.Errorf("left on the machine: %s", got)
	}
	apply(t, n, nil)
	n.golden(t, "nothing", nil)
	if got := "nft\n\t" + n.filter + "\n"; got != want {
		t.Errorf("filter left: %q", got)
	}
}

// TestApplyAfterCrash stops the agent at every change it makes and starts it again: the node must always end up the same.
func TestApplyAfterCrash(t *testing.T) {
	key := map[string]string{"sg-1": newKey(t), "us-1": newKey(t), "us-1 again": newKey(t)}
	first := func(n *fakeNode) *topology.View {
		return view(n, peer("sg-1", "10.66.0.2", key["sg-1"], "203.0.113.2"), peer("us-1", "10.66.0.3", key["us-1"], "203.0.113.3"))
	}
	second := func(n *fakeNode) *topology.View {
		v := view(n, peer("us-1", "10.66.0.3", key["us-1 again"], "203.0.113.3"))
		v.Mesh.Port = 6550
		return v
	}
	hostFiles := func(n *fakeNode) string {
		var out strings.Builder
		for line := range strings.Lines(n.Text()) {
			if !strings.HasPrefix(line, "run ") && !strings.HasPrefix(line, "unit ") {
				out.WriteString(strings.ReplaceAll(line, n.key, "KEY"))
			}
		}
		return out.String()
	}
	errCrash := errors.New("crash")
	for at := range 40 {
		n := newFakeNode(t)
		apply(t, n, first(n))
		crashing := &crashingSystem{Host: n.Host, left: at, err: errCrash}
		err := tinc.NewWith(crashing, slog.New(slog.DiscardHandler), tinc.Options{}).Apply(t.Context(), second(n))
		if err != nil && !errors.Is(err, errCrash) {
			t.Fatalf("crash at change %d: %v", at, err)
		}
		n.newDriver()
		apply(t, n, second(n))
		up, _ := n.ReadFile(tinc.UpPath)
		core, _ := n.ReadFile(tinc.CorePath)
		if got, want := strings.TrimSpace(string(core)), coreWord.FindStringSubmatch(string(up))[1]; got != want {
			t.Errorf("crash at change %d: tincd runs with an older configuration than is there", at)
		}
		if got := hostFiles(n); strings.Contains(got, "hosts/sg_1") || !strings.Contains(got, "hosts/us_1") {
			t.Errorf("crash at change %d: host files are\n%s", at, got)
		}
		before := n.Text()
		n.newDriver()
		apply(t, n, second(n))
		if diff := cmp.Diff(before, n.Text()); diff != "" {
			t.Errorf("crash at change %d: not settled (-before +after):\n%s", at, diff)
		}
		if err == nil {
			if at < 5 {
				t.Errorf("only %d changes were seen", at)
			}
			return // the whole Apply went through
		}
	}
	t.Error("Apply makes more changes than this test has crashes")
}
