package operator

import (
	"maps"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// PlannedPair is a pair as it is planned.
type PlannedPair struct {
	Name string
	spec.Pair
	// New tells that the pair is to be made. Terraform plans that once in a run, so a second time is a second resource.
	New bool
}

// PlanPair notes a pair and returns the problems that this adds to the pairs of this run. Whoever completes a problem is told of it,
// in whatever order pairs are planned. Twice tells that the pair was to be made before.
func (c *Cluster) PlanPair(p PlannedPair) (problems []spec.Problem, twice bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, known := c.pairs[p.Name]
	problems = topology.PairProblems(c.plannedPairs(), p.Name, p.Pair)
	c.pairs[p.Name] = p
	delete(c.leaving, p.Name)
	return problems, known && old.New && p.New
}

// LeavePair notes that a pair is going to be removed.
func (c *Cluster) LeavePair(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pairs, name)
	c.leaving[name] = true
}

// BesidePairs returns the problems that a pair has with those that nodes hold and that this run, as far as it has come, neither plans
// nor removes.
func (c *Cluster) BesidePairs(p PlannedPair, held map[string]spec.Pair) []spec.Problem {
	c.mu.Lock()
	defer c.mu.Unlock()
	others := maps.Clone(held)
	maps.DeleteFunc(others, func(name string, _ spec.Pair) bool {
		_, planned := c.pairs[name]
		return planned || c.leaving[name]
	})
	return topology.PairProblems(others, p.Name, p.Pair)
}

func (c *Cluster) plannedPairs() map[string]spec.Pair {
	out := map[string]spec.Pair{}
	for name, p := range c.pairs {
		out[name] = p.Pair
	}
	return out
}
