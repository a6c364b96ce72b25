package probes_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/probes"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/probe"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// stall is a time in which the machine runs nothing of the agent.
type stall struct{ from, until time.Time }

// scene is what a's agent measures of b and c, in a machine that stalls now and then: its measurements come late after that.
type scene struct {
	stalls []stall
	// addressOfB is b's public one, and lookup finds it where it is a name.
	addressOfB string
	lookup     func(ctx context.Context, host string) ([]netip.Addr, error)

	mu sync.Mutex
	// cut is since when nothing passes between a and c.
	cut time.Time
}

func (s *scene) SetPeers(map[string]probe.Peer) {}

func (s *scene) Close() error { return nil }

// lateness is how long after a stall what has arrived from c meanwhile is still not looked at. What b has sent is: b would be a detour.
const lateness = 800 * time.Millisecond

// Links blocks while the machine stalls.
func (s *scene) Links() map[string]probe.Link {
	var deaf time.Duration
	for _, one := range s.stalls {
		if now := time.Now(); !now.Before(one.from) && now.Before(one.until.Add(lateness)) {
			if wait := time.Until(one.until); wait > 0 {
				<-time.After(wait)
			}
			deaf = time.Since(one.from)
		}
	}
	links := map[string]probe.Link{}
	for _, name := range []string{"b", "c"} {
		var silent time.Duration
		if name == "c" {
			silent = deaf
			if cut := s.cutSince(); !cut.IsZero() {
				silent = max(silent, time.Since(cut))
			}
		}
		since := time.Now().Add(-silent)
		d := probe.Direction{Known: true, Since: since, MTU: 1500, Loss: probe.Loss{Counted: 1000}, Missing: int(silent / (100 * time.Millisecond))}
		d.Silent = d.Missing >= 3
		links[name] = probe.Link{Public: probe.Measurement{In: d, Out: d, RTT: time.Millisecond, Address: netip.MustParseAddr("198.51.100.2")}}
	}
	return links
}

// echo is not answered in time where the machine stalls.
func (s *scene) echo(_ context.Context, to netip.Addr, wait time.Duration) bool {
	began := time.Now()
	<-time.After(wait)
	for _, one := range s.stalls {
		if to == addressOfC && began.Before(one.until.Add(lateness)) && time.Now().After(one.from) {
			return false
		}
	}
	return s.cutSince().IsZero() || to != addressOfC
}

func (s *scene) cutSince() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut
}

var addressOfC = netip.MustParseAddr("10.66.0.3")

// run runs a's agent in the scene until the test ends.
func (s *scene) run(t *testing.T, driver mesh.Driver) *probes.Manager {
	t.Helper()
	good := &spec.LinkDirection{}
	cfg := quietConfig(s, func() probes.Sight {
		return probes.Sight{
			View: &topology.View{Self: topology.Peer{Addresses: []string{"198.51.100.1"}}, Peers: []topology.Peer{
				{Name: "b", Addresses: []string{cmp.Or(s.addressOfB, "198.51.100.2")}, MeshAddress: netip.MustParseAddr("10.66.0.2")},
				{Name: "c", Addresses: []string{"198.51.100.3"}, MeshAddress: addressOfC},
			}},
			Driver: driver, Peers: map[string]spec.PeerStatus{"b": {Reachable: true, Direct: true}, "c": {Reachable: true, Direct: true}},
			Statuses: map[string]spec.Status{"b": {Node: "b", Peers: map[string]spec.PeerStatus{"c": {Reachable: true, Direct: true}}, Links: map[string]spec.LinkStatus{"c": {In: good, Out: good, RTT: 1}}}},
			Received: map[string]time.Time{"b": time.Now()},
		}
	})
	cfg.Echo, cfg.Lookup = s.echo, s.lookup
	m := probes.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = m.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	return m
}

// TestFiguresComeFirst has a link fall silent: its counts say so at once, while what is said of it waits for the other end.
func TestFiguresComeFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scene{}
		m := s.run(t, &steered{})
		<-time.After(10 * time.Second)
		if link := m.All()["c"]; link.Condition != spec.LinkDirect || link.In == nil || link.In.Silent {
			t.Fatalf("before: %+v", link)
		}
		s.mu.Lock()
		s.cut = time.Now()
		s.mu.Unlock()
		<-time.After(2 * time.Second)
		if link := m.All()["c"]; link.Condition != spec.LinkDirect || link.In == nil || !link.In.Silent {
			t.Errorf("after 2 s: %+v", link)
		}
		<-time.After(20 * time.Second)
		if link := m.All()["c"]; link.Condition != spec.LinkCut || !link.In.Silent || link.Steering == nil || !link.Steering.Away {
			t.Errorf("after 22 s: %+v", link)
		}
	})
}

// TestNameServersAway has a link cut in the moment in which name servers do not answer any more: it is left all the same.
func TestNameServersAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan struct{}, 1000)
		s := &scene{addressOfB: "b.example.com"}
		s.lookup = func(ctx context.Context, _ string) ([]netip.Addr, error) {
			asked <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		driver := &steered{}
		m := s.run(t, driver)
		<-time.After(10 * time.Second)
		if link := m.All()["b"]; link.Cause != "" && link.Cause != spec.CauseNameResolution {
			t.Errorf("b, whose name nobody knows: %+v", link)
		}
		for range len(asked) {
			<-asked
		}
		<-asked
		s.mu.Lock()
		s.cut = time.Now()
		s.mu.Unlock()
		<-time.After(1500 * time.Millisecond)
		driver.mu.Lock()
		defer driver.mu.Unlock()
		if len(driver.told) != 1 || !slices.Equal(driver.told[0], []string{"c"}) {
			t.Errorf("1.5 s after the cut the mesh was told to do without %q, want c", driver.told)
		}
	})
}

// TestStarved has an agent that does not run for up to four seconds, again and again, as on a machine with far too much to do: what it
// measures late is no dead link. A link that is cut afterwards is left all the same.
func TestStarved(t *testing.T) {
	t.Parallel()
	for seed := range uint64(15) {
		synctest.Test(t, func(t *testing.T) {
			chance := rand.New(rand.NewPCG(seed, 3))
			s := &scene{}
			at := time.Now().Add(6 * time.Second)
			for range 40 {
				one := stall{at, at.Add(400*time.Millisecond + time.Duration(chance.Int64N(int64(3600*time.Millisecond))))}
				s.stalls = append(s.stalls, one)
				at = one.until.Add(lateness + time.Duration(chance.Int64N(int64(5*time.Second))))
			}
			driver := &steered{}
			s.run(t, driver)
			told := func() [][]string {
				driver.mu.Lock()
				defer driver.mu.Unlock()
				return slices.Clone(driver.told)
			}
			<-time.After(time.Until(at.Add(5 * time.Second)))
			if got := told(); len(got) > 0 {
				t.Fatalf("seed %d: a starved agent has the mesh do without %q", seed, got)
			}
			s.mu.Lock()
			s.cut = time.Now()
			s.mu.Unlock()
			<-time.After(2 * time.Second)
			if got := told(); len(got) != 1 || !slices.Equal(got[0], []string{"c"}) {
				t.Errorf("seed %d: 2 s after the cut the mesh was told to do without %q, want c", seed, got)
			}
		})
	}
}
