package analysis_test

import (
	"fmt"
	"net/netip"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/topology/analysis"
)

// cluster returns nodes a, b, … of these domains ("provider/site"), each with a public address.
func cluster(domains ...string) analysis.Input {
	in := analysis.Input{Input: topology.Input{
		ClusterName: "web", Cluster: spec.Cluster{Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()},
		Nodes: map[string]spec.Node{}, Links: map[string]spec.Link{}, Databases: map[string]spec.Database{},
		DatabaseMembers: map[string]spec.Member{}, Pairs: map[string]spec.Pair{}, LoadBalancers: map[string]spec.LoadBalancer{},
	}}
	for i, domain := range domains {
		var n spec.Node
		for j := range domain {
			if domain[j] == '/' {
				n.Provider, n.Site = domain[:j], domain[j+1:]
			}
		}
		n.MeshAddress = netip.AddrFrom4([4]byte{10, 66, byte(i >> 8), byte(i + 1)})
		n.Addresses = []string{fmt.Sprintf("192.0.%d.%d", 2+i>>8, i&255+1)}
		in.Nodes[letter(i)] = n
	}
	return in
}

func letter(i int) string { return string(rune('a' + i)) }

// change changes a node.
func change(in analysis.Input, name string, with func(*spec.Node)) {
	n := in.Nodes[name]
	with(&n)
	in.Nodes[name] = n
}

// letsIn gives a node a firewall that lets these peers in at the cluster's public ports, and nobody else.
func letsIn(in analysis.Input, name string, peers ...string) {
	change(in, name, func(n *spec.Node) {
		n.Firewall = &spec.Firewall{Inbound: []spec.FirewallRule{{Protocol: "tcp", Peers: peers}, {Protocol: "udp", Peers: peers}}}
	})
}

func database(in analysis.Input, name string, votes int, nodes ...string) {
	in.Databases[name] = spec.Database{Engine: spec.DatabaseMySQL, Votes: votes, Port: 3306, Router: spec.DatabaseRouter{Driver: spec.RouterMySQL, WritePort: 6446, ReadPort: 6447}}
	for _, n := range nodes {
		in.DatabaseMembers[spec.MemberName(name, n)] = spec.Member{Database: name, Node: n, Role: spec.MemberVoter}
	}
}

func pair(in analysis.Input, name, tree string, nodes ...string) {
	p := spec.Pair{Ends: map[string]spec.PairEnd{}, Leader: nodes[0]}
	for _, n := range nodes {
		p.Ends[n] = spec.PairEnd{Path: tree}
	}
	in.Pairs[name] = p
}

func balancer(in analysis.Input, hostname string, nodes ...string) {
	lb := spec.LoadBalancer{Nodes: map[string]spec.ServingNode{}}
	for _, n := range nodes {
		lb.Nodes[n] = spec.ServingNode{Enabled: true, Port: 80}
	}
	in.LoadBalancers[hostname] = lb
}
