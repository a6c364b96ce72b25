package topology

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Pair is a pair as one of its two nodes has to see it.
type Pair struct {
	Name string
	spec.Pair
	// Self is this node's side, Peer the other.
	Self spec.PairEnd
	Peer PairPeer
	// Turns are those that the pair takes with another one, nil for none. A standby pair without them is for nothing yet.
	Turns *Turns
}

// PairPeer is the other node of a pair.
type PairPeer struct {
	Node string
	spec.PairEnd
	// MeshAddress is where the peer's agent is reached, at APIPort (TCP).
	MeshAddress netip.Addr
	APIPort     int
	// Admitted tells whether the node is an admitted member of the cluster.
	Admitted bool
}

// Pair returns the pair of that name and whether the node belongs to one.
func (v *View) Pair(name string) (Pair, bool) {
	i, ok := slices.BinarySearchFunc(v.Pairs, name, func(p Pair, name string) int { return strings.Compare(p.Name, name) })
	if !ok {
		return Pair{}, false
	}
	return v.Pairs[i], true
}

// Leads tells whether the node whose view it is drives the synchronization.
func (p Pair) Leads() bool { return p.Leader != p.Peer.Node }

// Alternates tells whether the pair carries changes over only when it is its turn.
func (p Pair) Alternates() bool { return p.Turns != nil || p.Standby != nil }

// pairs returns those that self belongs to, sorted by name. A pair whose other node the cluster does not have is left out.
func (v *View) pairs(in Input) []Pair {
	var out []Pair
	takes := turns(in.Pairs)
	for _, name := range slices.Sorted(maps.Keys(in.Pairs)) {
		pair := in.Pairs[name]
		self, ours := pair.Ends[v.Self.Name]
		if !ours {
			continue
		}
		for node, end := range pair.Ends {
			n, there := in.Nodes[node]
			if node == v.Self.Name || !there {
				continue
			}
			p := Pair{Name: name, Pair: pair, Self: self, Peer: PairPeer{
				Node: node, PairEnd: end, MeshAddress: n.MeshAddress, APIPort: in.Cluster.Ports.API, Admitted: in.MeshKeys[node] != "",
			}}
			if i := slices.IndexFunc(takes, func(t Turns) bool { return t.Home == name || t.Standby == name }); i >= 0 {
				p.Turns = &takes[i]
			}
			out = append(out, p)
		}
	}
	return out
}
