package linkstate

import (
	"net/netip"
	"time"
)

// A hello that is missed may be chance, or the first of many. Whoever misses one asks its sender for a volley: hellos in quick
// succession, which tell the one from the other in half a second. A node sends one volley at a time, and the same neighbour gets no more than
// one in volleyAgain, so that they take no more than 40 hellos a second whatever is lost where.
const (
	// VolleyEvery is the time between two hellos of a volley.
	VolleyEvery = 25 * time.Millisecond
	volleySize  = 16
	volleyAgain = 2 * time.Second
	// askAgain is how soon a neighbour is asked once more: what asks may get lost as well.
	askAgain = 300 * time.Millisecond
)

// Volleys are those that a node sends. The zero value sends none.
type Volleys struct {
	to    netip.Addr
	left  int
	next  time.Time
	again map[netip.Addr]time.Time
}

// Asked notes that a neighbour asks for a volley, and tells whether it gets one.
func (v *Volleys) Asked(by netip.Addr, now time.Time) bool {
	if v.left > 0 || now.Before(v.again[by]) {
		return false
	}
	for a, at := range v.again {
		if !now.Before(at) {
			delete(v.again, a)
		}
	}
	if v.again == nil {
		v.again = map[netip.Addr]time.Time{}
	}
	v.to, v.left, v.next, v.again[by] = by, volleySize, now, now.Add(volleyAgain)
	return true
}

// Due tells whether it is time for a hello of a volley, and to whom.
func (v *Volleys) Due(now time.Time) (to netip.Addr, due bool) {
	if v.left == 0 || now.Before(v.next) {
		return netip.Addr{}, false
	}
	v.left--
	// What was missed while this process did not run is not made up for.
	v.next = now.Add(VolleyEvery / 2)
	return v.to, true
}

// Going tells whether a volley has more hellos to come.
func (v *Volleys) Going() bool { return v.left > 0 }

// Doubt tells whether the neighbour should be asked for a volley, and that it is: a hello was missed, and it is not known yet that many are.
func (n *Neighbor) Doubt(now time.Time) bool {
	if !n.heard || n.lost(2) == 0 || n.lost(16) >= fewLost || now.Before(n.ask) {
		return false
	}
	n.ask = now.Add(askAgain)
	return true
}
