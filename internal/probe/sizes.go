package probe

import "time"

const (
	// quiet is how many packets in a row must be missing until the time in which nothing arrived does not count: it says nothing of sizes.
	quiet = 3
	// lacking is how many sets in a row must arrive without packets of a size until those are known not to pass: one may get lost.
	lacking = 3
	// doubtFor is how long the other end must say that large packets do not arrive any more until that is believed: it is sent more of them meanwhile, which
	// end its doubt.
	doubtFor = 5 * time.Second
	// Sets that are sent because of that follow each other after moreAfter, moreSets of them in the time of one otherwise.
	moreAfter = time.Second
	moreSets  = lacking - 1
)

// arrivals is how large packets are that arrive. Large ones come in sets, one of each size, whose packets have the number of the packet before them.
type arrivals struct {
	// at is when packets of each size arrived last, last when any did.
	at   map[int]time.Time
	last time.Time
	// set is the newest one, 0 for none or one that is over; largest is its largest packet so far.
	set     uint32
	largest int
	// known is the size of the largest packet that arrives, 0 while no set has. Lacks counts the sets in a row without one of it, whose largest is next.
	known, lacks, next int
}

// take takes a packet that arrived.
func (a *arrivals) take(p packet, size int, now time.Time) {
	if gap := now.Sub(a.last); gap > quiet*p.interval {
		for size, at := range a.at {
			a.at[size] = at.Add(gap)
		}
	}
	a.at[size], a.last = now, now
	if p.number != a.set {
		a.over()
	}
	if !p.large {
		return
	}
	a.set, a.largest = p.number, max(a.largest, size)
	if size >= a.known {
		a.known, a.lacks, a.next = size, 0, 0
	}
}

// over ends the newest set: a packet that was sent after it has arrived.
func (a *arrivals) over() {
	largest := a.largest
	a.set, a.largest = 0, 0
	if largest == 0 || largest >= a.known {
		return
	}
	a.lacks, a.next = a.lacks+1, max(a.next, largest)
	if a.lacks == lacking {
		a.known, a.lacks, a.next = a.next, 0, 0
	}
}

// most is the size of the largest packet that arrives, as far as that is known, of what arrived within memory.
func (a *arrivals) most(memory time.Duration) int {
	most := 0
	for size, at := range a.at {
		if a.last.Sub(at) > memory {
			delete(a.at, size)
			continue
		}
		most = max(most, size)
	}
	if a.known != 0 {
		most = min(most, a.known)
	}
	return most
}

// told is what the other end is told: that of the newest sets where they lack what arrived before, so that it sends more of them.
func (a *arrivals) told(memory time.Duration) int {
	if a.lacks > 0 {
		return a.next
	}
	return a.most(memory)
}

// taken is what the other end says of packets that this one sends it, and when they are sent.
type taken struct {
	// most is the size of the largest one that arrives there. Since is when the other end began to say less, the zero time while it does not.
	most  int
	since time.Time
	// last is when a set of packets of all sizes was sent last, next when the next regular one is due. Sets counts those that were sent beside these since from.
	last, next, from time.Time
	sets             int
}

// hear takes what the other end says. Less is believed when a set was sent since it began to say so, which has had the time to arrive.
func (t *taken) hear(most int, now time.Time) {
	switch {
	case most >= t.most:
		t.most, t.since = most, time.Time{}
	case t.since.IsZero():
		t.since = now
	case now.Sub(t.since) >= doubtFor && t.last.After(t.since) && now.Sub(t.last) >= moreAfter:
		t.most, t.since = most, time.Time{}
	}
}

// due tells whether a set is to be sent now, which it then is. One is in every time, and a few more while the other end lacks large packets.
func (t *taken) due(now time.Time, every time.Duration) bool {
	if now.Before(t.next) && !t.wantsMore(now, every) {
		return false
	}
	t.last, t.next = now, now.Add(every)
	return true
}

// wantsMore tells whether another set is to be sent now, of which one is sent in every time otherwise.
func (t *taken) wantsMore(now time.Time, every time.Duration) bool {
	if t.since.IsZero() || now.Sub(t.last) < moreAfter {
		return false
	}
	if now.Sub(t.from) >= every {
		t.from, t.sets = now, 0
	}
	if t.sets == moreSets {
		return false
	}
	t.sets++
	return true
}

// restarted forgets what the other end said of what it has got: it knows nothing of that any more.
func (t *taken) restarted() { *t = taken{most: t.most, last: t.last, next: t.next} }
