package probe_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/probe"
	"github.com/atollhq/terraform-provider-atoll/internal/steering"
)

// paced is two ends that send when packets are due, in a time of their own. Each node has one peer of this kind, among others.
type paced struct {
	now       time.Time
	ends      [2]*probe.End
	paces     [2]probe.Pace
	attention [2]probe.Attention
	interval  time.Duration
	loss      [2]float64
	chance    *rand.Rand
	flying    []arriving
	sent      int
}

type arriving struct {
	at time.Time
	to int
	p  probe.Packet
}

func newPaced(seed uint64, interval time.Duration, loss [2]float64) *paced {
	now := time.Unix(1_700_000_000, 0)
	return &paced{
		now: now, ends: [2]*probe.End{probe.NewEnd(1_000_000_000_000, now), probe.NewEnd(2_000_000_000_000, now)},
		interval: interval, loss: loss, chance: rand.New(rand.NewPCG(seed, 3)),
	}
}

// step lets 20 ms pass, which is how often a prober looks what is due.
func (p *paced) step() {
	const delay = 20 * time.Millisecond
	p.now = p.now.Add(20 * time.Millisecond)
	for len(p.flying) > 0 && !p.flying[0].at.After(p.now) {
		f := p.flying[0]
		p.flying = p.flying[1:]
		p.ends[f.to].Take(f.p, p.now)
	}
	for i, end := range p.ends {
		end.Tick(p.now)
		if !p.paces[i].Due(&p.attention[i], end.In(), end.Out(), p.interval, p.now) {
			continue
		}
		p.sent++
		packet := end.NextEvery(p.now, p.interval)
		if p.chance.Float64() >= p.loss[i] {
			p.flying = append(p.flying, arriving{p.now.Add(delay), 1 - i, packet})
		}
	}
}

// leaves tells whether the first end would leave the link, with a good detour.
func (p *paced) leaves() bool {
	quality := func(d probe.Direction) steering.Quality {
		return steering.Quality{Known: d.Known, Dead: d.Silent, Fast: d.Loss.Fast, Mid: d.Loss.Mid, Slow: d.Loss.Slow, RTT: 40 * time.Millisecond}
	}
	well := steering.Quality{Known: true, RTT: 40 * time.Millisecond}
	_, changes := steering.Decide(nil, steering.Input{
		Self: "a", Now: p.now, Peers: []string{"b", "c"}, Reachable: map[string]bool{"b": true, "c": true},
		Direct: map[steering.Pair]bool{{From: "b", To: "c"}: true},
		Links: map[steering.Pair]steering.Quality{
			{From: "a", To: "b"}: well, {From: "b", To: "a"}: well, {From: "b", To: "c"}: well, {From: "c", To: "b"}: well,
			{From: "a", To: "c"}: quality(p.ends[0].Out()), {From: "c", To: "a"}: quality(p.ends[0].In()),
		},
	})
	return len(changes) > 0
}

// TestLossIsToldFromNoise bounds how soon a link is left that loses packets, and how seldom one that hardly does, for clusters of 3 and of
// 50 nodes.
func TestLossIsToldFromNoise(t *testing.T) {
	t.Parallel()
	const runs = 100
	for _, tt := range []struct {
		name  string
		peers int
		loss  [2]float64
		// median and most are how long it takes, the latter in nine of ten cases; never is for a link that must be in use for most in nine of ten.
		median, most time.Duration
		never        bool
	}{
		{"20 % each way, 3 nodes", 2, [2]float64{0.2, 0.2}, time.Second, 2 * time.Second, false},
		{"20 % one way, 3 nodes", 2, [2]float64{0.2, 0}, 1500 * time.Millisecond, 4 * time.Second, false},
		{"20 % each way, 50 nodes", 49, [2]float64{0.2, 0.2}, 5 * time.Second, 12 * time.Second, false},
		{"nothing", 2, [2]float64{}, 0, 10 * time.Minute, true},
		{"one in two hundred each way, 3 nodes", 2, [2]float64{0.005, 0.005}, 0, time.Minute, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			interval := probe.Interval(probe.Public, tt.peers)
			var took []time.Duration
			count := runs
			if tt.loss == [2]float64{} {
				count = 1
			}
			for seed := range uint64(count) {
				p := newPaced(seed, interval, [2]float64{})
				for range 30 * time.Second / (20 * time.Millisecond) {
					p.step()
				}
				p.loss = tt.loss
				from := p.now
				for p.now.Sub(from) < tt.most && !p.leaves() {
					p.step()
				}
				took = append(took, p.now.Sub(from))
			}
			slices.Sort(took)
			middle, ninth, first := took[len(took)/2], took[len(took)*9/10], took[len(took)/10]
			t.Logf("left after %s in the middle, %s in nine of ten cases", middle, ninth)
			if tt.never {
				if first < tt.most {
					t.Errorf("left after %s in one of ten cases", first)
				}
				return
			}
			if middle > tt.median || ninth >= tt.most {
				t.Errorf("left after %s in the middle and %s in nine of ten cases, want %s and less than %s", middle, ninth, tt.median, tt.most)
			}
		})
	}
}

// TestCloserIsBounded has all links of a large cluster lose packets, at all rates.
func TestCloserIsBounded(t *testing.T) {
	t.Parallel()
	const peers = 49
	for _, loss := range []float64{0.005, 0.02, 0.05, 0.2} {
		var attention probe.Attention
		now := time.Unix(1_700_000_000, 0)
		chance := rand.New(rand.NewPCG(5, 5))
		paces := make([]probe.Pace, peers)
		averages := make([]probe.Loss, peers)
		interval := probe.Interval(probe.Public, peers)
		perSecond := 0
		for tick := range 5 * 60 * 50 {
			now = now.Add(20 * time.Millisecond)
			for i := range paces {
				d := probe.Direction{Known: true, Loss: averages[i]}
				if paces[i].Due(&attention, d, probe.Direction{Known: true}, interval, now) {
					perSecond++
					averages[i].Add(chance.Float64() < loss)
				}
			}
			if tick%50 != 49 {
				continue
			}
			// At first all peers are due at the same time; then their packets come in heaps.
			if most := probe.MostPublic + probe.MostCloser + peers; perSecond > most {
				t.Fatalf("%.1f %% lost: %d packets in second %d, want %d at most", 100*loss, perSecond, tick/50, most)
			}
			perSecond = 0
		}
	}
}

// TestNoCloserLook has paths that are silent, and such that are known to be bad.
func TestNoCloserLook(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	for _, tt := range []struct {
		name string
		in   probe.Direction
		want int
	}{
		{"well", probe.Direction{Known: true}, 10},
		{"silent", probe.Direction{Known: true, Silent: true, Loss: probe.Loss{Fast: 0.3, Mid: 0.1, Slow: 0.03}}, 10},
		{"known to be bad", probe.Direction{Known: true, Loss: probe.Loss{Fast: 0.3, Mid: 0.3, Slow: 0.2}}, 10},
		{"one packet lost", probe.Direction{Known: true, Loss: probe.Loss{Fast: 0.1, Mid: 0.03, Slow: 0.01}}, 20 + 7},
	} {
		var attention probe.Attention
		var pace probe.Pace
		sent := 0
		for tick := range 50 {
			if pace.Due(&attention, tt.in, probe.Direction{Known: true}, 100*time.Millisecond, now.Add(time.Duration(tick)*20*time.Millisecond)) {
				sent++
			}
		}
		if sent < tt.want-2 || sent > tt.want+2 {
			t.Errorf("%s: %d packets in a second, want %d", tt.name, sent, tt.want)
		}
	}
}
