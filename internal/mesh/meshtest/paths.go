package meshtest

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// ipv6Only joins nodes that have no IPv4 address but that of the mesh.
func (s suite) ipv6Only(t *testing.T) {
	t.Parallel()
	all := []string{hk, sg, us}
	prefix := netip.MustParseAddr("2001:db8::").As16()
	c := newClusterAt(t, s.driver, s.newDriver, nil, func(i int) netip.Addr {
		a := prefix
		a[15] = byte(10 + i)
		return netip.AddrFrom16(a)
	}, all...)
	c.apply(t, all)
	c.allConnected(t, all...)
	a, via, b := c.nodes[hk], c.nodes[sg], c.nodes[us]
	c.internet.Cut(t, a.public, b.public)
	c.internet.Cut(t, b.public, a.public)
	machinetest.Eventually(t, patience, "traffic goes by the third node", func(ctx context.Context) bool {
		return a.peer(ctx, t, b).NextHop == via.name && a.pings(ctx, b)
	})
}

// behindTranslation joins nodes of which two call the third, and nobody can call them: those two meet by way of the third.
func (s suite) behindTranslation(t *testing.T) {
	t.Parallel()
	all := []string{hk, sg, us}
	c := s.cluster(t, all...)
	a, open, b := c.nodes[hk], c.nodes[sg], c.nodes[us]
	for i, n := range []*node{a, b} {
		n.hidden = true
		c.internet.Hide(t, n.public, netip.AddrFrom4([4]byte{203, 0, 113, byte(1 + i)}))
	}
	c.apply(t, all)
	c.allConnected(t, hk, sg)
	c.allConnected(t, sg, us)
	machinetest.Eventually(t, patience, "the two that are hidden meet", func(ctx context.Context) bool {
		return a.peer(ctx, t, b) == (mesh.PeerStatus{Reachable: true, NextHop: open.name}) && a.pings(ctx, b) && b.pings(ctx, a)
	})
}

// Loss runs the test of a driver that leaves links which lose packets by itself.
func Loss(t *testing.T, d spec.MeshDriver, newDriver mesh.New) {
	s := suite{driver: d, newDriver: newDriver}
	all := []string{hk, sg, us}
	c := s.cluster(t, all...)
	c.apply(t, all)
	c.allConnected(t, all...)
	a, via, b := c.nodes[hk], c.nodes[sg], c.nodes[us]
	lossy := func(percent int) []string {
		return []string{machinetest.DropSome(a.public, b.public, percent), machinetest.DropSome(b.public, a.public, percent)}
	}
	leaves := func(what string) {
		t.Helper()
		t.Logf("%s: left after %s", what, machinetest.Eventually(t, patience, what+": traffic goes by the third node", func(ctx context.Context) bool {
			want := mesh.PeerStatus{Reachable: true, NextHop: via.name}
			return a.peer(ctx, t, b) == want && b.peer(ctx, t, a) == want
		}).Round(10*time.Millisecond))
	}
	set := func(rules ...string) {
		t.Helper()
		if err := c.internet.SetCuts(t.Context(), rules...); err != nil {
			t.Fatal(err)
		}
	}

	set(lossy(20)...)
	leaves("20 % loss")
	// One echo in 20 ms for some seconds. The link may be tried again meanwhile, and left again.
	if sent, lost := a.watch(t, b)(); lost > sent/4 {
		t.Errorf("%d of %d echoes lost, of which the link alone loses 36 %%", lost, sent)
	}
	set(machinetest.DropSome(a.public, b.public, 40))
	leaves("40 % loss one way")
	set()
	c.allConnected(t, all...)

	// Who has no other way keeps the bad one.
	set(append(lossy(40), machinetest.Drop(a.public, via.public), machinetest.Drop(via.public, a.public))...)
	machinetest.Eventually(t, patience, "the third node is out of reach by its own link", func(ctx context.Context) bool {
		return !a.peer(ctx, t, via).Direct
	})
	answered := 0
	machinetest.Eventually(t, patience, "echoes come back by the bad link", func(ctx context.Context) bool {
		if a.pings(ctx, b) {
			answered++
		}
		return answered >= 5
	})
}
