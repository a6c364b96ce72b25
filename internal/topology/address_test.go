package topology_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

func TestAllocateMeshAddressIsStable(t *testing.T) {
	// These must never change: they are in operators' states.
	cidr := netip.MustParsePrefix("10.66.0.0/16")
	for name, want := range map[string]string{"hk1": "10.66.21.12", "hk2": "10.66.26.191", "sg1": "10.66.237.145"} {
		got, err := topology.AllocateMeshAddress(cidr, name, nil)
		if err != nil || got.String() != want {
			t.Errorf("%s: got %s, %v; want %s", name, got, err, want)
		}
	}
}

func TestAllocateMeshAddress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.IntRange(22, 29).Draw(t, "bits")
		cidr := netip.PrefixFrom(netip.MustParseAddr("172.16.0.0"), bits)
		room := 1<<(32-bits) - 2
		count := rapid.IntRange(1, min(room, 40)).Draw(t, "nodes")
		taken := map[netip.Addr]string{}
		last := netip.MustParsePrefix(fmt.Sprintf("172.16.0.0/%d", bits)).Addr()
		for range room + 1 {
			last = last.Next()
		}
		for i := range count {
			name := fmt.Sprintf("%s-%d", rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "name"), i)
			got, err := topology.AllocateMeshAddress(cidr, name, taken)
			if err != nil {
				t.Fatalf("node %d of %d in %s: %v", i, room, cidr, err)
			}
			if owner, collides := taken[got]; collides {
				t.Fatalf("%s got %s, which is %s's", name, got, owner)
			}
			if !cidr.Contains(got) || got == cidr.Addr() || got == last {
				t.Fatalf("%s got %s, which is no host of %s", name, got, cidr)
			}
			taken[got] = name
			again, err := topology.AllocateMeshAddress(cidr, name, taken)
			if err != nil || again != got {
				t.Fatalf("%s got %s and then %s, %v", name, got, again, err)
			}
		}
	})
}

func TestAllocateMeshAddressFull(t *testing.T) {
	cidr := netip.MustParsePrefix("10.66.0.0/29")
	taken := map[netip.Addr]string{}
	for i := range 6 {
		name := fmt.Sprintf("n%d", i)
		got, err := topology.AllocateMeshAddress(cidr, name, taken)
		if err != nil {
			t.Fatal(err)
		}
		taken[got] = name
	}
	if len(taken) != 6 {
		t.Errorf("6 nodes got %d addresses", len(taken))
	}
	if _, err := topology.AllocateMeshAddress(cidr, "n6", taken); !errors.Is(err, topology.ErrCIDRFull) {
		t.Errorf("got %v, want ErrCIDRFull", err)
	}
}

func TestAllocateMeshAddressBadNetwork(t *testing.T) {
	for _, cidr := range []netip.Prefix{{}, netip.MustParsePrefix("fd00::/64")} {
		if got, err := topology.AllocateMeshAddress(cidr, "hk1", nil); err == nil {
			t.Errorf("%s: got %s, want an error", cidr, got)
		}
	}
}
