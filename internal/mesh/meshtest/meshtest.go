// Package meshtest holds the tests that every mesh driver passes. They run the real driver and its real software in network
// namespaces which they make themselves: one machine for each node and a router between all, whose firewall cuts links.
package meshtest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Require skips the test, loudly, where machines of namespaces cannot be made, and fails it where a program is missing.
func Require(t *testing.T, programs ...string) {
	t.Helper()
	machinetest.Require(t, append(programs, "ping")...)
}

// patience is how long something that must happen may take on a machine that has too much to do.
const patience = time.Minute

// The nodes of most tests. A hyphen in a name is a trap for some technologies.
const (
	hk = "hk-1"
	sg = "sg-2"
	us = "us-3"
)

// Run runs every conformance test on the driver d that newDriver makes. Unit is the service that the driver keeps. They run beside each other,
// each with machines of its own.
func Run(t *testing.T, d spec.MeshDriver, newDriver mesh.New, unit string) {
	s := suite{driver: d, newDriver: newDriver, unit: unit}
	t.Run("Lifecycle", s.lifecycle)
	t.Run("Detour", s.detour)
	t.Run("Removal", s.removal)
	t.Run("Rotation", s.rotation)
	t.Run("Distance", s.distance)
	t.Run("IPv6Only", s.ipv6Only)
	t.Run("BehindTranslation", s.behindTranslation)
}

type suite struct {
	driver    spec.MeshDriver
	newDriver mesh.New
	unit      string
}

func (s suite) cluster(t *testing.T, names ...string) *cluster {
	t.Helper()
	return newCluster(t, s.driver, s.newDriver, nil, names...)
}

// lifecycle follows one cluster of three from first start to the last trace gone.
func (s suite) lifecycle(t *testing.T) {
	t.Parallel()
	all := []string{hk, sg, us}
	c := s.cluster(t, all...)
	first := c.nodes[hk]
	// The third joins late, which must not disturb the two that are there.
	c.apply(t, []string{hk, sg})
	c.allConnected(t, hk, sg)
	before := mainPID(t, first, s.unit)
	c.apply(t, all)
	c.allConnected(t, all...)
	if got := mainPID(t, first, s.unit); got != before {
		t.Errorf("a third node joined: process %d was replaced by %d", before, got)
	}

	t.Run("Idempotent", func(t *testing.T) {
		for _, name := range all {
			c.nodes[name].machine.Sys.TakeChanges()
		}
		c.apply(t, all)
		for _, name := range all {
			if got := c.nodes[name].machine.Sys.TakeChanges(); len(got) != 0 {
				t.Errorf("node %s: the second Apply changed something: %s", name, strings.Join(got, "; "))
			}
		}
		if got := mainPID(t, first, s.unit); got != before {
			t.Errorf("process %d was replaced by %d", before, got)
		}
	})

	t.Run("NewDriverChangesNothing", func(t *testing.T) {
		// An agent that was started again knows nothing of the past.
		first.driver = s.newDriver(first.machine.Sys, machinetest.Logger(t, first.name))
		first.machine.Sys.TakeChanges()
		c.apply(t, all, hk)
		if got := first.machine.Sys.TakeChanges(); len(got) != 0 {
			t.Errorf("changes: %s", strings.Join(got, "; "))
		}
		c.allConnected(t, all...)
	})

	t.Run("LargestPacket", func(t *testing.T) {
		// What the interface takes must arrive whole.
		st, err := first.driver.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		mtu := interfaceMTU(t, first, st.Interface)
		first.machine.Run(t, "ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s", strconv.Itoa(mtu-28), c.nodes[sg].mesh.String())
	})

	t.Run("LinkSettings", func(t *testing.T) {
		c.links[spec.LinkName(hk, sg)] = spec.Link{From: sg, To: hk, Settings: spec.LinkSettings{TCPOnly: s.driver.TCP(), MTU: 1400}}
		c.apply(t, all)
		c.internet.DropUDP(t, first.public, c.nodes[sg].public)
		if s.driver.TCP() {
			// A pair that is told to do without UDP does.
			c.allConnected(t, all...)
		} else {
			machinetest.Eventually(t, patience, "the pair goes by the third node", func(ctx context.Context) bool {
				return first.peer(ctx, t, c.nodes[sg]).NextHop == us && first.pings(ctx, c.nodes[sg])
			})
		}
		// The settings of one pair are nothing to the others.
		if !first.peer(t.Context(), t, c.nodes[us]).Direct {
			t.Error("another pair is not directly connected")
		}
		if got := mainPID(t, first, s.unit); got != before {
			t.Errorf("process %d was replaced by %d", before, got)
		}
		c.internet.Heal(t)
		delete(c.links, spec.LinkName(hk, sg))
		c.apply(t, all)
		c.allConnected(t, all...)
	})

	t.Run("KeyKept", func(t *testing.T) {
		key := first.key
		if err := first.machine.Sys.Units().Restart(t.Context(), s.unit); err != nil {
			t.Fatal(err)
		}
		first.driver = s.newDriver(first.machine.Sys, machinetest.Logger(t, first.name))
		first.ensureKey(t)
		if diff := cmp.Diff(key, first.key); diff != "" {
			t.Errorf("key changed (-before +after):\n%s", diff)
		}
		c.apply(t, all, hk)
		c.allConnected(t, all...)
	})

	t.Run("Repair", func(t *testing.T) {
		if err := first.machine.Sys.Kill(s.unit); err != nil {
			t.Fatal(err)
		}
		if st, err := first.driver.Status(t.Context()); err != nil || st.Running {
			t.Errorf("after a kill: running %t, error %v", st.Running, err)
		}
		c.apply(t, all, hk)
		c.allConnected(t, all...)
	})

	t.Run("RepairAddress", func(t *testing.T) {
		st, err := first.driver.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		first.machine.Run(t, "ip", "address", "flush", "dev", st.Interface)
		c.apply(t, all, hk)
		c.allConnected(t, all...)
	})

	t.Run("NothingLeft", func(t *testing.T) { s.nothingLeft(t, c, first) })
}

