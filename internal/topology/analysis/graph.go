package analysis

import (
	"iter"

	"github.com/bits-and-blooms/bitset"
)

// graph is an undirected graph of nodes by their numbers, as one row of neighbours each: half a million edges of a thousand nodes
// are 125 kB, and a search takes whole rows at a time.
type graph []*bitset.BitSet

// newGraph returns the graph in which every two of n nodes are neighbours.
func newGraph(n uint) graph {
	g := make(graph, n)
	for i := range g {
		g[i] = bitset.New(n).SetRange(0, n)
		g[i].Clear(uint(i))
	}
	return g
}

func (g graph) cut(a, b uint) {
	g[a].Clear(b)
	g[b].Clear(a)
}

func (g graph) join(a, b uint) {
	g[a].Set(b)
	g[b].Set(a)
}

// components returns the parts that the nodes of alive fall into, by their smallest number.
func (g graph) components(alive *bitset.BitSet) []*bitset.BitSet {
	var out []*bitset.BitSet
	rest := alive.Clone()
	for first, more := rest.NextSet(0); more; first, more = rest.NextSet(0) {
		part := g.reach(first, rest)
		rest.InPlaceDifference(part)
		out = append(out, part)
	}
	return out
}

// reach returns what of alive is reached from a node of it, the node included.
func (g graph) reach(from uint, alive *bitset.BitSet) *bitset.BitSet {
	seen := bitset.New(alive.Len()).Set(from)
	todo := seen.Clone()
	size := alive.Count()
	for next, more := todo.NextSet(0); more && seen.Count() < size; next, more = todo.NextSet(0) {
		todo.Clear(next)
		found := g[next].Intersection(alive)
		found.InPlaceDifference(seen)
		seen.InPlaceUnion(found)
		todo.InPlaceUnion(found)
	}
	return seen
}

// bridges returns the links whose loss alone parts two nodes. Only a link of a spanning tree can be one, and none with a neighbour
// that both ends have.
func (g graph) bridges(all *bitset.BitSet) iter.Seq2[uint, uint] {
	return func(yield func(uint, uint) bool) {
		seen := bitset.New(all.Len())
		for root := range all.EachSet() {
			todo := []uint{root}
			if seen.Test(root) {
				continue
			}
			seen.Set(root)
			for len(todo) > 0 {
				from := todo[0]
				todo = todo[1:]
				for to := range g[from].Difference(seen).EachSet() {
					seen.Set(to)
					todo = append(todo, to)
					if g[from].IntersectionCardinality(g[to]) > 0 {
						continue
					}
					g.cut(from, to)
					parted := !g.reach(from, all).Test(to)
					g.join(from, to)
					if parted && !yield(min(from, to), max(from, to)) {
						return
					}
				}
			}
		}
	}
}
