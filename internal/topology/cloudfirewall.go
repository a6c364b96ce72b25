package topology

import (
	"fmt"
	"maps"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// CloudFirewallOf returns what the firewall that Atoll keeps at the vendor of a node's machine lets in, nil when there is none. It is
// what the node's own packet filter would let in at its public addresses, by the same rules about who may connect; what comes over the
// mesh is inside packets that such a firewall cannot tell apart. It fails with ErrUnknownNode when there is no such node.
func CloudFirewallOf(in Input, node string) ([]Opening, error) {
	self, there := in.Nodes[node]
	if !there {
		return nil, fmt.Errorf("derive the firewall of node %q of cluster %q: %w", node, in.ClusterName, ErrUnknownNode)
	}
	wish := self.CloudFirewall
	if wish == nil {
		return nil, nil
	}
	self.HostFirewall = &spec.HostFirewall{Enforce: true, Operators: wish.Operators, Open: wish.Open, ConfirmSeconds: spec.DefaultConfirmSeconds}
	in.Nodes = maps.Clone(in.Nodes)
	in.Nodes[node] = self
	filter, err := HostFirewallOf(in, node)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(filter.Openings, func(o Opening) bool { return o.Mesh }), nil
}
