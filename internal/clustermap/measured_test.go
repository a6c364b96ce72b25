package clustermap_test

import (
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/clustermap"
)

// TestMeasuredDirections has links over which the mesh gets everything through, while the direct way does not.
func TestMeasuredDirections(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name     string
		measured *api.Measured
		level    clustermap.Level
		text     string
	}{
		{"not measured", nil, clustermap.Good, "direct 12.0 ms"},
		{"well", &api.Measured{Loss: 0.02}, clustermap.Good, "direct 12.0 ms"},
		{"lossy", &api.Measured{Loss: 0.2}, clustermap.Degraded, "direct 12.0 ms, direct way loses 20 %"},
		{"silent", &api.Measured{Silent: true, Loss: 1}, clustermap.Degraded, "direct 12.0 ms, direct way: nothing arrives"},
	} {
		up := api.Direction{State: api.UpDirect, Since: at.Add(-time.Hour), RTT: 12}
		there := up
		there.Measured = tt.measured
		m := clustermap.New(api.ClusterStatus{At: at, Links: map[string]api.LinkView{"a.b": {From: "a", To: "b", There: there, Back: up}}})
		if got := m.Links[0].There; got.Level != tt.level || got.Text() != tt.text {
			t.Errorf("%s: %s, %q; want %s, %q", tt.name, got.Level, got.Text(), tt.level, tt.text)
		}
		if back := m.Links[0].Back; back.Level != clustermap.Good {
			t.Errorf("%s: the other direction is %s", tt.name, back.Level)
		}
	}
}
