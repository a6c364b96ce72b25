package probes_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/probes"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/probe"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// idleProber knows nothing of any link.
type idleProber struct{}

func (idleProber) SetPeers(map[string]probe.Peer) {}

func (idleProber) Links() map[string]probe.Link { return nil }

func (idleProber) Close() error { return nil }

// steered is a mesh that remembers which links it was told to do without.
type steered struct {
	mesh.Driver

	mu   sync.Mutex
	told [][]string
}

func (s *steered) Steer(_ context.Context, away []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, away)
	return nil
}

// TestNodeWithALeftLinkIsReplaced removes a node whose link is left alone: the mesh must not do without that of the one that comes under its name.
func TestNodeWithALeftLinkIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		driver := &steered{}
		peer := topology.Peer{Name: "b", Addresses: []string{"198.51.100.2"}, MeshAddress: netip.MustParseAddr("10.66.0.2")}
		var mu sync.Mutex
		view := &topology.View{Peers: []topology.Peer{peer}}
		cfg := quietConfig(idleProber{}, func() probes.Sight {
			mu.Lock()
			defer mu.Unlock()
			return probes.Sight{View: view, Driver: driver, Peers: map[string]spec.PeerStatus{"b": {Reachable: true}}}
		})
		cfg.Before = map[string]spec.LinkStatus{"b": {Steering: &spec.LinkSteering{Away: true, Why: "dead", Since: time.Now(), Hold: 3600}}}
		m := probes.New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = m.Run(ctx) }()
		without := func(what string, want ...string) {
			t.Helper()
			await.NoError(t, what, time.Minute, func(context.Context) error {
				driver.mu.Lock()
				defer driver.mu.Unlock()
				if n := len(driver.told); n == 0 || !slices.Equal(driver.told[n-1], want) {
					return fmt.Errorf("the mesh was told to do without %q", driver.told)
				}
				return nil
			})
		}
		without("b's link is left, as before", "b")
		mu.Lock()
		view = &topology.View{}
		mu.Unlock()
		without("no link is left when b has gone")
	})
}
