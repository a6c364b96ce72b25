package meshtest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Steering runs the tests of a driver that is a mesh.Steerer.
func Steering(t *testing.T, d spec.MeshDriver, newDriver mesh.New) {
	s := suite{driver: d, newDriver: newDriver}
	t.Run("LeaveAndReturn", s.leaveAndReturn)
	t.Run("LeaveAtBothEnds", s.leaveAtBothEnds)
}

func (n *node) steer(t *testing.T, away ...string) {
	t.Helper()
	s, ok := n.driver.(mesh.Steerer)
	if !ok {
		t.Fatalf("%T steers nothing", n.driver)
	}
	if err := s.Steer(t.Context(), away); err != nil {
		t.Fatalf("node %s: %v", n.name, err)
	}
}

// leaveAndReturn leaves a link that is well, which must lose next to nothing, and one that loses packets, and takes it up again.
func (s suite) leaveAndReturn(t *testing.T) {
	t.Parallel()
	all := []string{hk, sg, us}
	c := s.cluster(t, all...)
	c.nodes[hk].steer(t, us) // without a view it does nothing
	c.apply(t, all)
	c.allConnected(t, all...)
	a, via, b := c.nodes[hk], c.nodes[sg], c.nodes[us]
	indirect := mesh.PeerStatus{Reachable: true, NextHop: via.name}
	detoured := func(ctx context.Context) bool {
		return a.peer(ctx, t, b) == indirect && b.peer(ctx, t, a) == indirect && a.pings(ctx, b)
	}
	direct := func(ctx context.Context) bool {
		return a.peer(ctx, t, b).Direct && b.peer(ctx, t, a).Direct && a.pings(ctx, b)
	}

	// One echo in 20 ms, from before the link is left until after it is in use again.
	watch := a.watch(t, b)
	a.steer(t, b.name)
	t.Logf("left after %s", machinetest.Eventually(t, patience, "traffic goes by the third node", detoured).Round(10*time.Millisecond))
	a.machine.Sys.TakeChanges()
	a.steer(t, b.name) // said again: tincd is not bothered
	for _, change := range a.machine.Sys.TakeChanges() {
		if strings.HasPrefix(change, "signal") || strings.HasPrefix(change, "restart") {
			t.Errorf("the same said again: %s", change)
		}
	}
	a.steer(t)
	t.Logf("returned after %s", machinetest.Eventually(t, patience, "traffic takes the direct way", direct).Round(10*time.Millisecond))
	sent, lost := watch()
	t.Logf("%d of %d echoes lost", lost, sent)
	if lost > sent/10 {
		t.Errorf("%d of %d echoes were lost on a network that loses nothing", lost, sent)
	}

	// A new table, as for a new peer, must not bring the link back, nor must an agent that starts again.
	a.steer(t, b.name)
	machinetest.Eventually(t, patience, "traffic goes by the third node", detoured)
	c.apply(t, []string{hk, us}, hk)
	c.apply(t, all, hk)
	machinetest.Eventually(t, patience, "traffic goes by the third node still", detoured)
	a.driver = s.newDriver(a.machine.Sys, machinetest.Logger(t, a.name))
	c.apply(t, all, hk)
	a.steer(t, b.name)
	if !detoured(t.Context()) {
		machinetest.Eventually(t, patience, "traffic goes by the third node after a restart of the agent", detoured)
	}
	a.steer(t)
	machinetest.Eventually(t, patience, "traffic takes the direct way", direct)

	// With the mesh goes all of it.
	a.steer(t, b.name)
	if err := a.driver.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if tables := a.machine.Run(t, "nft", "list", "tables"); strings.TrimSpace(tables) != "" {
		t.Errorf("left on the machine: %s", tables)
	}
}

// leaveAtBothEnds has both ends leave a link, and one of them return late.
func (s suite) leaveAtBothEnds(t *testing.T) {
	t.Parallel()
	all := []string{hk, sg, us}
	c := s.cluster(t, all...)
	c.apply(t, all)
	c.allConnected(t, all...)
	a, via, b := c.nodes[hk], c.nodes[sg], c.nodes[us]
	indirect := mesh.PeerStatus{Reachable: true, NextHop: via.name}
	a.steer(t, b.name)
	b.steer(t, a.name)
	machinetest.Eventually(t, patience, "traffic goes by the third node", func(ctx context.Context) bool {
		return a.peer(ctx, t, b) == indirect && b.peer(ctx, t, a) == indirect && a.pings(ctx, b) && b.pings(ctx, a)
	})
	a.steer(t)
	never(t, 3*time.Second, "one end alone brings the link back", func(ctx context.Context) bool { return a.peer(ctx, t, b).Direct })
	b.steer(t)
	c.allConnected(t, all...)
}

// watch sends an echo every 20 ms for some seconds, and returns what waits for the end and says how many were sent and lost.
func (n *node) watch(t *testing.T, to *node) func() (sent, lost int) {
	t.Helper()
	var out host.Output
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Ping reports a loss by its status.
		out, _ = n.machine.Sys.System.Run(t.Context(), host.Command{Name: "timeout", Args: []string{"-s", "INT", "12", "ping", "-n", "-i", "0.02", "-W", "1", to.mesh.String()}})
	}()
	return func() (sent, lost int) {
		<-done
		for line := range strings.Lines(string(out.Stdout)) {
			var received int
			if _, err := fmt.Sscanf(line, "%d packets transmitted, %d received", &sent, &received); err == nil {
				lost = sent - received
			}
		}
		if sent == 0 {
			t.Errorf("ping said nothing: %s", out.Stdout)
		}
		return sent, lost
	}
}
