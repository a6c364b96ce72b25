package pairs_test

import (
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/pairs"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// TestGone has nodes see each other. A row is how a node sees a, b, c and d, by a letter each: well, dead, only heard of, unknown. A row that begins with a minus is an
// old one. The first is the one that asks.
func TestGone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		rows map[string]string
		self string
		gone string
	}{
		{"all are well", map[string]string{"a": ".www", "b": "w.ww", "c": "ww.w", "d": "www."}, "b", ""},
		{"one of four is dead", map[string]string{"a": "-.www", "b": "d.ww", "c": "dw.w", "d": "dww."}, "b", "a"},
		{"one of three is dead", map[string]string{"a": "-.ww", "b": "d.w", "c": "dw."}, "c", "a"},
		{"one of two is dead, or so it seems", map[string]string{"a": "-.w", "b": "d."}, "b", ""},
		{"only two of four do not reach it", map[string]string{"a": ".ddw", "b": "d.ww", "c": "dw.w", "d": "www."}, "b", ""},
		{"one does not reach it, and the others do", map[string]string{"a": ".dw", "b": "d.w", "c": "ww."}, "b", ""},
		{"one does not reach it over the mesh", map[string]string{"a": ".hw", "b": "h.w", "c": "hw."}, "b", ""},
		{"who is cut off finds nobody dead", map[string]string{"a": ".dd", "b": "d.w", "c": "dw."}, "a", ""},
		{"halves", map[string]string{"a": ".wdd", "b": "w.dd", "c": "dd.w", "d": "ddw."}, "a", ""},
		{"what was said long ago", map[string]string{"a": "-.ww", "b": "d.w", "c": "-dw."}, "b", ""},
		{"who has said nothing of it yet", map[string]string{"a": "-.ww", "b": "d.w", "c": "?w."}, "b", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			names := []string{"a", "b", "c", "d"}[:len(tt.rows)]
			statuses, old := map[string]spec.Status{}, map[string]bool{}
			for member, row := range tt.rows {
				if row[0] == '-' {
					old[member], row = true, row[1:]
				}
				seen := map[string]spec.PeerStatus{}
				for i, letter := range row {
					switch letter {
					case 'w':
						seen[names[i]] = spec.PeerStatus{Reachable: true, Alive: true}
					case 'h':
						seen[names[i]] = spec.PeerStatus{Alive: true}
					case 'd':
						seen[names[i]] = spec.PeerStatus{}
					}
				}
				statuses[member] = spec.Status{Peers: seen}
			}
			got := ""
			for _, name := range names {
				if pairs.Gone(name, tt.self, names, statuses[tt.self].Peers, statuses, func(member string) bool { return !old[member] }) {
					got += name
				}
			}
			if got != tt.gone {
				t.Errorf("%s finds %q gone, want %q", tt.self, got, tt.gone)
			}
		})
	}
}
