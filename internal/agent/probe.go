package agent

import (
	"log/slog"
	"net/netip"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// Prober measures whether packets really arrive at peers over the mesh. Its methods are safe for concurrent use.
type Prober interface {
	// SetPeers sets whom to probe from now on: the mesh addresses of all peers, by name.
	SetPeers(peers map[string]netip.Addr)
	// Measurements returns what is known of each peer.
	Measurements() map[string]mesh.PeerMeasurement
	// Close ends the probing.
	Close() error
}

// newICMPProber returns a prober that sends ICMP echo requests.
func newICMPProber(log *slog.Logger) (Prober, error) {
	return mesh.NewProber(mesh.ProberOptions{}, log)
}

// probe makes the prober probe the view's peers.
func (s *session) probe(view *topology.View) {
	peers := make(map[string]netip.Addr, len(view.Peers))
	for _, p := range view.Peers {
		peers[p.Name] = p.MeshAddress
	}
	s.prober.SetPeers(peers)
}

// noProber is what an agent has that may not send probes: it must not fail for want of measurements.
type noProber struct{}

func (noProber) SetPeers(map[string]netip.Addr) {}

func (noProber) Measurements() map[string]mesh.PeerMeasurement { return nil }

func (noProber) Close() error { return nil }

// measure returns how a peer answers.
func (s *session) measure(peer string, measured map[string]mesh.PeerMeasurement, inMesh mesh.Status) mesh.PeerMeasurement {
	if _, blind := s.prober.(noProber); blind {
		return mesh.PeerMeasurement{Reachable: inMesh.Peers[peer].Reachable}
	}
	return measured[peer]
}
