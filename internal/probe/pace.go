package probe

import "time"

// After a loss a node looks closer at a path: lookPackets go to that peer lookEvery, so that it is known within half a second whether the
// loss was noise. It looks at one peer at a time, which bounds what it sends, and at the same one again after lookAgain.
const (
	lookEvery   = 20 * time.Millisecond
	lookPackets = 20
	lookAgain   = 2 * time.Second
	// It begins with suspectFrom, which is one packet of the last ten, and is not worth it from knownFrom of the last hundred on: that is no noise.
	suspectFrom = 0.09
	knownFrom   = 0.05
	// MostCloser is what a node sends at most for that, in packets a second.
	MostCloser = int(time.Second / lookEvery)
)

// attention is which path this node looks closer at: no other until then.
type attention struct{ until time.Time }

// pace says when packets of one path are due.
type pace struct {
	next time.Time
	// left are the packets of a closer look that are still to be sent, again is when the next one may begin.
	left  int
	again time.Time
}

// due tells whether a packet is to be sent now. Attention is nil for a path that is never looked at closer.
func (p *pace) due(a *attention, in, out Direction, interval time.Duration, now time.Time) bool {
	if a != nil && p.left == 0 && !now.Before(a.until) && !now.Before(p.again) && suspect(in, out) {
		p.left, p.next, p.again = lookPackets, now, now.Add(lookAgain)
		a.until = now.Add(lookPackets * lookEvery)
	}
	if now.Before(p.next) {
		return false
	}
	if p.left > 0 {
		p.left--
		p.next = now.Add(lookEvery)
		return true
	}
	// What was missed while this process did not run is not made up for.
	if p.next = p.next.Add(interval); p.next.Before(now) {
		p.next = now.Add(interval)
	}
	return true
}

// suspect tells whether it is worth to look closer: something got lost, and it is not known yet how much does.
func suspect(in, out Direction) bool {
	if in.Silent || out.Silent {
		return false
	}
	return in.Loss.Fast+out.Loss.Fast >= suspectFrom && max(in.Loss.Slow, out.Loss.Slow) < knownFrom
}
