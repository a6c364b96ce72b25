package probe_test

import (
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/probe"
)

// TestBudget holds the table of the package's comment.
func TestBudget(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		nodes        int
		public, mesh time.Duration
	}{
		{2, 100 * time.Millisecond, time.Second},
		{3, 100 * time.Millisecond, time.Second},
		{10, 180 * time.Millisecond, time.Second},
		{50, 980 * time.Millisecond, 2450 * time.Millisecond},
	} {
		peers := tt.nodes - 1
		if got := probe.Interval(probe.Public, peers); got != tt.public {
			t.Errorf("%d nodes, public: every %s, want %s", tt.nodes, got, tt.public)
		}
		if got := probe.Interval(probe.Mesh, peers); got != tt.mesh {
			t.Errorf("%d nodes, mesh: every %s, want %s", tt.nodes, got, tt.mesh)
		}
	}
	for peers := range 500 {
		for path, most := range map[probe.Path]float64{probe.Public: probe.MostPublic, probe.Mesh: probe.MostMesh} {
			if rate := float64(peers) / probe.Interval(path, peers).Seconds(); rate > most+0.001 {
				t.Fatalf("%d peers, %s: %.1f packets a second", peers, path, rate)
			}
		}
	}
}
