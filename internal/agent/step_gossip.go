package agent

import (
	"context"
	"net/netip"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/gossip"
)

// gossipStep runs gossip on the mesh address, as soon as that is there.
type gossipStep struct {
	s *session
}

func (gossipStep) name() string { return "gossip" }

func (g gossipStep) reconcile(_ context.Context, in input) error {
	if in.view == nil || !in.admitted {
		return nil
	}
	ports := g.s.ports(in.snapshot.Cluster)
	want := netip.AddrPortFrom(g.s.a.cfg.MeshBind(in.view.Self.MeshAddress), uint16(ports.Gossip)) //nolint:gosec // validated
	g.s.mu.Lock()
	running, at, known := g.s.gossip, g.s.gossipAt, g.s.gossipRTT
	g.s.mu.Unlock()
	rtt := max(known, g.s.longestRTT())
	if running != nil && at == want && rtt == known {
		return nil
	}
	if err := g.s.stopGossip(); err != nil {
		return err
	}
	started, err := gossip.Start(gossip.Config{
		Node: g.s.m.record.Node, Bind: want.Addr(), Port: int(want.Port()),
		Peers: g.s.peersInGossip, RTT: rtt, Store: g.s.store, Log: g.s.log,
		Changed: func() { poke(g.s.look) },
	})
	if err != nil {
		return err
	}
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	g.s.gossip, g.s.gossipAt, g.s.gossipRTT = started, want, rtt
	return nil
}

// The round-trip times that gossip is tuned for: nodes on one continent, and the farthest that still makes sense.
const (
	nearRTT = 50 * time.Millisecond
	farRTT  = 800 * time.Millisecond
)

// longestRTT returns the round-trip time of the farthest peer, generously and in steps of two, so that gossip is tuned
// anew only when a peer of another distance comes: each time it leaves and joins again.
func (s *session) longestRTT() time.Duration {
	step := nearRTT
	for _, m := range s.prober.Measurements() {
		for m.Reachable && m.RTT > step*3/4 && step < farRTT {
			step *= 2
		}
	}
	return step
}

// stopGossip ends gossip if it runs.
func (s *session) stopGossip() error {
	s.mu.Lock()
	running := s.gossip
	s.gossip, s.gossipAt = nil, netip.AddrPort{}
	s.mu.Unlock()
	if running == nil {
		return nil
	}
	return running.Close()
}

// alive tells of each node whether gossip finds its agent alive.
func (s *session) alive() map[string]bool {
	s.mu.Lock()
	running := s.gossip
	s.mu.Unlock()
	out := map[string]bool{}
	if running == nil {
		return out
	}
	for name, l := range running.Alive() {
		out[name] = l.Alive
	}
	return out
}
