package tinc_test

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/tinc"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// A peer's faults must be said and must not touch the other peers.
func TestApplyWithBadPeer(t *testing.T) {
	good := newKey(t)
	tests := []struct {
		name string
		bad  topology.Peer
		want string
		// listed tells whether the bad peer still gets a host file.
		listed bool
	}{
		{"no key", peer("bad", "10.66.0.9", "garbage", "203.0.113.9"), `mesh key of node "bad"`, false},
		{"a key that brings configuration", peer("bad", "10.66.0.9", "Subnet = 10.66.0.0/16\n"+good, "203.0.113.9"), "", true},
		{"configuration after the key", peer("bad", "10.66.0.9", good+"Subnet = 10.66.0.0/16\n", "203.0.113.9"), `mesh key of node "bad"`, false},
		{"unknown host name", peer("bad", "10.66.0.9", good, "nowhere.example"), `address of node "bad"`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newFakeNode(t)
			err := n.driver.Apply(t.Context(), view(n, peer("ok", "10.66.0.2", good, "203.0.113.2"), tt.bad))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
			names, err := n.ReadDir(tinc.HostsDir)
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"hk_colo", "ok"}
			if tt.listed {
				want = []string{"bad", "hk_colo", "ok"}
			}
			if diff := cmp.Diff(want, names); diff != "" {
				t.Errorf("host files (-want +got):\n%s", diff)
			}
			if text := n.Text(); strings.Contains(text, "Subnet = 10.66.0.0/16") {
				t.Error("a peer's claim became configuration")
			}
		})
	}
}

func TestResolvedAddressOutlivesTheNameServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		p := peer("sg-1", "10.66.0.2", newKey(t), "sg.example")
		n.lookup["sg.example"] = "203.0.113.2"
		apply(t, n, view(n, p))
		apply(t, n, view(n, p))
		if n.lookups != 1 {
			t.Errorf("two Applys asked %d times", n.lookups)
		}
		delete(n.lookup, "sg.example")
		_ = n.Text() // forget what was run
		before := n.Text()
		<-time.After(2 * time.Minute)
		apply(t, n, view(n, p))
		if diff := cmp.Diff(before, n.Text()); diff != "" || n.lookups != 2 {
			t.Errorf("without a name server, asked %d times (-before +after):\n%s", n.lookups, diff)
		}
		// It comes back with another answer, which is not waited for as long as a good one is kept.
		n.lookup["sg.example"] = "203.0.113.7"
		<-time.After(15 * time.Second)
		apply(t, n, view(n, p))
		if text := n.Text(); !strings.Contains(text, "Address = 203.0.113.7 655") {
			t.Errorf("the new address is not used:\n%s", text)
		}
	})
}

func TestApplyWithOtherOwnKey(t *testing.T) {
	n := newFakeNode(t)
	v := view(n)
	v.Self.MeshKey = newKey(t)
	if err := n.driver.Apply(t.Context(), v); err == nil || !strings.Contains(err.Error(), "until it joins again") {
		t.Errorf("got %v, want an error that says what to do", err)
	}
}

func TestApplyWithoutKey(t *testing.T) {
	n := newFakeNode(t)
	v := view(n)
	if _, err := n.Remove(tinc.KeyPath); err != nil {
		t.Fatal(err)
	}
	if err := n.driver.Apply(t.Context(), v); err == nil {
		t.Error("a node without a key has a mesh")
	}
}

