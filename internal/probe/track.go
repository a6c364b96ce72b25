package probe

import (
	"math"
	"time"
)

// Direction is how packets fare in one direction of a path.
type Direction struct {
	// Known tells whether this direction can be judged: a packet has arrived at some time, or the other end has said what it got.
	Known bool
	// Silent tells that nothing arrives: at least silentAfter packets in a row that were due are missing. Since is when that began or
	// ended.
	Silent bool
	Since  time.Time
	// Missing is how many packets in a row are missing that were due by now. They are no loss before the sender's next one shows that they
	// were sent.
	Missing int
	Loss    Loss
	// MTU is the size of the largest packet that arrived lately, in bytes with its IP header; 0 while none did.
	MTU int
}

const (
	// silentAfter packets that are due in a row must be missing for silence. One in twenty-five thousand such rows is missing by chance
	// at a loss of 20 % when six are asked for, which takes too long; three are confirmed by other means before anybody acts.
	silentAfter = 3
	// replayPatience is how long nothing of a sender's run arrived before an earlier run is believed: its clock went back.
	replayPatience = 10 * time.Second
	// outage is how many packets in a row must be missing for their loss to be none of a path that works: the path was not there.
	outage = 10
	// mostLost bounds how many packets are remembered.
	mostLost = 600
)

// track is what one end knows of one path to a peer. Times are given, so that it can be tested without any.
type track struct {
	// number is that of the last packet that was sent.
	number uint32
	in     inbound
	out    outbound
	rtt    time.Duration
	// sizes are those of what arrives, taken is what the other end says of them.
	sizes arrivals
	taken taken
}

// inbound is the direction towards this node.
type inbound struct {
	Direction
	run      uint64
	highest  uint32
	seen     uint64
	sent     uint64
	interval time.Duration
	arrived  time.Time
}

// outbound is the direction from this node, as the other end tells.
type outbound struct {
	Direction
	// judged is the number of the last packet whose fate is known; times are when those after it were sent.
	judged uint32
	times  map[uint32]time.Time
}

// newTrack returns what is known at the beginning: nothing.
func newTrack(now time.Time) *track {
	t := &track{sizes: arrivals{at: map[int]time.Time{}}, out: outbound{times: map[uint32]time.Time{}}}
	t.in.Since, t.out.Since = now, now
	return t
}

// take takes a packet that arrived, and says whether it is new. Run and start are those of this end.
func (t *track) take(p packet, size int, run uint64, start, now time.Time) bool {
	before := t.in.run
	if !t.in.fresh(p, now) {
		return false
	}
	if t.in.run != before {
		// What was sent to an agent that did not run says nothing of the path.
		t.out.forget(t.number)
		t.taken.restarted()
	}
	t.sizes.take(p, size, now)
	if p.large {
		return true
	}
	t.in.take(p, now)
	t.taken.hear(int(p.largest), now)
	t.hear(p, run, start, now)
	return true
}

// fresh tells whether a packet is none that arrived before, and begins anew with a sender that has.
func (in *inbound) fresh(p packet, now time.Time) bool {
	if p.run != in.run {
		if p.run < in.run && now.Sub(in.arrived) < replayPatience {
			return false
		}
		*in = inbound{Direction: in.Direction, run: p.run}
	}
	if p.large {
		// It has the number of the packet before it. Of old ones only the size could be learned.
		return p.number+64 > in.highest
	}
	if p.number > in.highest {
		return true
	}
	back := in.highest - p.number
	return back < 64 && in.seen&(1<<back) == 0
}

func (in *inbound) take(p packet, now time.Time) {
	first := in.highest == 0
	if p.number <= in.highest {
		// Overtaken: it counts as lost, which is what it was to whoever waited for it.
		in.seen |= 1 << (in.highest - p.number)
		return
	}
	gap := p.number - in.highest - 1
	if first {
		gap = 0
	}
	if gap < outage {
		for range gap {
			in.Loss.add(true)
		}
	}
	in.Loss.add(false)
	if gap >= 63 {
		in.seen = 0
	}
	in.seen = in.seen<<(gap+1) | 1
	in.highest, in.sent, in.interval, in.arrived = p.number, p.sent, p.interval, now
	in.Known, in.Missing = true, 0
	in.silence(false, now)
}

