package linkstate

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
)

// Link is that a node hears another, and at what cost.
type Link struct {
	From netip.Addr
	Cost uint16
}

// Advert is what one node hears, of all others. A higher version replaces a lower one.
type Advert struct {
	Origin  netip.Addr
	Version uint64
	// Links are sorted by address.
	Links []Link
}

// Table is all that a node knows of the links of a mesh.
type Table struct {
	self    netip.Addr
	members map[netip.Addr]bool
	adverts map[netip.Addr]Advert
}

// NewTable returns the table of a node that knows nobody. The first version of its own advert follows after first, which
// should be more than it ever was: a clock will do.
func NewTable(self netip.Addr, first uint64) *Table {
	return &Table{
		self: self, members: map[netip.Addr]bool{self: true},
		adverts: map[netip.Addr]Advert{self: {Origin: self, Version: first}},
	}
}

// SetMembers says who belongs to the mesh beside the node itself, and forgets all others.
func (t *Table) SetMembers(others []netip.Addr) {
	t.members = map[netip.Addr]bool{t.self: true}
	for _, a := range others {
		t.members[a] = true
	}
	maps.DeleteFunc(t.adverts, func(a netip.Addr, _ Advert) bool { return !t.members[a] })
}

// Hear sets what this node itself hears, and tells whether that is news.
func (t *Table) Hear(links []Link) bool {
	links = slices.Clone(links)
	slices.SortFunc(links, func(a, b Link) int { return a.From.Compare(b.From) })
	own := t.adverts[t.self]
	if slices.Equal(own.Links, links) {
		return false
	}
	t.adverts[t.self] = Advert{Origin: t.self, Version: own.Version + 1, Links: links}
	return true
}

// Merge takes an advert in and tells whether it was news. One of nobody who belongs to the mesh is none. An advert of the
// node's own that is younger than what it says comes from before it was started again, by a clock that was ahead: it is
// outbid.
func (t *Table) Merge(a Advert) bool {
	if !t.members[a.Origin] || a.Version <= t.adverts[a.Origin].Version {
		return false
	}
	if a.Origin == t.self {
		own := t.adverts[t.self]
		own.Version = a.Version + 1
		t.adverts[t.self] = own
		return true
	}
	if have, ok := t.adverts[a.Origin]; ok && slices.Equal(have.Links, a.Links) {
		have.Version = a.Version
		t.adverts[a.Origin] = have
		return true
	}
	t.adverts[a.Origin] = a
	return true
}

// Own returns what the node itself says.
func (t *Table) Own() Advert { return t.adverts[t.self] }

// Adverts returns all that is known, by origin.
func (t *Table) Adverts() []Advert {
	return slices.SortedFunc(maps.Values(t.adverts), func(a, b Advert) int { return a.Origin.Compare(b.Origin) })
}

// Digest is equal for two nodes that know the same.
func (t *Table) Digest() uint64 {
	sum := fnv.New64a()
	for _, a := range t.Adverts() {
		text, _ := a.Origin.MarshalBinary()
		_, _ = sum.Write(binary.BigEndian.AppendUint64(text, a.Version)) // a hash never fails
	}
	return sum.Sum64()
}

// distance is the length of a way. Ties are broken by a number that each pair has, so that of two ways one is shorter
// whoever asks and in whichever direction.
type distance struct {
	cost uint32
	tie  uint64
}

func (d distance) less(e distance) bool {
	return cmp.Or(cmp.Compare(d.cost, e.cost), cmp.Compare(d.tie, e.tie)) < 0
}

// Routes returns the next hop to each node that can be reached: itself when that is the direct way.
func (t *Table) Routes() map[netip.Addr]netip.Addr {
	next := map[netip.Addr]netip.Addr{}
	settled := map[netip.Addr]bool{}
	q := &queue{{node: t.self}}
	for q.Len() > 0 {
		at, _ := heap.Pop(q).(waypoint)
		if settled[at.node] {
			continue
		}
		settled[at.node] = true
		if at.node != t.self {
			next[at.node] = at.first
		}
		for _, l := range t.adverts[at.node].Links {
			cost, ok := t.pairCost(at.node, l.From)
			if !ok || settled[l.From] {
				continue
			}
			first := at.first
			if at.node == t.self {
				first = l.From
			}
			heap.Push(q, waypoint{l.From, first, distance{at.far.cost + uint32(cost), at.far.tie + tie(at.node, l.From)}})
		}
	}
	return next
}

// pairCost returns the cost of the link between two nodes: that of its worse direction. There is none unless each hears
// the other.
func (t *Table) pairCost(a, b netip.Addr) (uint16, bool) {
	there, ok := t.hears(a, b)
	back, ok2 := t.hears(b, a)
	return max(there, back), ok && ok2
}

func (t *Table) hears(who, whom netip.Addr) (uint16, bool) {
	links := t.adverts[who].Links
	i, ok := slices.BinarySearchFunc(links, whom, func(l Link, a netip.Addr) int { return l.From.Compare(a) })
	if !ok {
		return 0, false
	}
	return links[i].Cost, true
}

// tie returns the number of a pair, the same in both orders, small enough to add up over any way. The mixing is that of
// splitmix64: the sums of weaker hashes meet.
func tie(a, b netip.Addr) uint64 {
	if b.Less(a) {
		a, b = b, a
	}
	x, y := a.As4(), b.As4()
	z := uint64(binary.BigEndian.Uint32(x[:]))<<32 | uint64(binary.BigEndian.Uint32(y[:]))
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return (z ^ z>>31) >> 8
}

type waypoint struct {
	node, first netip.Addr
	far         distance
}

type queue []waypoint

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].far.less(q[j].far) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any) {
	if w, ok := x.(waypoint); ok {
		*q = append(*q, w)
	}
}

func (q *queue) Pop() any {
	old := *q
	w := old[len(old)-1]
	*q = old[:len(old)-1]
	return w
}
