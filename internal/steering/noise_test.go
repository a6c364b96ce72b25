package steering_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/steering"
)

// TestNoiseEverywhere has twenty nodes whose links all lose packets by chance, for two minutes: no detour is really better. One link that loses
// a fifth is left all the same.
func TestNoiseEverywhere(t *testing.T) {
	t.Parallel()
	const (
		nodes = 20
		every = 200 * time.Millisecond // half the pace of a cluster of three
	)
	for _, tt := range []struct {
		loss, bad float64
		most      int
		within    time.Duration
	}{
		{0.05, 0, 2, 0},
		{0.01, 0, 2, 0},
		{0.01, 0.2, 3, 10 * time.Second},
		{0, 0.2, 1, 3 * time.Second},
	} {
		t.Run(fmt.Sprintf("%.0f %%, one of them %.0f %%", 100*tt.loss, 100*tt.bad), func(t *testing.T) {
			t.Parallel()
			chance := rand.New(rand.NewPCG(11, uint64(1000*tt.loss)))
			name := func(i int) string { return fmt.Sprintf("n%02d", i) }
			in := steering.Input{
				Self: name(0), Links: map[steering.Pair]steering.Quality{}, Direct: map[steering.Pair]bool{}, Reachable: map[string]bool{},
			}
			for i := range nodes {
				if in.Reachable[name(i)] = true; i > 0 {
					in.Peers = append(in.Peers, name(i))
				}
			}
			var state steering.State
			left, badLeft := 0, time.Duration(-1)
			const warm = 40 * time.Second
			for at := time.Duration(0); at < warm+2*time.Minute; at += every {
				in.Now = start.Add(at)
				for i := range nodes {
					for j := range nodes {
						pair := steering.Pair{From: name(i), To: name(j)}
						if i == j {
							continue
						}
						loss := tt.loss
						if at >= warm && tt.bad > 0 && i+j == 5 && i*j == 0 {
							loss = tt.bad
						}
						q := in.Links[pair]
						q.Known, q.RTT = true, 40*time.Millisecond
						lost := 0.0
						if chance.Float64() < loss {
							lost = 1
						}
						q.Fast += (lost - q.Fast) / 10
						q.Mid += (lost - q.Mid) / 30
						q.Slow += (lost - q.Slow) / 100
						in.Links[pair], in.Direct[pair] = q, true
					}
				}
				if at < warm {
					continue
				}
				var changes []steering.Change
				state, changes = steering.Decide(state, in)
				for _, c := range changes {
					if c.Away {
						left++
					}
					if c.Away && c.Peer == name(5) && badLeft < 0 {
						badLeft = at - warm
					}
				}
			}
			t.Logf("left %d times, the bad one after %s", left, badLeft)
			if left > tt.most {
				t.Errorf("links were left %d times, want %d at most", left, tt.most)
			}
			if tt.bad > 0 && (badLeft < 0 || badLeft > tt.within) {
				t.Errorf("the link that loses %.0f %% was left after %s, want %s at most", 100*tt.bad, badLeft, tt.within)
			}
		})
	}
}
