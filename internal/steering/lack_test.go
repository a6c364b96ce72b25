package steering_test

import (
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/steering"
)

// TestDetourIsCut has the way round a link cut while the link is left alone. One that works again is in use at once.
func TestDetourIsCut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		age  time.Duration
		link func(*steering.Quality)
		// back tells whether the link is in use again at once.
		back bool
	}{
		{"well", 20 * time.Second, loses(0, 0), true},
		{"calm, but held against it", 20 * time.Second, loses(0.01, 0.1), true},
		{"the detour is young", 2 * time.Second, loses(0.01, 0.1), false},
		{"it loses packets still", 20 * time.Second, loses(0.2, 0.2), false},
		{"it is dead still", 20 * time.Second, dead, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before := steering.State{"c": {Away: true, Via: "b", Why: steering.Lossy, Since: start, Hold: 10 * time.Minute}}
			cut := func(at time.Duration) steering.Input {
				return with(with(with(three(at), "a", "b", dead), "b", "a", dead), "c", "a", tt.link)
			}
			state, changes := steering.Decide(before, cut(tt.age))
			if state["c"].Away == tt.back {
				t.Fatalf("away %t, want %t: %+v", state["c"].Away, !tt.back, changes)
			}
			if !tt.back {
				return
			}
			// Now the other link has a way round it.
			state, changes = steering.Decide(state, cut(tt.age+50*time.Millisecond))
			if !state["b"].Away || state["b"].Via != "c" || state["c"].Away {
				t.Errorf("%+v after %+v, want the dead link to be left for the other", state, changes)
			}
		})
	}
}
