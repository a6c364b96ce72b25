package cloudfirewall_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/cloudfirewall"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func at(address string) spec.Node {
	return spec.Node{Addresses: []string{address}, MeshAddress: netip.MustParseAddr("10.66.0.1"), CloudFirewall: &spec.CloudFirewall{Operators: []string{"203.0.113.0/24"}}}
}

// TestInput puts together what nodes hold who have not heard of everything: of each object the newest counts, a removal included,
// whoever is asked first.
func TestInput(t *testing.T) {
	t.Parallel()
	ref := func(name string) spec.Ref { return spec.Ref{Kind: spec.KindNode, Name: name} }
	www := spec.Ref{Kind: spec.KindLoadBalancer, Name: "www.example.com"}
	cluster := &reference.Signed{Cluster: spec.Cluster{Mesh: spec.Mesh{Driver: spec.MeshTinc, Port: 655}, Ports: spec.DefaultPorts()}}
	of := spec.Ref{Kind: spec.KindCluster, Name: "web"}
	one := operator.Known{
		Cluster: cluster, Nodes: map[string]spec.Node{"a": at("192.0.2.1"), "b": at("192.0.2.2"), "gone": at("192.0.2.9")},
		Generations: map[spec.Ref]uint64{of: 1, ref("a"): 5, ref("b"): 1, ref("gone"): 1},
	}
	other := operator.Known{
		Cluster: cluster, Nodes: map[string]spec.Node{"a": at("192.0.2.77"), "b": at("192.0.2.3")},
		LoadBalancers: map[string]spec.LoadBalancer{"www.example.com": {
			Nodes: map[string]spec.ServingNode{"a": {Port: 8080, Enabled: true}}, Proxy: &spec.Proxy{Driver: spec.ProxyHAProxy, Port: 80},
		}},
		Generations: map[spec.Ref]uint64{of: 1, ref("a"): 4, ref("b"): 2, ref("gone"): 2, www: 1},
	}
	want := []string{
		"icmp from 0.0.0.0/0, ::/0", "tcp 22, 7443 from 203.0.113.0/24", "tcp 655, 7443 from 192.0.2.3", "tcp 80, 7480 from 0.0.0.0/0, ::/0", "udp 655 from 192.0.2.3",
	}
	for _, seen := range [][]operator.Known{{one, other}, {other, one}} {
		in := cloudfirewall.Input("web", seen...)
		if got := in.Nodes["a"].Addresses[0]; got != "192.0.2.1" || len(in.Nodes) != 2 {
			t.Errorf("got a at %s and %d nodes", got, len(in.Nodes))
		}
		rules, err := cloudfirewall.Rules(in, "a")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, rules.Lines()); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
}
