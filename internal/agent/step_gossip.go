package agent

import (
	"context"
	"net/netip"

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
	running, at := g.s.gossip, g.s.gossipAt
	g.s.mu.Unlock()
	if running != nil && at == want {
		return nil
	}
	if err := g.s.stopGossip(); err != nil {
		return err
	}
	started, err := gossip.Start(gossip.Config{
		Node: g.s.m.record.Node, Bind: want.Addr(), Port: int(want.Port()),
		Peers: g.s.peersInGossip, Store: g.s.store, Log: g.s.log,
	})
	if err != nil {
		return err
	}
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	g.s.gossip, g.s.gossipAt = started, want
	return nil
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
