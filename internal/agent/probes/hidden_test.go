package probes_test

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/probes"
	"github.com/atollhq/terraform-provider-atoll/internal/probe"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// deafProber gets nothing, whoever sends.
type deafProber struct {
	mu    sync.Mutex
	since time.Time
	peers map[string]probe.Peer
}

func (p *deafProber) SetPeers(peers map[string]probe.Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peers = peers
}

func (p *deafProber) Links() map[string]probe.Link {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]probe.Link{}
	for name, peer := range p.peers {
		m := probe.Measurement{In: probe.Direction{Since: p.since}, Out: probe.Direction{Since: p.since}}
		if len(peer.Public) > 0 {
			m.Address = peer.Public[0]
		}
		out[name] = probe.Link{Public: m}
	}
	return out
}

func (*deafProber) Close() error { return nil }

// TestNodeThatNobodyCanCall does not complain that nobody calls it: others know no address at which they could.
func TestNodeThatNobodyCanCall(t *testing.T) {
	t.Parallel()
	for name, addresses := range map[string][]string{"a node with an address": {"198.51.100.1"}, "a node without one": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				prober := &deafProber{since: time.Now()}
				view := &topology.View{
					Self:  topology.Peer{Name: "a", Addresses: addresses, MeshAddress: netip.MustParseAddr("10.66.0.1")},
					Peers: []topology.Peer{{Name: "b", Addresses: []string{"198.51.100.2"}, MeshAddress: netip.MustParseAddr("10.66.0.2")}},
				}
				m := probes.New(quietConfig(prober, func() probes.Sight {
					return probes.Sight{View: view, Peers: map[string]spec.PeerStatus{"b": {Reachable: true, Direct: true}}}
				}))
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_ = m.Run(ctx) // the time of a bubble, none of the test's
				link, said := m.All()["b"]
				prober.mu.Lock()
				sends := len(prober.peers["b"].Public) > 0
				prober.mu.Unlock()
				if want := addresses != nil; said != want || sends != want {
					t.Errorf("it says of the link %+v (%v), and sends probes to public addresses: %v", link, said, sends)
				}
			})
		})
	}
}
