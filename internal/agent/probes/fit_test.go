package probes_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
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

// pathsProber says what it is told of links.
type pathsProber struct {
	idleProber

	mu    sync.Mutex
	links map[string]probe.Link
}

func (p *pathsProber) Links() map[string]probe.Link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.links)
}

// is has the path to a node take packets of a size, both ways, and lose a share of them, after so many were counted.
func (p *pathsProber) is(node string, size int, counted uint64, loss float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := probe.Direction{Known: true, MTU: size, Loss: probe.Loss{Counted: counted, Fast: loss, Mid: loss, Slow: loss}}
	p.links[node] = probe.Link{Public: probe.Measurement{Address: netip.MustParseAddr("198.51.100.2"), In: d, Out: d}}
}

// fitted is a mesh that remembers what its paths take, and fails for the first few times.
type fitted struct {
	mesh.Driver

	mu     sync.Mutex
	failed int
	told   []map[string]int
}

func (f *fitted) Fit(_ context.Context, paths map[string]int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed > 0 {
		f.failed--
		return errors.New("the tunnel does not answer")
	}
	f.told = append(f.told, paths)
	return nil
}

// TestMeshIsToldWhatItsPathsTake has the path to one node take less than the mesh sends, and then all again; of a path that is not known yet, or that loses
// packets of any size, the mesh is told nothing.
func TestMeshIsToldWhatItsPathsTake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		driver, prober := &fitted{failed: 2}, &pathsProber{links: map[string]probe.Link{}}
		view := &topology.View{Mesh: spec.Mesh{Driver: spec.MeshWireGuard}, Self: topology.Peer{Name: "a", Addresses: []string{"198.51.100.1"}}}
		for i, name := range []string{"b", "c", "d"} {
			view.Peers = append(view.Peers, topology.Peer{
				Name: name, Addresses: []string{"198.51.100.2"}, MeshAddress: netip.AddrFrom4([4]byte{10, 66, 0, byte(2 + i)}),
			})
		}
		prober.is("b", 1280, 1000, 0)
		prober.is("c", 1280, 100, 0)
		prober.is("d", 1280, 1000, 0.3)
		m := probes.New(quietConfig(prober, func() probes.Sight {
			return probes.Sight{View: view, Driver: driver, Peers: map[string]spec.PeerStatus{"b": {Reachable: true, Direct: true}}}
		}))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = m.Run(ctx) }()
		told := func(what string, times int, want map[string]int) {
			t.Helper()
			await.NoError(t, what, time.Minute, func(context.Context) error {
				driver.mu.Lock()
				defer driver.mu.Unlock()
				if n := len(driver.told); n != times || !maps.Equal(driver.told[n-1], want) {
					return fmt.Errorf("the mesh was told %v", driver.told)
				}
				return nil
			})
		}
		told("the mesh is told what the path to b takes, again until it listens", 1, map[string]int{"b": 1280})
		prober.is("b", 1500, 1000, 0)
		told("the path to b takes all again", 2, map[string]int{"b": 0})
		prober.is("c", 1500, 1000, 0)
		told("it is known what the path to c takes", 3, map[string]int{"b": 0, "c": 0})
		prober.is("c", 0, 1000, 0)
		told("none of the sizes arrives from c", 4, map[string]int{"b": 0, "c": 1279})
	})
}
