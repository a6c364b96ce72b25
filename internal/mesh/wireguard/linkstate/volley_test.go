package linkstate_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh/wireguard/linkstate"
)

// duo is two nodes that say hello to each other, and ask for more, by a clock of the test's own.
type duo struct {
	now    time.Time
	ends   [2]*ender
	loss   [2]float64
	chance *rand.Rand
}

type ender struct {
	linkstate.Neighbor
	volleys linkstate.Volleys
	seq     uint32
	hello   time.Time
	sent    int
}

func newDuo(seed uint64) *duo {
	return &duo{now: time.Unix(1_000_000, 0), ends: [2]*ender{{}, {}}, chance: rand.New(rand.NewPCG(seed, 9))}
}

// step lets 25 ms pass, and returns what the link costs by both ends.
func (d *duo) step() uint16 {
	d.now = d.now.Add(linkstate.VolleyEvery)
	for i, e := range d.ends {
		_, due := e.volleys.Due(d.now)
		if !due && d.now.Sub(e.hello) < interval {
			continue
		}
		if !due {
			e.hello = d.now
		}
		e.seq++
		e.sent++
		if d.chance.Float64() < d.loss[i] {
			continue
		}
		other := d.ends[1-i]
		other.Heard(1, e.seq, interval, d.now)
		if other.Doubt(d.now) && d.chance.Float64() >= d.loss[1-i] {
			e.volleys.Asked(netip.MustParseAddr("10.66.0.1"), d.now)
		}
	}
	worst := uint16(0)
	for _, e := range d.ends {
		cost, _ := e.Cost(interval, d.now)
		worst = max(worst, cost)
	}
	return worst
}

// TestLossIsToldFromNoise bounds how soon a lossy link is known as one, and how seldom one that hardly loses anything.
func TestLossIsToldFromNoise(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		loss [2]float64
		runs int
		// median and most are how long it takes, the latter in nine of ten cases, unless never: for so long it must not happen in nine of ten.
		median, most time.Duration
		never        bool
	}{
		{"20 % each way", [2]float64{0.2, 0.2}, 100, time.Second, 2 * time.Second, false},
		{"20 % one way", [2]float64{0, 0.2}, 100, 1500 * time.Millisecond, 3500 * time.Millisecond, false},
		{"1 % each way", [2]float64{0.01, 0.01}, 50, 0, 2 * time.Minute, true},
		{"nothing", [2]float64{}, 1, 0, 10 * time.Minute, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var took []time.Duration
			for seed := range uint64(tt.runs) {
				d := newDuo(seed)
				for range 10 * time.Second / linkstate.VolleyEvery {
					d.step()
				}
				d.loss = tt.loss
				from := d.now
				for d.now.Sub(from) < tt.most && d.step() == linkstate.CostGood {
					continue
				}
				took = append(took, d.now.Sub(from))
			}
			slices.Sort(took)
			first, middle, ninth := took[len(took)/10], took[len(took)/2], took[len(took)*9/10]
			t.Logf("noticed after %s in the middle, %s in nine of ten cases", middle, ninth)
			switch {
			case tt.never && first < tt.most:
				t.Errorf("called lossy after %s in one of ten cases", first)
			case !tt.never && (middle > tt.median || ninth >= tt.most):
				t.Errorf("noticed after %s in the middle and %s in nine of ten cases, want %s and less than %s", middle, ninth, tt.median, tt.most)
			}
		})
	}
}

// TestVolleysAreBounded has fifty neighbours ask for volleys all the time.
func TestVolleysAreBounded(t *testing.T) {
	t.Parallel()
	var v linkstate.Volleys
	now := time.Unix(1_000_000, 0)
	got := map[netip.Addr]int{}
	sent := 0
	const seconds = 60
	for range seconds * time.Second / linkstate.VolleyEvery {
		now = now.Add(linkstate.VolleyEvery)
		for i := range 50 {
			v.Asked(netip.AddrFrom4([4]byte{10, 66, 0, byte(i)}), now)
		}
		if to, due := v.Due(now); due {
			got[to]++
			sent++
		}
	}
	if most := seconds * int(time.Second/linkstate.VolleyEvery); sent > most || sent < most/2 {
		t.Errorf("%d hellos in a minute, want less than %d, and not far less", sent, most)
	}
	for to, n := range got {
		if n > 16*seconds/2+16 {
			t.Errorf("%s got %d hellos in a minute", to, n)
		}
	}
}

func TestMore(t *testing.T) {
	t.Parallel()
	got, err := linkstate.Parse(linkstate.EncodeMore())
	if diff := cmp.Diff(linkstate.Message{More: true}, got); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	if _, err := linkstate.Parse(append(linkstate.EncodeMore(), 0)); err == nil {
		t.Error("a message with something behind it was taken")
	}
}
