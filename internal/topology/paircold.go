package topology

import (
	"maps"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// checkCold finds what is wrong between the cold roots of pairs and other trees: each root is of one pair and has nothing in common with any tree,
// and a tree whose old directories are moved is in one pair, since a third node would not know where the links lead.
func checkCold(pairs map[string]spec.Pair) []spec.Problem {
	var ps []spec.Problem
	names := slices.Sorted(maps.Keys(pairs))
	for i, name := range names {
		pair := pairs[name]
		for _, node := range pair.Nodes() {
			end := pair.Ends[node]
			for j, other := range names {
				theirs, ok := pairs[other].Ends[node]
				if i == j || !ok {
					continue
				}
				field := "pairs." + name + ".ends." + node
				if end.ColdPath != "" && meet(end.ColdPath, theirs.Path) {
					ps = append(ps, spec.Problem{
						Field: field + ".cold_path", Message: end.ColdPath + " and the tree " + theirs.Path + " of pair " + other + " lie within one another on " + node,
						Remedy: "choose a directory that has nothing in common with any tree",
					})
				}
				if end.ColdPath != "" && theirs.ColdPath != "" && i > j && meet(end.ColdPath, theirs.ColdPath) {
					ps = append(ps, spec.Problem{
						Field: field + ".cold_path", Message: end.ColdPath + " and the cold root " + theirs.ColdPath + " of pair " + other + " lie within one another on " + node,
						Remedy: "give each pair a cold root of its own",
					})
				}
				if pair.Cold != nil && end.Path == theirs.Path && (pairs[other].Cold == nil || i > j) {
					ps = append(ps, spec.Problem{
						Field: field + ".path", Message: "old directories are moved out of " + end.Path + " on " + node + ", which is a tree of pair " + other + ", too",
						Remedy: "move old directories out of trees of one pair only",
					})
				}
			}
		}
	}
	return ps
}

// meet tells whether two trees have anything in common.
func meet(a, b string) bool { return a == b || spec.Within(a, b) || spec.Within(b, a) }
