package topology

import (
	"maps"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Turns are the pairs of a star's tree of which one stands in for another one.
type Turns struct {
	// Home is the pair of the centre and the node that does not lead the standby pair, which carries changes over as long as the centre lives, and
	// Standby the pair of the centre's backup and that node, which does so otherwise.
	Home, Standby string
	// Trunk is the pair of the centre and its backup, by which the centre gets what it has missed.
	Trunk string
	// Centre is the node that the standby pair stands in for, Backup the one that leads it.
	Centre, Backup string
	// After is for how long the centre has to be dead, or well again, in seconds.
	After int
}

// turns returns what takes turns, sorted by the names of standby pairs. A standby pair is left out while the pairs that it needs are not there, or are not as
// they have to be: it never carries anything over then.
func turns(pairs map[string]spec.Pair) []Turns {
	var found []Turns
	homes := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		c := pairs[name]
		if c.Standby == nil || len(c.Ends) != 2 {
			continue
		}
		t := Turns{Standby: name, Centre: c.Standby.For, Backup: c.Leader, After: c.Standby.After}
		leaf := other(c, c.Leader)
		t.Home, t.Trunk = between(pairs, t.Centre, leaf, c.Ends[leaf].Path), between(pairs, t.Centre, t.Backup, c.Ends[t.Backup].Path)
		if t.Home == "" || t.Trunk == "" || homes[t.Home] || pairs[t.Home].Leader != t.Centre || pairs[t.Home].Ends[t.Centre].Path != pairs[t.Trunk].Ends[t.Centre].Path {
			continue
		}
		homes[t.Home] = true
		found = append(found, t)
	}
	return slices.DeleteFunc(found, func(t Turns) bool { return homes[t.Trunk] })
}

// between returns the pair that always works between two nodes, for a tree of the second one.
func between(pairs map[string]spec.Pair, one, two, path string) string {
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		p := pairs[name]
		_, there := p.Ends[one]
		if end, ok := p.Ends[two]; ok && there && p.Standby == nil && end.Path == path {
			return name
		}
	}
	return ""
}

func other(p spec.Pair, node string) string {
	for _, name := range p.Nodes() {
		if name != node {
			return name
		}
	}
	return ""
}

// checkStandby finds what is wrong between standby pairs and those that they stand in for, as far as these are there: within one run of Terraform they come in any
// order.
func checkStandby(pairs map[string]spec.Pair) []spec.Problem {
	var ps []spec.Problem
	homes := map[string]string{}
	names := slices.Sorted(maps.Keys(pairs))
	for _, name := range names {
		c := pairs[name]
		if c.Standby == nil || len(c.Ends) != 2 {
			continue
		}
		field := "pairs." + name
		leaf := other(c, c.Leader)
		for _, node := range c.Nodes() {
			beside := between(pairs, c.Standby.For, node, c.Ends[node].Path)
			p := pairs[beside]
			switch {
			case beside == "":
			case !slices.Equal(p.Exclude, c.Exclude) || p.Owner != c.Owner || p.Group != c.Group:
				ps = append(ps, spec.Problem{
					Field: field, Message: "it stands in for " + c.Standby.For + ", and exclude, owner or group are not those of pair " + beside,
					Remedy: "give all pairs of a tree the same",
				})
			case node == leaf && p.Leader != c.Standby.For:
				ps = append(ps, spec.Problem{
					Field: field + ".leader", Message: "it stands in for " + c.Standby.For + ", which does not lead its pair " + beside + " with " + node,
					Remedy: "have " + c.Standby.For + " lead all its pairs of this tree, and the node that is its backup lead the standby pairs",
				})
			case node == leaf && homes[beside] != "":
				ps = append(ps, spec.Problem{
					Field: field, Message: "pair " + homes[beside] + " stands in for pair " + beside + ", too", Remedy: "have one standby pair for each node that is neither the centre nor its backup",
				})
			case node == leaf:
				homes[beside] = name
			}
		}
	}
	for _, name := range names {
		c := pairs[name]
		if c.Standby == nil || len(c.Ends) != 2 {
			continue
		}
		if trunk := between(pairs, c.Standby.For, c.Leader, c.Ends[c.Leader].Path); trunk != "" && homes[trunk] != "" {
			ps = append(ps, spec.Problem{
				Field: "pairs." + name + ".leader", Message: c.Leader + " is to be the backup of " + c.Standby.For + ", and pair " + homes[trunk] + " gives it another one",
				Remedy: "have one and the same node lead all standby pairs of a star",
			})
		}
	}
	return ps
}
