package probe_test

import (
	"testing"
	"time"
)

// least runs for a time, and returns the least that either end said meanwhile of the direction from a to b.
func (p *pair) least(d time.Duration) (least int) {
	least = 1 << 16
	for end := p.now.Add(d); p.now.Before(end); {
		p.run(100 * time.Millisecond)
		in, _ := p.b.Largest()
		_, out := p.a.Largest()
		least = min(least, in, out)
	}
	return least
}

// knows tells whether both ends say that a packet from a to b may be so large, and no larger, and that all pass the other way.
func (p *pair) knows(t *testing.T, size int) {
	t.Helper()
	in, out := p.b.Largest()
	theirs, ours := p.a.Largest()
	if in != size || ours != size || out != 1500 || theirs != 1500 {
		t.Errorf("from a to b %d as b sees it and %d as a is told, want %d; from b to a %d and %d, want 1500", in, ours, size, theirs, out)
	}
}

// TestPathShrinks has a path take less: both ends know it soon after the first large packets that are lost, and again that it takes all; in return a sends a few
// packets more.
func TestPathShrinks(t *testing.T) {
	t.Parallel()
	p := newPair()
	p.run(5 * time.Second)
	p.knows(t, 1500)
	p.takes, p.sets = 1280, 0
	p.run(setEvery + 8*time.Second)
	p.knows(t, 1280)
	p.run(2 * setEvery)
	if most := 3 + 2 + 1; p.sets > most {
		t.Errorf("%d sets were sent in %s, want no more than %d", p.sets, 3*setEvery+8*time.Second, most)
	}
	p.takes = 1420
	p.run(setEvery + time.Second)
	p.knows(t, 1420)
	p.takes = 0
	p.run(setEvery + time.Second)
	p.knows(t, 1500)
}

// TestLargePacketsAreLostByChance loses all large packets of a set once: nobody says that the path takes less.
func TestLargePacketsAreLostByChance(t *testing.T) {
	t.Parallel()
	p := newPair()
	p.run(5 * time.Second)
	for p.takes, p.sets = 1280, 0; p.sets == 0; {
		p.run(200 * time.Millisecond)
	}
	p.takes = 0
	if got := p.least(3 * setEvery); got != 1500 {
		t.Errorf("it was said that the path takes %d", got)
	}
	p.knows(t, 1500)
}

// TestRestartedAgentHasHeardNothing restarts an agent, which knows of no large packets yet: they pass all the same.
func TestRestartedAgentHasHeardNothing(t *testing.T) {
	t.Parallel()
	p := newPair()
	p.run(5 * time.Second)
	for range 4 { // more often than packets are asked for again
		p.b.Restart(p.now)
		for range 30 {
			p.run(100 * time.Millisecond)
			if _, out := p.a.Largest(); out != 1500 {
				t.Fatalf("a says that the path takes %d", out)
			}
		}
		if in, _ := p.b.Largest(); in != 1500 {
			t.Errorf("three seconds later b has got packets of %d", in)
		}
	}
	if got := p.least(2 * setEvery); got != 1500 {
		t.Errorf("it was said that the path takes %d", got)
	}
}

// TestNothingArrivesForAWhile cuts one direction, and then both, for longer than large packets are remembered: nobody says then that the path takes less.
func TestNothingArrivesForAWhile(t *testing.T) {
	t.Parallel()
	for name, ba := range map[string]float64{"one way": 0, "both ways": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair()
			p.run(5 * time.Second)
			p.ab, p.ba = 1, ba
			if got := p.least(90 * time.Second); got != 1500 {
				t.Errorf("while nothing arrives it is said that the path takes %d", got)
			}
			p.ab, p.ba = 0, 0
			if got := p.least(2 * setEvery); got != 1500 {
				t.Errorf("after that it is said that the path takes %d", got)
			}
			p.takes = 1280
			p.run(setEvery + 8*time.Second)
			p.knows(t, 1280)
		})
	}
}
