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
