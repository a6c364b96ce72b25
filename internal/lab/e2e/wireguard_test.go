//go:build linux

package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	// wireguardUnit is the service that runs a mesh of WireGuard on a node.
	wireguardUnit = "atoll-wireguard.service"
	// meshOfWireGuard has the stack ask for one.
	meshOfWireGuard = "TF_VAR_mesh_driver=wireguard"
)

// TestWireGuard brings the reference topology up with a mesh of WireGuard, and does to it what concerns the mesh.
func TestWireGuard(t *testing.T) {
	t.Parallel()
	onceForAllEngines(t)
	s := newSite(t)
	s.Work.Env = append(s.Work.Env, meshOfWireGuard)
	for _, scenario := range []struct {
		name string
		run  func(*testing.T, *site)
	}{
		{"apply brings the cluster up", applyBringsUp},
		{"a second plan is empty", planIsEmpty},
		{"the mesh is of WireGuard", meshIsWireGuard},
		{"the table of ports is what a node opens and where it listens", portsAreOpen},
		{"a cut path is detoured and named", cutPathIsDetoured},
		{"the mesh lives on and is mended", wireguardLivesOn},
		{"keys of the mesh are replaced while it runs", keysAreReplaced},
		{"another driver is refused", otherDriverIsRefused},
		{"destroy leaves nothing", destroyLeavesNothing},
	} {
		if !t.Run(scenario.name, func(t *testing.T) { scenario.run(t, s) }) {
			t.Fatalf("the cluster is not what the next scenario expects after %q", scenario.name)
		}
	}
}

func meshIsWireGuard(t *testing.T, s *site) {
	for _, node := range everyNode {
		if got := strings.TrimSpace(s.exec(t, node, "systemctl", "is-active", wireguardUnit)); got != "active" {
			t.Errorf("%s: the unit of WireGuard is %s", node, got)
		}
		if out, err := s.Exec(t.Context(), node, "systemctl", "is-active", meshUnit); err == nil {
			t.Errorf("%s: tinc runs too: %s", node, out)
		}
		if got := strings.TrimSpace(s.exec(t, node, "stat", "-c", "%a %U", "/etc/atoll/wireguard/private.key")); got != "600 root" {
			t.Errorf("%s: the private key is for %s", node, got)
		}
	}
}

// wireguardLivesOn stops the agents, under which the mesh goes round a cut without them, and kills the tunnel of a node.
func wireguardLivesOn(t *testing.T, s *site) {
	for _, node := range everyNode {
		s.exec(t, node, "systemctl", "stop", "atolld.service")
	}
	if err := s.Cut(t.Context(), "hk1", "sg1", false); err != nil {
		t.Fatal(err)
	}
	s.eventually(t, "the nodes reach each other without agents and by a detour", time.Minute, func(ctx context.Context) error {
		return s.PingAll(ctx, everyNode...)
	})
	if err := s.Heal(t.Context(), "hk1", "sg1"); err != nil {
		t.Fatal(err)
	}
	s.exec(t, "hk1", "systemctl", "kill", "--signal=KILL", wireguardUnit)
	s.eventually(t, "a tunnel that was killed is back without an agent", time.Minute, func(ctx context.Context) error {
		if out, err := s.Exec(ctx, "hk1", "systemctl", "is-active", wireguardUnit); err != nil {
			return fmt.Errorf("the unit is %s: %w", out, err)
		}
		return s.PingAll(ctx, everyNode...)
	})
	for _, node := range everyNode {
		s.exec(t, node, "systemctl", "start", "atolld.service")
	}
	s.wantHealthy(t, time.Minute, everyNode...)
}

func otherDriverIsRefused(t *testing.T, s *site) {
	env := s.Work.Env
	defer func() { s.Work.Env = env }()
	s.Work.Env = append(s.Work.Env, "TF_VAR_mesh_driver=tinc")
	s.failApply(t, nil, "mesh.driver", `has a mesh of driver "wireguard"`, "node by node")
}
