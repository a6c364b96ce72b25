package linkstate_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh/wireguard/linkstate"
)

const interval = 100 * time.Millisecond

// link is a neighbour whose hellos come, or not, by a clock of the test's own.
type link struct {
	linkstate.Neighbor
	now time.Time
	seq uint32
}

func newLink() *link { return &link{now: time.Unix(1_000_000, 0)} }

// hello lets one interval pass, at whose end a hello comes if arrives.
func (l *link) hello(arrives bool) uint16 {
	l.now, l.seq = l.now.Add(interval), l.seq+1
	if arrives {
		l.Heard(1, l.seq, interval, l.now)
	}
	return l.cost()
}

func (l *link) cost() uint16 {
	cost, ok := l.Cost(interval, l.now)
	if !ok {
		return 0
	}
	return cost
}

// run lets d pass, in which hellos come as arrives says, and returns the cost at the end and what it was on the way.
func (l *link) run(d time.Duration, arrives func() bool) (end uint16, seen map[uint16]int) {
	seen = map[uint16]int{}
	for range d / interval {
		end = l.hello(arrives())
		seen[end]++
	}
	return end, seen
}

func always() bool  { return true }
func nothing() bool { return false }

func losing(share float64, seed uint64) func() bool {
	r := rand.New(rand.NewPCG(seed, 1))
	return func() bool { return r.Float64() >= share }
}

func TestSilence(t *testing.T) {
	t.Parallel()
	l := newLink()
	if got := l.cost(); got != 0 {
		t.Errorf("who was never heard costs %d", got)
	}
	if got, _ := l.run(10*time.Second, always); got != linkstate.CostGood {
		t.Errorf("a good link costs %d", got)
	}
	l.run(4*interval, nothing)
	if got := l.cost(); got != linkstate.CostGood {
		t.Errorf("after four hellos lost the cost is %d", got)
	}
	l.now = l.now.Add(interval)
	if got := l.cost(); got != linkstate.CostSilent {
		t.Errorf("after half a second of silence the cost is %d", got)
	}
	if l.run(5*time.Second, nothing); l.cost() != 0 {
		t.Errorf("after five seconds of silence the cost is still %d", l.cost())
	}
	if got := l.hello(true); got != linkstate.CostGood {
		t.Errorf("who is back after long costs %d", got)
	}
}

func TestShortSilenceIsHeldAgainstTheLinkForAWhile(t *testing.T) {
	t.Parallel()
	l := newLink()
	l.run(10*time.Second, always)
	var before time.Duration
	for range 3 {
		l.run(time.Second, nothing)
		took := time.Duration(0)
		for l.hello(true) != linkstate.CostGood {
			if took += interval; took > time.Minute {
				t.Fatal("never good again")
			}
		}
		if took <= before {
			t.Errorf("good again after %s, the time before after %s: must take longer each time", took, before)
		}
		before = took
	}
}

func TestExcused(t *testing.T) {
	t.Parallel()
	l := newLink()
	l.run(10*time.Second, always)
	l.now = l.now.Add(3 * time.Second)
	l.Excuse(3 * time.Second)
	if got := l.cost(); got != linkstate.CostGood {
		t.Errorf("a node that was stopped for three seconds judges its neighbour to be %d", got)
	}
}

func TestNeighborThatStoodStill(t *testing.T) {
	t.Parallel()
	l := newLink()
	l.run(10*time.Second, always)
	for range 5 {
		l.now = l.now.Add(2 * time.Second) // in which it says nothing at all
		if got := l.cost(); got != linkstate.CostSilent {
			t.Errorf("after two seconds of silence the cost is %d", got)
		}
		if got := l.hello(true); got != linkstate.CostGood {
			t.Errorf("after a silence in which no hello was lost the cost is %d", got)
		}
	}
}

func TestLateAndRepeatedHellos(t *testing.T) {
	t.Parallel()
	l := newLink()
	l.run(10*time.Second, always)
	// Each pair of hellos comes in the wrong order, and one of them twice.
	for range 40 {
		l.now, l.seq = l.now.Add(2*interval), l.seq+2
		for _, seq := range []uint32{l.seq, l.seq - 1, l.seq} {
			l.Heard(1, seq, interval, l.now)
		}
		if got := l.cost(); got != linkstate.CostGood {
			t.Fatalf("a link that loses nothing costs %d", got)
		}
	}
}

func TestNewSessionBeginsAnew(t *testing.T) {
	t.Parallel()
	l := newLink()
	l.run(10*time.Second, always)
	l.Heard(2, 1, interval, l.now.Add(interval))
	if got := l.cost(); got != linkstate.CostGood {
		t.Errorf("a neighbour that was started again costs %d", got)
	}
}

func TestLoss(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		share float64
		// at is what a link must cost at some time within a minute, at most how much of ten minutes it may cost more than
		// a good one.
		at   uint16
		most float64
	}{
		{"none", 0, linkstate.CostGood, 0},
		{"one in fifty", 0.02, linkstate.CostGood, 0.1},
		{"one in five", 0.2, linkstate.CostLossy, 1},
		{"two in five", 0.4, linkstate.CostPoor, 1},
		{"half", 0.5, linkstate.CostBad, 1},
		{"four in five", 0.8, linkstate.CostSilent, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLink()
			l.run(10*time.Second, always)
			if _, seen := l.run(time.Minute, losing(tt.share, 7)); seen[tt.at] == 0 {
				t.Errorf("never costs %d, but %v", tt.at, seen)
			}
			_, seen := l.run(10*time.Minute, losing(tt.share, 8))
			if worse := 1 - float64(seen[linkstate.CostGood])/6000; worse > tt.most {
				t.Errorf("costs more than a good link for %.0f %% of the time: %v", 100*worse, seen)
			}
			if seen[0] > 0 {
				t.Errorf("was given up %d times", seen[0])
			}
			if got, _ := l.run(90*time.Second, always); got != linkstate.CostGood {
				t.Errorf("costs %d when the loss is over for long", got)
			}
		})
	}
}

// TestLossBySeconds bounds how long a link that begins to lose one packet in five is taken for a good one.
func TestLossBySeconds(t *testing.T) {
	t.Parallel()
	var total time.Duration
	const runs = 200
	for seed := range uint64(runs) {
		l := newLink()
		l.run(10*time.Second, always)
		arrives := losing(0.2, seed)
		for l.hello(arrives()) == linkstate.CostGood {
			total += interval
		}
	}
	if mean := total / runs; mean > 5*time.Second {
		t.Errorf("a link that loses 20 %% is noticed after %s on average", mean)
	}
}

// TestLossThatComesAndGoes must not make traffic come and go for long.
func TestLossThatComesAndGoes(t *testing.T) {
	t.Parallel()
	l := newLink()
	l.run(10*time.Second, always)
	const cycles = 12
	changes := make([]int, cycles)
	before := l.cost()
	for cycle := range cycles {
		for _, arrives := range []func() bool{losing(0.4, uint64(cycle)), always} {
			for range 10 * time.Second / interval {
				now := l.hello(arrives())
				if (now == linkstate.CostGood) != (before == linkstate.CostGood) {
					changes[cycle]++
				}
				before = now
			}
		}
	}
	for cycle, n := range changes {
		if n > 2 || (cycle >= cycles/2 && n > 0) {
			t.Errorf("changes between good and bad in each cycle of 20 s: %v", changes)
			break
		}
	}
}
