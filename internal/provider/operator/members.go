package operator

import (
	"maps"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// PlannedMember is a member of a database as it is planned.
type PlannedMember struct {
	spec.Member
	// Of is its database, as far as it is known.
	Of spec.Database
	// Provider and Site are the node's failure domain, empty while they are unknown.
	Provider, Site string
	// New tells that the member is to be made. Terraform plans that once in a run, so a second time is a second resource.
	New bool
}

// PlanMember notes a member and returns the problems that this adds to the members of this run's databases: too many of them, too
// many votes in one place, ports that are taken. No other member can mend what it returns, so that whoever completes a problem is
// told of it, in whatever order members are planned. Twice tells that the member was to be made before.
func (c *Cluster) PlanMember(p PlannedMember) (problems spec.Problems, twice bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, known := c.members[p.Name()]
	twice = known && old.New && p.New
	delete(c.members, p.Name())
	before := c.checkMembers(p)
	c.members[p.Name()] = p
	for _, problem := range c.checkMembers(p) {
		if !slices.Contains(before, problem) {
			problems = append(problems, problem)
		}
	}
	return problems, twice
}

// checkMembers checks all members. A problem is told of the member that p is, whichever of those that it concerns topology names.
func (c *Cluster) checkMembers(p PlannedMember) spec.Problems {
	in := topology.Input{
		ClusterName: c.name, Nodes: map[string]spec.Node{}, Databases: map[string]spec.Database{}, DatabaseMembers: map[string]spec.Member{},
	}
	for _, name := range slices.Sorted(maps.Keys(c.members)) {
		m := c.members[name]
		in.Databases[m.Database], in.DatabaseMembers[name] = m.Of, m.Member
		in.Nodes[m.Node] = spec.Node{Provider: m.Provider, Site: m.Site}
	}
	if _, there := in.Databases[p.Database]; there {
		in.Databases[p.Database] = p.Of
	}
	var out spec.Problems
	for _, problem := range topology.CheckMembers(in) {
		for name := range in.DatabaseMembers {
			ref := spec.Ref{Kind: spec.KindMember, Name: name}
			if mine := topology.ProblemsOf(spec.Problems{problem}, ref); len(mine) > 0 {
				out = append(out, mine...)
				break
			}
		}
	}
	return out
}

// ForgetMember notes that a member is being removed.
func (c *Cluster) ForgetMember(database, node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.members, spec.MemberName(database, node))
}

// Pushed notes that nodes were told of an object of this generation, 0 for its removal.
func (c *Cluster) Pushed(ref spec.Ref, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pushed[ref] = generation
}

// PushedAt returns the generation of an object that this run has told nodes of, 0 for none.
func (c *Cluster) PushedAt(ref spec.Ref) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pushed[ref]
}

// PushedMembers returns the nodes that this run has made members of a database, sorted.
func (c *Cluster) PushedMembers(database string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for ref, generation := range c.pushed {
		if ref.Kind != spec.KindMember || generation == 0 {
			continue
		}
		for _, m := range c.members {
			if m.Name() == ref.Name && m.Database == database && m.Role == spec.MemberVoter {
				out = append(out, m.Node)
			}
		}
	}
	slices.Sort(out)
	return out
}
