package analysis_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/topology/analysis"
)

// thousand is a cluster of a thousand nodes at 40 sites of 10 providers: fifty of them behind somebody else's address, two hundred
// behind a firewall of networks, one of which forgets some of the others, with 50 databases, 200 pairs and 20 hostnames.
func thousand() analysis.Input {
	const n = 1000
	in := analysis.Input{Input: topology.Input{
		ClusterName: "web", Cluster: spec.Cluster{Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()},
		Nodes: map[string]spec.Node{}, Databases: map[string]spec.Database{}, DatabaseMembers: map[string]spec.Member{},
		Pairs: map[string]spec.Pair{}, LoadBalancers: map[string]spec.LoadBalancer{},
	}}
	name := func(i int) string { return fmt.Sprintf("n%03d", i%n) }
	for i := range n {
		node := spec.Node{
			Provider: fmt.Sprintf("p%d", i%10), Site: fmt.Sprintf("s%d", i%40), MeshAddress: netip.AddrFrom4([4]byte{10, 66, byte(i >> 8), byte(i)}),
			Addresses: []string{fmt.Sprintf("203.0.%d.%d", i>>8, i&255)},
		}
		switch {
		case i%20 == 7:
			node.Addresses = nil
		case i%5 == 1:
			open := []string{"203.0.0.0/16"}
			if i == 501 {
				open = []string{"203.0.0.0/23", "203.0.2.0/24"}
			}
			node.Firewall = &spec.Firewall{Inbound: []spec.FirewallRule{
				{Protocol: "tcp", Ports: []string{"655", "7443", "7480"}, Peers: open}, {Protocol: "udp", Ports: []string{"655"}, Peers: open},
			}}
		}
		in.Nodes[name(i)] = node
	}
	for i := range 50 {
		database(in, fmt.Sprintf("db%d", i), 3, name(i*3), name(i*3+11), name(i*3+22))
	}
	for i := range 200 {
		pair(in, fmt.Sprintf("pair%d", i), fmt.Sprintf("/srv/%d", i/3), name(i/3*7), name(i/3*7+1+i%3))
	}
	for i := range 20 {
		balancer(in, fmt.Sprintf("w%d.example.com", i), name(i), name(i+1), name(i+13))
	}
	return in
}

// TestAThousandNodes holds what is found in so large a cluster; the benchmark says how soon.
func TestAThousandNodes(t *testing.T) {
	t.Parallel()
	r := analysis.Analyze(thousand())
	count := map[analysis.Problem]int{}
	for _, f := range r.Findings {
		count[f.Problem]++
	}
	// The forgetful firewall keeps out the 232 nodes of the fourth network; of those 11 have addresses that nobody knows.
	if got := count[analysis.Blocked]; got != 221 {
		t.Errorf("got %d findings of who is kept from whom", got)
	}
	if count[analysis.NoEdge] != 20 || count[analysis.NoLink] != 1 || count[analysis.Apart] != 0 || count[analysis.NoWay] == 0 {
		t.Errorf("got %v", count)
	}
}

func BenchmarkAThousandNodes(b *testing.B) {
	in := thousand()
	b.ReportAllocs()
	for b.Loop() {
		analysis.Analyze(in)
	}
}
