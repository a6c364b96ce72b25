package meshtest

import (
	"context"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Fitting runs the test of a driver that is a mesh.Fitter: on a path that takes no large packets, and says nothing.
func Fitting(t *testing.T, d spec.MeshDriver, newDriver mesh.New) {
	s := suite{driver: d, newDriver: newDriver}
	all := []string{hk, sg, us}
	c := s.cluster(t, all...)
	a, b, other := c.nodes[hk], c.nodes[us], c.nodes[sg]
	const path = 1280
	a.fit(t, b, path) // without a view it does nothing
	c.apply(t, all)
	c.allConnected(t, all...)
	if !a.pingsLarge(t.Context(), b) {
		t.Error("a large echo does not come back over a path that takes everything")
	}

	narrow := []string{machinetest.DropLarger(a.public, b.public, path), machinetest.DropLarger(b.public, a.public, path)}
	c.internet.SetCutsOrFail(t, narrow...)
	if a.pingsLarge(t.Context(), b) || !a.pings(t.Context(), b) {
		t.Error("either a large echo comes back over a path that does not take it, or a small one does not")
	}
	a.fit(t, b, path)
	b.fit(t, a, path)
	if !a.pingsLarge(t.Context(), b) || !b.pingsLarge(t.Context(), a) {
		t.Error("a large echo does not come back")
	}
	a.machine.Sys.TakeChanges()
	a.fit(t, b, path)
	if changes := a.machine.Sys.TakeChanges(); len(changes) != 0 {
		t.Errorf("the same said again: %q", changes)
	}

	// An agent that starts again knows nothing yet, and the mesh goes on as it was; so does one that hears of another node.
	a.driver = s.newDriver(a.machine.Sys, machinetest.Logger(t, a.name))
	c.apply(t, all, hk)
	if !a.pingsLarge(t.Context(), b) {
		t.Error("a large echo does not come back after a restart of the agent")
	}
	c.apply(t, all, hk)
	if !a.pingsLarge(t.Context(), b) {
		t.Error("a large echo does not come back after the view was applied again")
	}

	// What goes round by that path has to fit as well, and what goes the direct way again has not.
	c.internet.SetCutsOrFail(t, append(narrow, machinetest.Drop(a.public, other.public), machinetest.Drop(other.public, a.public))...)
	machinetest.Eventually(t, patience, "another node is reached by way of b", func(ctx context.Context) bool {
		return a.peer(ctx, t, other).NextHop == b.name && other.peer(ctx, t, a).NextHop == b.name
	})
	if !a.pingsLarge(t.Context(), other) || !other.pingsLarge(t.Context(), a) {
		t.Error("a large echo does not come back by way of a path that does not take it")
	}
	c.internet.SetCutsOrFail(t, narrow...)
	c.allConnected(t, all...)
	if route := a.machine.Run(t, "ip", "route", "show", other.mesh.String()); strings.Contains(route, "mtu") {
		t.Errorf("packets are kept small for a path that takes all: %s", route)
	}

	c.internet.SetCutsOrFail(t)
	a.fit(t, b, 0)
	if route := a.machine.Run(t, "ip", "route", "show", b.mesh.String()); strings.Contains(route, "mtu") {
		t.Errorf("packets are kept small for a path that takes all: %s", route)
	}
	if !a.pingsLarge(t.Context(), b) {
		t.Error("a large echo does not come back when the path takes all again")
	}
}

func (n *node) fit(t *testing.T, to *node, path int) {
	t.Helper()
	f, ok := n.driver.(mesh.Fitter)
	if !ok {
		t.Fatalf("%T fits nothing", n.driver)
	}
	if err := f.Fit(t.Context(), map[string]int{to.name: path}); err != nil {
		t.Fatalf("node %s: %v", n.name, err)
	}
}

// pingsLarge tells whether one of some echoes that fill the mesh's packets comes back.
func (n *node) pingsLarge(ctx context.Context, to *node) bool {
	_, err := n.machine.Sys.System.Run(ctx, host.Command{Name: "ping", Args: []string{"-n", "-q", "-c", "3", "-i", "0.2", "-W", "1", "-s", "1300", to.mesh.String()}})
	return err == nil
}
