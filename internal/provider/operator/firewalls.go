package operator

import "github.com/atollhq/terraform-provider-atoll/internal/spec"

// KeepFirewalls returns once nobody else in this run changes the firewalls of the cluster's nodes at their vendors, and what lets the
// next one do it. Whoever changes them derives them from what the nodes know by then, so that the last one is right.
func (c *Cluster) KeepFirewalls() (release func()) {
	c.firewalls.Lock()
	return c.firewalls.Unlock
}

// PlannedNodes returns the nodes that were noted by PlanPlace, by name. Those whose addresses are not known yet have none.
func (c *Cluster) PlannedNodes() map[string]spec.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]spec.Node{}
	for name, p := range c.places {
		out[name] = p.Node
	}
	return out
}