func (s suite) nothingLeft(t *testing.T, c *cluster, n *node) {
	t.Helper()
	empty := machinetest.New(t, "empty")
	want := snapshot(t, empty)
	for range 2 {
		if err := n.driver.Apply(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, snapshot(t, n.machine)); diff != "" {
		t.Errorf("left on the machine (-untouched +after):\n%s", diff)
	}
	if got := mainPID(t, n, s.unit); got != 0 {
		t.Errorf("unit %s still runs as process %d", s.unit, got)
	}
	key := n.key
	n.ensureKey(t)
	if n.key == key {
		t.Error("the key was kept")
	}
	if c.nodes[sg].pings(t.Context(), n) {
		t.Error("the removed node still answers")
	}
}

// interfaceMTU returns the largest packet that a machine's interface takes, in bytes.
func interfaceMTU(t *testing.T, n *node, name string) int {
	t.Helper()
	_, rest, _ := strings.Cut(n.machine.Run(t, "ip", "-o", "link", "show", "dev", name), " mtu ")
	text, _, _ := strings.Cut(rest, " ")
	mtu, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return mtu
}

// snapshot returns what a machine has beyond the network that the test made: files in its layer of /etc and in /run,
// firewall tables, interfaces.
func snapshot(t *testing.T, m *machinetest.Machine) []string {
	t.Helper()
	files := m.Run(t, "find", "/run/.etc/upper", "/run", "-path", "/run/.etc/work", "-prune", "-o", "-type", "f", "-print")
	tables := m.Run(t, "nft", "list", "tables")
	var links []string
	for line := range strings.Lines(m.Run(t, "ip", "-o", "link", "show")) {
		if name := strings.Fields(line)[1]; !strings.HasPrefix(name, "eth0@") {
			links = append(links, name)
		}
	}
	out := append(strings.Fields(files), strings.TrimSpace(tables))
	out = append(out, links...)
	slices.Sort(out)
	return out
}

// detour cuts links and sees whether traffic finds another way, and the way back.
func (s suite) detour(t *testing.T) {
	t.Parallel()
	all := []string{hk, sg, us}
	c := s.cluster(t, all...)
	c.apply(t, all)
	c.allConnected(t, all...)
	a, via, b := c.nodes[hk], c.nodes[sg], c.nodes[us]
	detoured := func(ctx context.Context) bool {
		want := mesh.PeerStatus{Reachable: true, NextHop: via.name}
		return a.peer(ctx, t, b) == want && b.peer(ctx, t, a) == want && a.pings(ctx, b)
	}
	t.Run("Cut", func(t *testing.T) {
		c.internet.Cut(t, a.public, b.public)
		c.internet.Cut(t, b.public, a.public)
		t.Logf("detour after %s", machinetest.Eventually(t, patience, "traffic goes by the third node", detoured).Round(10*time.Millisecond))
		machinetest.Eventually(t, patience, "the link that was not cut is in use", func(ctx context.Context) bool { return a.peer(ctx, t, via).Direct })
		c.internet.Heal(t)
		c.allConnected(t, all...)
	})

	t.Run("OneWayCut", func(t *testing.T) {
		c.internet.Cut(t, a.public, b.public)
		t.Logf("detour after %s", machinetest.Eventually(t, patience, "traffic goes by the third node", detoured).Round(10*time.Millisecond))
		c.internet.Heal(t)
		c.allConnected(t, all...)
	})

	t.Run("Alone", func(t *testing.T) {
		for _, other := range []*node{via, b} {
			c.internet.Cut(t, a.public, other.public)
			c.internet.Cut(t, other.public, a.public)
		}
		machinetest.Eventually(t, patience, "the node sees nobody and nobody sees it", func(ctx context.Context) bool {
			return !a.peer(ctx, t, b).Reachable && !a.peer(ctx, t, via).Reachable && !b.peer(ctx, t, a).Reachable
		})
		c.internet.Heal(t)
		c.allConnected(t, all...)
	})
}
