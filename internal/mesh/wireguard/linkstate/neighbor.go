// Package linkstate finds the ways between the nodes of a mesh whose technology has no routing of its own.
//
// Every node says hello to every other several times a second over the direct path. Who receives says what it hears from
// whom, and how well (an Advert), and adverts go to everybody. From the same adverts every node computes the same
// shortest paths.
//
// Two things differ from the routing protocols that are at hand. WireGuard takes a packet from a peer only when the
// packet's source is among the addresses that it would send to that same peer: the way back must be the way there, on
// every hop. So costs are those of a pair, not of a direction, and no two ways ever cost the same. And a link that loses
// packets is worse than two that do not: its cost comes from the loss of hellos.
//
// It is pure: no I/O, and the time is given. Its types are not safe for concurrent use.
package linkstate

import (
	"math/bits"
	"time"
)

// The costs of a link. Two good links cost less than one that loses packets, and a link that is silent costs more than any
// way round it, but less than none.
const (
	CostGood   = 10
	CostLossy  = 30
	CostPoor   = 60
	CostBad    = 120
	CostSilent = 10_000
)

// Timers of a neighbour, beside the interval of hellos.
const (
	// A link is silent after as many intervals without a hello as silentAfter, but not before leastSilence: three to five
	// hellos lost, and the network may be late. With 5 % loss on all links of 20 nodes, a link is falsely silent once in some
	// hours.
	silentAfter  = 3.5
	leastSilence = 500 * time.Millisecond
	// goneAfter is when a silent link is given up, so that a node which is alone knows.
	goneAfter = 5 * time.Second
	// A link that has become worse must stay well for minHold before it counts as better. The time doubles with each time
	// that a good link goes bad within memory, up to maxHold, so that a link which comes and goes is left alone.
	minHold = 2 * time.Second
	maxHold = 32 * time.Second
	memory  = time.Minute
	// fewLost of the last 16 hellos make a link a lossy one.
	fewLost = 4
)

// Neighbor is what one node hears from one other. The zero value has heard nothing.
type Neighbor struct {
	session uint32
	seq     uint32
	last    time.Time
	heard   bool
	// history has a bit for each of the last hellos, the youngest lowest: 1 is lost. known is how many it has.
	history uint64
	known   int

	// cost is what holds, better since when the hellos have said that it might be less, and most what they said since.
	cost   uint16
	better time.Time
	most   uint16
	// falls counts how often the link went bad, with no more than memory between two times; bad is when it last was.
	falls int
	bad   time.Time
	// before is what the link cost before it fell silent.
	before uint16
	// ask is when the neighbour may be asked for a volley.
	ask time.Time
}

// Heard notes a hello. Session tells one run of the neighbour from another.
func (n *Neighbor) Heard(session, seq uint32, interval time.Duration, now time.Time) {
	ahead := seq - n.seq
	if n.heard && session == n.session && ahead == 1 && now.Sub(n.last) >= silence(interval) && n.cost == CostSilent && n.before != 0 {
		// Not one hello was lost: the neighbour itself stood still, on a machine that has too much to do.
		n.cost, n.better, n.falls = n.before, time.Time{}, max(0, n.falls-1)
	}
	switch {
	case !n.heard || session != n.session || now.Sub(n.last) >= silence(interval):
		// What was lost while the link was silent says nothing of how it is now.
		n.session, n.seq, n.history, n.known = session, seq, 0, 1
	case ahead == 0:
		return
	case ahead > 1<<31: // late: it was not lost after all
		if back := n.seq - seq; back < 64 {
			n.history &^= 1 << back
		}
		return
	default:
		n.shift(ahead)
		n.seq = seq
	}
	n.heard, n.last = true, now
}

// shift makes room for ahead more hellos, of which all but the last are lost so far.
func (n *Neighbor) shift(ahead uint32) {
	if ahead >= 64 {
		n.history = ^uint64(1)
	} else {
		n.history = n.history<<ahead | (1<<ahead - 1) ^ 1
	}
	n.known = int(min(64, uint32(n.known)+ahead)) //nolint:gosec // between 0 and 128
}

// Excuse moves the time that the neighbour was last heard: this node itself was not there to listen for so long.
func (n *Neighbor) Excuse(d time.Duration) {
	if n.heard {
		n.last = n.last.Add(d)
	}
}

func silence(interval time.Duration) time.Duration {
	return max(leastSilence, time.Duration(silentAfter*float64(interval)))
}

// lost returns how many of the last hellos were lost.
func (n *Neighbor) lost(of int) int {
	return bits.OnesCount64(n.history & (1<<min(of, n.known) - 1))
}

// measured returns what the link would cost if nothing were held against it, and whether there is a link.
func (n *Neighbor) measured(interval time.Duration, now time.Time) (uint16, bool) {
	quiet := now.Sub(n.last)
	lost := n.lost(32)
	switch {
	case !n.heard || quiet >= goneAfter:
		return 0, false
	case quiet >= silence(interval):
		return CostSilent, true
	case lost >= 16:
		return CostBad, true
	case lost >= 10:
		return CostPoor, true
	case lost >= 5 || n.lost(16) >= fewLost:
		return CostLossy, true
	default:
		return CostGood, true
	}
}

// Cost returns what the direction from the neighbour to this node costs, and whether there is one. It becomes more at once,
// and less after a time.
func (n *Neighbor) Cost(interval time.Duration, now time.Time) (uint16, bool) {
	cost, ok := n.measured(interval, now)
	if !ok {
		// Whoever comes for the first time, or again after long, is taken as it is.
		n.cost = 0
		return 0, false
	}
	if n.cost == CostGood && cost > CostGood {
		if now.Sub(n.bad) > memory {
			n.falls = 0
		}
		n.falls++
	}
	if cost > CostGood {
		n.bad = now
	}
	if cost == CostSilent && n.cost != CostSilent {
		n.before = n.cost
	}
	switch {
	case n.cost == 0 || cost >= n.cost:
		n.cost, n.better = cost, time.Time{}
	case n.better.IsZero():
		n.better, n.most = now, cost
	case now.Sub(n.better) < n.hold():
		n.most = max(n.most, cost)
	default:
		n.cost, n.better = max(n.most, cost), time.Time{}
	}
	return n.cost, true
}

func (n *Neighbor) hold() time.Duration {
	return min(maxHold, minHold<<min(max(n.falls-1, 0), 8))
}