func TestDamagedKeyIsNotReplaced(t *testing.T) {
	n := newFakeNode(t)
	for _, damaged := range []string{"", "garbage", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"} {
		if _, err := n.WriteFile(tinc.KeyPath, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if key, err := n.driver.EnsureKey(t.Context()); err == nil || !strings.Contains(err.Error(), tinc.KeyPath) {
			t.Errorf("%q: got key %q, error %v; want an error that names the file", damaged, key, err)
		}
		if left, _ := n.ReadFile(tinc.KeyPath); string(left) != damaged {
			t.Errorf("%q was replaced", damaged)
		}
	}
}

// TestDeafDaemon gives the driver a tincd that runs and obeys nothing.
func TestDeafDaemon(t *testing.T) {
	n := newFakeNode(t)
	p := peer("sg-1", "10.66.0.2", newKey(t), "203.0.113.2")
	n.driver = tinc.NewWith(n.Host, slog.New(slog.DiscardHandler), tinc.Options{Settle: 50 * time.Millisecond})
	apply(t, n, view(n, p))
	n.deaf = true
	apply(t, n, view(n))
	if text := n.Text(); !strings.Contains(text, "running=true starts=2") {
		t.Errorf("tincd was not started again:\n%s", text)
	}
}

func TestDaemonThatDoesNotStart(t *testing.T) {
	n := newFakeNode(t)
	n.HandleStart(tinc.UnitName, func() { n.says("tincd 1.0.36 starting, debug level 1", "Could not open /dev/net/tun") })
	n.driver = tinc.NewWith(n.Host, slog.New(slog.DiscardHandler), tinc.Options{Settle: 50 * time.Millisecond})
	if err := n.driver.Apply(t.Context(), view(n)); err == nil || !strings.Contains(err.Error(), "Could not open /dev/net/tun") {
		t.Errorf("got %v, want tincd's last words", err)
	}
}

func TestPlan(t *testing.T) {
	n := newFakeNode(t)
	plan := host.NewPlan(n.Host)
	planned := tinc.New(plan, slog.New(slog.DiscardHandler))
	before := n.Text()
	if err := planned.Apply(t.Context(), view(n, peer("sg-1", "10.66.0.2", newKey(t), "203.0.113.2"))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, n.Text()); diff != "" {
		t.Errorf("the plan changed the node (-before +after):\n%s", diff)
	}
	want := []string{
		"create /etc/tinc/atoll/filter.nft",
		"create /etc/tinc/atoll/hold/sg_1",
		"run nft -f /etc/tinc/atoll/filter.nft",
		"run nft -f -",
		"create /etc/tinc/atoll/hosts/hk_colo",
		"create /etc/tinc/atoll/hosts/sg_1",
		"create /etc/tinc/atoll/tinc.conf",
		"create /etc/tinc/atoll/subnet-up",
		"create /etc/tinc/atoll/subnet-down",
		"create /etc/tinc/atoll/tinc-up",
		"create /etc/systemd/system/atoll-tinc.service",
		"enable atoll-tinc.service",
		"start atoll-tinc.service",
	}
	if diff := cmp.Diff(want, plan.Changes()); diff != "" {
		t.Errorf("planned changes (-want +got):\n%s", diff)
	}
}

func TestStatus(t *testing.T) {
	n := newFakeNode(t)
	status := func() mesh.Status {
		st, err := n.driver.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	if diff := cmp.Diff(mesh.Status{Interface: "atoll0", Peers: map[string]mesh.PeerStatus{}}, status()); diff != "" {
		t.Errorf("before the first Apply (-want +got):\n%s", diff)
	}
	key := newKey(t)
	apply(t, n, view(n, peer("sg-1", "10.66.0.2", key), peer("us-1", "10.66.0.3", key), peer("eu-1", "10.66.0.4", key)))
	check := func(what string, want map[string]mesh.PeerStatus) {
		t.Helper()
		if diff := cmp.Diff(mesh.Status{Running: true, Interface: "atoll0", Peers: want}, status()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	none, direct := mesh.PeerStatus{}, mesh.PeerStatus{Reachable: true, Direct: true}
	check("nobody is there", map[string]mesh.PeerStatus{"sg-1": none, "us-1": none, "eu-1": none})

	n.says("Connection with sg_1 (203.0.113.2 port 655) activated")
	n.pings["-t 1 -n -c 1 -W 1 10.66.0.3"] = "PING 10.66.0.3 (10.66.0.3) 56(84) bytes of data.\nFrom 10.66.0.2 icmp_seq=1 Time to live exceeded\n"
	n.pings["-n -c 1 -W 1 10.66.0.3"] = ""
	detour := mesh.PeerStatus{Reachable: true, NextHop: "sg-1"}
	check("one direct, one by it, one away", map[string]mesh.PeerStatus{"sg-1": direct, "us-1": detour, "eu-1": none})

	// Nodes tell of a detour three times a second at most.
	delete(n.pings, "-t 1 -n -c 1 -W 1 10.66.0.3")
	check("a silent detour", map[string]mesh.PeerStatus{"sg-1": direct, "us-1": detour, "eu-1": none})

	n.says("Closing connection with sg_1 (203.0.113.2 port 655)")
	n.pings["-t 1 -n -c 1 -W 1 10.66.0.4"] = ""
	check("a connection that the log does not tell of", map[string]mesh.PeerStatus{"sg-1": none, "us-1": detour, "eu-1": direct})
	delete(n.pings, "-t 1 -n -c 1 -W 1 10.66.0.4")
	n.says("Closing connection with eu_1 (203.0.113.4 port 655)")
	check("it closes", map[string]mesh.PeerStatus{"sg-1": none, "us-1": detour, "eu-1": none})

	n.Kill(tinc.UnitName)
	if diff := cmp.Diff(mesh.Status{Interface: "atoll0", Peers: map[string]mesh.PeerStatus{"sg-1": none, "us-1": none, "eu-1": none}}, status()); diff != "" {
		t.Errorf("tincd is dead (-want +got):\n%s", diff)
	}
}

func TestLongLogIsEmptied(t *testing.T) {
	n := newFakeNode(t)
	p := peer("sg-1", "10.66.0.2", newKey(t), "203.0.113.2")
	apply(t, n, view(n, p))
	n.says("Connection with sg_1 (203.0.113.2 port 655) activated", strings.Repeat("x", 300<<10))
	n.Handle("sh", func(c host.Command) (host.Output, error) {
		if c.Args[2] != tinc.LogPath {
			return host.Output{}, hosttest.Fail(c, 1, "other file")
		}
		_, err := n.WriteFile(tinc.LogPath, []byte(c.Args[3]+"\n"), 0o644)
		return host.Output{}, err
	})
	for range 2 {
		st, err := n.driver.Status(t.Context())
		if err != nil || !st.Peers["sg-1"].Direct {
			t.Errorf("got %+v, %v; want sg-1 direct", st, err)
		}
	}
	if log, _ := n.ReadFile(tinc.LogPath); len(log) > 1000 {
		t.Errorf("the log has %d bytes", len(log))
	}
	// An agent that starts after that must not take tincd for one that is still starting.
	n.newDriver()
	apply(t, n, view(n))
	if text := n.Text(); !strings.Contains(text, "starts=1") {
		t.Errorf("tincd was started again:\n%s", text)
	}
}

func TestPayload(t *testing.T) {
	// What fits a path: IPv6 and UDP headers, cipher blocks with sequence number and padding, MAC.
	for mtu := 576; mtu <= 9000; mtu++ {
		p := tinc.Payload(mtu)
		onWire := 40 + 8 + ((p+4)/16+1)*16 + 16
		more := 40 + 8 + ((p+5)/16+1)*16 + 16
		if onWire > mtu || more <= mtu {
			t.Fatalf("path of %d bytes: payload %d makes %d, one more %d", mtu, p, onWire, more)
		}
	}
	if got := tinc.Payload(1492) - 14; got < tinc.MTU {
		t.Errorf("a path of 1492 bytes carries packets of %d, the interface sends %d", got, tinc.MTU)
	}
}
