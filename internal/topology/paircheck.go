package topology

import (
	"maps"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// tree is a directory tree on a node.
type tree struct{ node, path string }

// CheckPairs finds what is wrong between pairs: trees within one another, and pairs that lead round in a circle, in which a deletion
// and a change could chase each other for ever. One tree may be in several pairs: that is a star. The problems' fields begin with
// "pairs.NAME".
func CheckPairs(pairs map[string]spec.Pair) []spec.Problem {
	var ps []spec.Problem
	names := slices.Sorted(maps.Keys(pairs))
	type use struct {
		tree
		pair string
	}
	var uses []use
	joined := map[tree]tree{}
	for _, name := range names {
		pair := pairs[name]
		var ends []tree
		for _, node := range pair.Nodes() {
			t := tree{node, pair.Ends[node].Path}
			for _, other := range uses {
				if other.node == node && (spec.Within(t.path, other.path) || spec.Within(other.path, t.path)) {
					ps = append(ps, spec.Problem{
						Field:   "pairs." + name + ".ends." + node + ".path",
						Message: t.path + " and " + other.path + " of pair " + other.pair + " lie within one another on " + node,
						Remedy:  "choose trees that have nothing in common",
					})
				}
			}
			ends = append(ends, t)
		}
		for _, t := range ends {
			uses = append(uses, use{t, name})
		}
		if len(ends) != 2 || pair.Standby != nil {
			continue // a standby pair works when another one does not
		}
		a, b := rootOf(joined, ends[0]), rootOf(joined, ends[1])
		if a == b {
			ps = append(ps, spec.Problem{
				Field:   "pairs." + name + ".ends",
				Message: "with the other pairs of the same trees it leads round in a circle",
				Remedy:  "pair every node with one and the same node",
			})
			continue
		}
		joined[a] = b
	}
	return append(append(ps, checkCold(pairs)...), checkStandby(pairs)...)
}

// rootOf returns the tree that stands for all that t is joined with.
func rootOf(joined map[tree]tree, t tree) tree {
	for {
		next, ok := joined[t]
		if !ok {
			return t
		}
		t = next
	}
}

// checkPairs finds what is wrong between the pairs and the nodes that the cluster has.
func checkPairs(in Input) spec.Problems {
	var ps spec.Problems
	for _, name := range slices.Sorted(maps.Keys(in.Pairs)) {
		for _, node := range in.Pairs[name].Nodes() {
			if _, ok := in.Nodes[node]; !ok {
				ps = append(ps, spec.Problem{
					Field:   "pairs." + name + ".ends." + node,
					Message: "is none of the cluster's nodes",
					Remedy:  "remove the pair, or add the node",
				})
			}
		}
	}
	return append(ps, CheckPairs(in.Pairs)...)
}

// PairProblems returns what is wrong between pairs once one more is beside the others, or in the place of the one of its name, and
// was not wrong without it. Whichever of the pairs a problem's field names, it is the one more that makes it.
func PairProblems(others map[string]spec.Pair, name string, pair spec.Pair) []spec.Problem {
	all := maps.Clone(others)
	if all == nil {
		all = map[string]spec.Pair{}
	}
	delete(all, name)
	before := CheckPairs(all)
	all[name] = pair
	return slices.DeleteFunc(CheckPairs(all), func(p spec.Problem) bool { return slices.Contains(before, p) })
}