func (d *Direction) silence(silent bool, now time.Time) {
	if d.Silent != silent {
		d.Silent, d.Since = silent, now
	}
}

// hear takes what the other end says of this one's packets.
func (t *track) hear(p packet, run uint64, start, now time.Time) {
	o := &t.out
	if p.heardRun != run || p.heard == 0 || p.heard > t.number {
		o.overdue(now, t.patience(p.interval))
		return
	}
	if rtt := now.Sub(start) - time.Duration(min(p.heardSent, math.MaxInt64/1000))*time.Microsecond - time.Duration(p.held)*time.Microsecond; rtt > 0 && rtt < time.Minute {
		if t.rtt == 0 {
			t.rtt = rtt
		} else {
			t.rtt += time.Duration(rttWeight * float64(rtt-t.rtt))
		}
	}
	for number := o.judged + 1; number <= p.heard; number++ {
		if _, sent := o.times[number]; !sent {
			continue
		}
		delete(o.times, number)
		back := p.heard - number
		if back >= 64 {
			continue // longer ago than it tells
		}
		if lost := p.seen&(1<<back) == 0; !lost || o.Missing < outage {
			o.Loss.add(lost)
		}
	}
	if p.heard > o.judged {
		o.judged, o.Known, o.Missing = p.heard, true, 0
		o.silence(false, now)
		return
	}
	o.overdue(now, t.patience(p.interval))
}

// patience is how long after a packet was sent the other end must have told of it.
func (t *track) patience(interval time.Duration) time.Duration {
	return max(2*t.rtt, 100*time.Millisecond) + 2*interval
}

// forget drops everything that was sent up to a number without a word about it.
func (o *outbound) forget(number uint32) {
	clear(o.times)
	o.judged, o.Missing = number, 0
}

// overdue counts what the other end should have told of, since it does tell.
func (o *outbound) overdue(now time.Time, patience time.Duration) {
	overdue := 0
	for number, sent := range o.times {
		if number > o.judged && now.Sub(sent) > patience {
			overdue++
		}
		if now.Sub(sent) > 2*time.Minute {
			delete(o.times, number)
		}
	}
	o.Missing = overdue
	if overdue >= silentAfter {
		o.Known = true
		o.silence(true, now)
	}
}

// tick counts what should have arrived. Nothing can be said of a peer that never sent anything.
func (t *track) tick(now time.Time) {
	in := &t.in
	if in.highest == 0 || in.interval <= 0 {
		return
	}
	grace := in.interval/2 + 50*time.Millisecond
	in.Missing = max(in.Missing, int((now.Sub(in.arrived)-grace)/in.interval))
	if in.Missing >= silentAfter {
		in.silence(true, now)
		// What the other end would say of the other direction is not heard.
		t.out.Known = false
	}
}

// next returns the next packet of this path.
func (t *track) next(p packet, now time.Time, memory time.Duration) packet {
	t.number++
	t.out.times[t.number] = now
	if len(t.out.times) > mostLost {
		delete(t.out.times, t.number-mostLost)
	}
	return t.describe(p, now, memory)
}

// describe fills in what this end has got.
func (t *track) describe(p packet, now time.Time, memory time.Duration) packet {
	p.number = t.number
	if t.in.highest > 0 {
		p.heardRun, p.heard, p.heardSent, p.seen = t.in.run, t.in.highest, t.in.sent, t.in.seen
		p.held = uint32(min(now.Sub(t.in.arrived).Microseconds(), math.MaxUint32)) //nolint:gosec // it fits
	}
	p.largest = uint16(t.sizes.told(memory)) //nolint:gosec // sizes are of packets
	return p
}
