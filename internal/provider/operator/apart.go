package operator

import (
	"maps"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/topology/analysis"
)

// PlannedPlace is what is known of where a node is, and of what stands before it, when it is planned.
type PlannedPlace struct {
	spec.Node
	// Unsure tells that the node's public addresses are not known yet.
	Unsure bool
}

// Describe notes what holds for every node of the cluster, as it is planned.
func (c *Cluster) Describe(cluster spec.Cluster) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.described = &cluster
}

// Described returns what was noted of the cluster, nil for nothing.
func (c *Cluster) Described() *spec.Cluster {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.described
}

// PlanPlace notes where a node is, with its addresses and the firewall before it, and returns who is kept from it and whom it is kept
// from among the nodes that were noted before. Whoever is second of a pair is told, in whatever order nodes are planned. Without a
// description of the cluster there is nothing to tell.
func (c *Cluster) PlanPlace(name string, p PlannedPlace) []analysis.Barrier {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.places[name] = p
	if c.described == nil {
		return nil
	}
	var out []analysis.Barrier
	for _, other := range slices.Sorted(maps.Keys(c.places)) {
		q := c.places[other]
		if other == name || p.Firewall == nil && q.Firewall == nil {
			continue
		}
		out = append(out, analysis.Barriers(analysis.Input{
			Input:  topology.Input{ClusterName: c.name, Cluster: *c.described, Nodes: map[string]spec.Node{name: p.Node, other: q.Node}},
			Unsure: map[string]bool{name: p.Unsure, other: q.Unsure},
		})...)
	}
	return out
}

// Place returns what was noted of where a node is.
func (c *Cluster) Place(name string) (PlannedPlace, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.places[name]
	return p, ok
}
