package spec

import (
	"maps"
	"slices"
)

// LoadBalancer is what the nodes that serve a public hostname have to know of it. The hostname is the object's name.
type LoadBalancer struct {
	// Nodes are those that serve the hostname, by name.
	Nodes map[string]ServingNode `json:"nodes"`
	// Check asks the application on each node whether it is well; nil leaves that to the edge.
	Check *ApplicationCheck `json:"check,omitempty"`
	// MinimumNodes is how many nodes stay in service when the application's check or the way to the database fails on more of them
	// than that allows, or when all others are dead: what fails everywhere at once is rarely the nodes' fault. 0 lets every node go.
	MinimumNodes int `json:"minimum_nodes,omitempty"`
	// Removal lets the nodes take a dead one of them out of the vendor's pools; nil leaves that to the vendor's monitors.
	Removal *QuickRemoval `json:"removal,omitempty"`
	// Proxy is what each node runs in front of the application; nil when nothing.
	Proxy *Proxy `json:"proxy,omitempty"`
}

// ServingNode is one node of a load balancer.
type ServingNode struct {
	// Enabled tells whether the operator wants the node to serve.
	Enabled bool `json:"enabled"`
	// Port is the TCP port of the application on the node.
	Port int `json:"port"`
}

// Kind returns KindLoadBalancer.
func (LoadBalancer) Kind() Kind { return KindLoadBalancer }

// Validate implements Body.
func (b LoadBalancer) Validate() Problems {
	var ps Problems
	if len(b.Nodes) == 0 {
		ps.add("nodes", "name at least one", "is empty")
	}
	for _, name := range slices.Sorted(maps.Keys(b.Nodes)) {
		ps = append(ps, ValidateName("nodes", name)...)
		ps = append(ps, validatePort("nodes."+name+".port", b.Nodes[name].Port)...)
	}
	if b.MinimumNodes < 0 || b.MinimumNodes > len(b.Nodes) {
		ps.add("minimum_nodes", "choose one from 0 to the number of nodes", "%d of %d nodes", b.MinimumNodes, len(b.Nodes))
	}
	if b.Check != nil {
		ps = append(ps, b.Check.validate().Under("check")...)
	}
	if b.Removal != nil {
		ps = append(ps, b.Removal.validate(b.Nodes).Under("removal")...)
	}
	if b.Proxy != nil {
		ps = append(ps, b.Proxy.validate(b.Nodes).Under("proxy")...)
	}
	return ps
}

func validatePort(field string, port int) Problems {
	var ps Problems
	if port < 1 || port > 65535 {
		ps.add(field, "choose one from 1 to 65535", "%d is not a port", port)
	}
	return ps
}
