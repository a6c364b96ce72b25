package agent_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/probes"
	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/probe"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Steer implements mesh.Steerer.
func (f *fakeMesh) Steer(_ context.Context, away []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = slices.Clone(away)
	return nil
}

func (f *fakeMesh) leaves() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.away
}

// fakeLinks measures what the test says: nothing is lost but on the ways that are in lost, by "from to".
type fakeLinks struct {
	self string
	lost func(way string) float64

	mu    sync.Mutex
	peers map[string]probe.Peer
}

func (l *fakeLinks) SetPeers(peers map[string]probe.Peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peers = peers
}

func (l *fakeLinks) Links() map[string]probe.Link {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]probe.Link{}
	for name, p := range l.peers {
		direction := func(from, to string) probe.Direction {
			loss := l.lost(from + " " + to)
			return probe.Direction{Known: true, Since: time.Now().Add(-time.Hour), MTU: 1500, Loss: probe.Loss{Fast: loss, Slow: loss, Counted: 1000}}
		}
		address := netip.Addr{}
		if len(p.Public) > 0 && p.Key != [32]byte{} {
			address = p.Public[0]
		}
		out[name] = probe.Link{Public: probe.Measurement{Address: address, In: direction(name, l.self), Out: direction(l.self, name), RTT: time.Millisecond}}
	}
	return out
}

func (*fakeLinks) Close() error { return nil }

// TestBadLinkIsLeft has a link that loses packets: both ends say so, it is left for the third node, which the cluster's status
// tells, and an agent that starts again goes on where it was.
func TestBadLinkIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var mu sync.Mutex
	losses := map[string]float64{}
	lost := func(way string) float64 {
		mu.Lock()
		defer mu.Unlock()
		return losses[way]
	}
	machines := []*machine{w.machine(1, "hk1"), w.machine(2, "hk2"), w.machine(3, "sg1")}
	for i, m := range machines {
		m.links = func(o probe.Options, _ *slog.Logger) (probes.Prober, error) {
			if o.Cluster != clusterName || o.Node != m.name || o.Port != spec.DefaultMesh().Port {
				return nil, fmt.Errorf("asked to probe as %+v", o)
			}
			return &fakeLinks{self: m.name, lost: lost}, nil
		}
		f := ticketFor{}
		if i > 0 {
			f.seeds = []string{machines[0].endpoint()}
		}
		m.provision(m.payload(m.ticket(f), m.node("")))
		m.start()
	}
	w.waitReady(machines...)
	link := func(m *machine) (api.LinkView, error) {
		s, err := m.status()
		return s.Links["hk1.sg1"], err
	}
	w.wait("every end of a link says that it is well", func() error {
		s, err := machines[1].status()
		if err != nil {
			return err
		}
		for name, l := range s.Links {
			if len(l.Reports) != 2 || l.Reports[0].Condition != spec.LinkDirect || l.There.Measured == nil || l.There.Measured.MTU != 1500 {
				return fmt.Errorf("%s: %+v", name, l)
			}
		}
		return nil
	})
	mu.Lock()
	losses["hk1 sg1"] = 0.3
	mu.Unlock()
	left := func() error {
		l, err := link(machines[1])
		if err != nil {
			return err
		}
		report, away := l.Left()
		if !away || report.Steering.Via != "hk2" || report.Condition != spec.LinkLossy || !strings.Contains(report.Message, "hk1 -> sg1 loses 30 %") {
			return fmt.Errorf("the link is %+v", l)
		}
		if !slices.Contains(machines[0].mesh.leaves(), "sg1") && !slices.Contains(machines[2].mesh.leaves(), "hk1") {
			return fmt.Errorf("hk1 leaves %v, sg1 %v", machines[0].mesh.leaves(), machines[2].mesh.leaves())
		}
		return nil
	}
	w.wait("the link is left", left)
	if hk2 := machines[1].mesh.leaves(); len(hk2) > 0 {
		t.Errorf("hk2 leaves %v", hk2)
	}
	machines[0].restart()
	machines[2].restart()
	w.wait("it is left after a restart of both agents", left)
}
