package meshtest

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
)

// mainPID returns the process of a node's unit, 0 when it does not run.
func mainPID(t *testing.T, n *node, unit string) int {
	t.Helper()
	st, err := n.machine.Sys.Units().Status(t.Context(), unit)
	if err != nil {
		t.Fatal(err)
	}
	return st.MainPID
}

// echoesReceived returns how many echo requests a machine has taken in, after its firewall.
func echoesReceived(t *testing.T, m *machinetest.Machine) int {
	t.Helper()
	var names, values []string
	for line := range strings.Lines(m.Run(t, "cat", "/proc/net/snmp")) {
		if rest, ok := strings.CutPrefix(line, "Icmp:"); ok {
			names, values = values, strings.Fields(rest)
		}
	}
	for i, name := range names {
		if name == "InEchos" {
			n, err := strconv.Atoi(values[i])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("the kernel counts no echoes")
	return 0
}

// removal removes a node that does not want to go, while not everybody has heard of it yet.
func (s suite) removal(t *testing.T) {
	t.Parallel()
	all, rest := []string{hk, sg, us}, []string{hk, sg}
	c := s.cluster(t, all...)
	c.apply(t, all)
	c.allConnected(t, all...)
	a, late, gone := c.nodes[hk], c.nodes[sg], c.nodes[us]

	t.Run("AtOnceThoughOneHasNotHeard", func(t *testing.T) {
		c.apply(t, rest, hk)
		before := echoesReceived(t, a.machine)
		for range 3 {
			if gone.pings(t.Context(), a) || a.pings(t.Context(), gone) {
				t.Fatal("the removed node still talks to a node that has removed it")
			}
		}
		if got := echoesReceived(t, a.machine); got != before {
			t.Errorf("%d packets of the removed node came in by the one that has not heard", got-before)
		}
		c.allConnected(t, rest...)
	})

	t.Run("CannotComeBack", func(t *testing.T) {
		c.apply(t, rest, sg)
		if err := gone.machine.Sys.Units().Restart(t.Context(), s.unit); err != nil {
			t.Fatal(err)
		}
		// Longer than the pause between two attempts of the removed node to connect.
		never(t, 8*time.Second, "the removed node is back", func(ctx context.Context) bool {
			for _, n := range []*node{a, late} {
				if gone.pings(ctx, n) || n.peer(ctx, t, gone).Reachable {
					return true
				}
			}
			return false
		})
		c.allConnected(t, rest...)
	})

	t.Run("SameNameAndAddressNewKey", func(t *testing.T) {
		if err := gone.driver.Apply(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		gone.ensureKey(t)
		c.apply(t, all)
		c.allConnected(t, all...)
	})

	t.Run("KeyReplacedInOneStep", func(t *testing.T) {
		// Tombstone and new node may arrive together: the old key must not stay in use.
		old := gone.machine
		if err := gone.driver.Apply(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		gone.ensureKey(t)
		c.apply(t, all, hk, sg)
		if got := mainPID(t, gone, s.unit); got != 0 {
			t.Fatalf("unit %s of %s still runs", s.unit, old.Name)
		}
		c.apply(t, all, us)
		c.allConnected(t, all...)
	})
}
