package probe_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/probe"
)

// pair is two ends and the network between them, in a time of their own.
type pair struct {
	now  time.Time
	a, b *probe.End
	// delay is a packet's way. AB and BA are the shares that are lost.
	delay  time.Duration
	ab, ba float64
	chance *rand.Rand
	// aDown and bDown stop an agent.
	aDown, bDown bool
	flying       []flying
	// takes is the largest packet that passes from a to b, in bytes; 0 for all. Sets counts the sets of packets of all sizes that a has sent.
	takes, sets int
}

type flying struct {
	at   time.Time
	to   **probe.End
	p    probe.Packet
	size int
}

func newPair() *pair {
	now := time.Unix(1_700_000_000, 0)
	return &pair{now: now, a: probe.NewEnd(1_000_000_000_000, now), b: probe.NewEnd(2_000_000_000_000, now), delay: 20 * time.Millisecond, chance: rand.New(rand.NewPCG(1, 2))}
}

// run lets time pass.
func (p *pair) run(d time.Duration) {
	const tick = 10 * time.Millisecond
	for end := p.now.Add(d); p.now.Before(end); {
		p.now = p.now.Add(tick)
		for len(p.flying) > 0 && !p.flying[0].at.After(p.now) {
			f := p.flying[0]
			p.flying = p.flying[1:]
			if (f.to == &p.a && p.aDown) || (f.to == &p.b && p.bDown) {
				continue
			}
			(*f.to).TakeSize(f.p, f.size, p.now)
		}
		if !p.aDown {
			p.a.Tick(p.now)
		}
		if !p.bDown {
			p.b.Tick(p.now)
		}
		if p.now.UnixMilli()%200 != 0 {
			continue
		}
		if !p.aDown {
			p.send(p.a, &p.b, p.ab)
		}
		if !p.bDown {
			p.send(p.b, &p.a, p.ba)
		}
	}
}

func (p *pair) send(from *probe.End, to **probe.End, loss float64) {
	packet := from.Next(p.now)
	if p.chance.Float64() >= loss {
		p.flying = append(p.flying, flying{p.now.Add(p.delay), to, packet, probe.PacketSize + 28})
	}
	set := from.Set(p.now, setEvery)
	if from == p.a && set != nil {
		p.sets++
	}
	for size, packet := range set {
		if p.chance.Float64() >= loss && (p.takes == 0 || from != p.a || size <= p.takes) {
			p.flying = append(p.flying, flying{p.now.Add(p.delay), to, packet, size})
		}
	}
}

// setEvery is how often packets of all sizes are sent.
const setEvery = 20 * time.Second

func TestDirections(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		ab, ba float64
		// The bounds of what both ends must measure, each direction by itself.
		abMin, abMax, baMin, baMax float64
	}{
		{"clean", 0, 0, 0, 0, 0, 0},
		{"one way loses", 0.2, 0, 0.1, 0.32, 0, 0},
		{"the other way loses", 0, 0.4, 0, 0, 0.25, 0.55},
		{"both ways lose", 0.3, 0.05, 0.17, 0.45, 0.005, 0.15},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPair()
			p.ab, p.ba = tt.ab, tt.ba
			p.run(2 * time.Minute)
			for name, got := range map[string]struct {
				direction probe.Direction
				low, high float64
			}{
				"a->b as b sees it": {p.b.In(), tt.abMin, tt.abMax}, "a->b as a is told": {p.a.Out(), tt.abMin, tt.abMax},
				"b->a as a sees it": {p.a.In(), tt.baMin, tt.baMax}, "b->a as b is told": {p.b.Out(), tt.baMin, tt.baMax},
			} {
				loss := got.direction.Loss.Slow
				if !got.direction.Known || got.direction.Silent || loss < got.low || loss > got.high {
					t.Errorf("%s: %+v, want a loss from %.2f to %.2f", name, got.direction, got.low, got.high)
				}
			}
			if rtt := p.a.RTT(); rtt < 40*time.Millisecond || rtt > 70*time.Millisecond {
				t.Errorf("round trip of %s", rtt)
			}
		})
	}
}

func TestOneWayCut(t *testing.T) {
	t.Parallel()
	p := newPair()
	p.run(10 * time.Second)
	p.ab = 1
	p.run(1500 * time.Millisecond)
	if in := p.b.In(); !in.Silent {
		t.Errorf("b does not see that nothing arrives from a: %+v", in)
	}
	if out := p.a.Out(); !out.Known || !out.Silent {
		t.Errorf("a does not know that nothing of it arrives: %+v", out)
	}
	if in, out := p.a.In(), p.b.Out(); in.Silent || in.Loss.Fast > 0 || out.Known {
		t.Errorf("the direction that works: a sees %+v, b says %+v of what it cannot know", in, out)
	}
	p.run(time.Minute)
	p.ab = 0
	p.run(time.Second)
	for name, d := range map[string]probe.Direction{"b in": p.b.In(), "a out": p.a.Out(), "a in": p.a.In(), "b out": p.b.Out()} {
		if !d.Known || d.Silent || d.Loss.Slow > 0.1 {
			t.Errorf("healed, %s: %+v", name, d)
		}
	}
}

// TestAgentAway has an agent that is started again, or does not run for a moment: that is silence, but no loss of the path.
func TestAgentAway(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{true, false} {
		p := newPair()
		p.run(30 * time.Second)
		p.bDown = true
		p.run(5 * time.Second)
		if in := p.a.In(); !in.Silent || in.Missing < 15 || in.Loss.Fast > 0.01 {
			t.Errorf("restart %t: a sees nothing missing, or a loss: %+v", restart, in)
		}
		p.bDown = false
		if restart {
			p.b.Restart(p.now)
		}
		p.run(3 * time.Second)
		if in := p.a.In(); in.Silent || in.Loss.Fast > 0.01 {
			t.Errorf("restart %t: a takes b's absence for a loss of the path: %+v", restart, in)
		}
		if restart {
			if out := p.a.Out(); !out.Known || out.Silent || out.Loss.Fast > 0.01 {
				t.Errorf("a takes b's absence for a loss of its own packets: %+v", out)
			}
		}
	}
}

// TestOldPackets shows packets again.
func TestOldPackets(t *testing.T) {
	t.Parallel()
	p := newPair()
	first := p.a.Next(p.now)
	second := p.a.Next(p.now)
	if !p.b.Take(second, p.now) || !p.b.Take(first, p.now) {
		t.Error("two packets in the wrong order: one is refused")
	}
	for name, packet := range map[string]probe.Packet{"first": first, "second": second} {
		if p.b.Take(packet, p.now) {
			t.Errorf("the %s packet was taken twice", name)
		}
	}
	for range 100 {
		p.b.Take(p.a.Next(p.now), p.now)
	}
	if p.b.Take(first, p.now) {
		t.Error("a packet of long ago was taken again")
	}
	p.a.Restart(p.now)
	if !p.b.Take(p.a.Next(p.now), p.now) {
		t.Error("the first packet after a restart is refused")
	}
	if p.b.Take(second, p.now) {
		t.Error("a packet from before the restart was taken")
	}
	// A clock that went back: believed once nothing of the later run comes any more.
	p.a.Run -= 500_000_000
	if p.b.Take(p.a.Next(p.now), p.now) {
		t.Error("an earlier run was believed at once")
	}
	if !p.b.Take(p.a.Next(p.now), p.now.Add(11*time.Second)) {
		t.Error("after a while an earlier run must be believed")
	}
}
