package spec

import "slices"

// Bounds and default of how long a node has to be dead until another pair stands in for it, in seconds.
const (
	DefaultStandbyAfter = 30
	MinStandbyAfter     = 5
	MaxStandbyAfter     = 24 * 3600
)

// PairStandby makes a pair one that stands in for others of the same tree. In a star every node is paired with one and the same, the centre. A
// standby pair is between a node that is to be the centre while that one is dead, which leads it, and one of the others. It always knows which files
// both have alike, but carries nothing over until the other node's pair with the centre rests.
type PairStandby struct {
	// For is the node that it stands in for.
	For string `json:"for"`
	// After is for how long that has to be dead, by what most nodes of the cluster see, until the pair stands in for it, and for how long it has to be
	// well again until the pair rests, in seconds.
	After int `json:"after_seconds"`
}

func (p Pair) validateStandby() Problems {
	var ps Problems
	if p.Standby == nil {
		return ps
	}
	ps = append(ps, ValidateName("standby.for", p.Standby.For)...)
	if slices.Contains(p.Nodes(), p.Standby.For) {
		ps.add("standby.for", "name the node that both nodes of the pair are paired with", "%q is one of the pair's own nodes", p.Standby.For)
	}
	if p.Standby.After < MinStandbyAfter || p.Standby.After > MaxStandbyAfter {
		ps.add("standby.after_seconds", "choose one from 5 to 86400 seconds", "is %d", p.Standby.After)
	}
	if p.Cold != nil {
		ps.add("standby", "leave cold out", "a tree of several pairs has no cold files")
	}
	return ps
}
