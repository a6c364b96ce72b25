package topology_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// TestCloudFirewall demands that the vendor's firewall lets in from outside what the node's own filter would, by its own list of operators,
// and nothing of the mesh; with a filter on the node beside it or without.
func TestCloudFirewall(t *testing.T) {
	t.Parallel()
	in := enforcing(spec.HostFirewall{Operators: []string{"198.51.100.0/24"}})
	if got, err := topology.CloudFirewallOf(in, "a"); got != nil || err != nil {
		t.Errorf("without one: got %v, %v", got, err)
	}
	if _, err := topology.CloudFirewallOf(in, "z"); !errors.Is(err, topology.ErrUnknownNode) {
		t.Errorf("of a node that is not there: %v", err)
	}
	wish := &spec.CloudFirewall{
		Operators: []string{"203.0.113.0/24"}, Open: []spec.FirewallRule{{Protocol: "tcp", Ports: []string{"9100"}, Peers: []string{"b"}}},
	}
	want := []string{
		"public 22/tcp ssh <- 203.0.113.0/24",
		"public 655/tcp mesh <- 192.0.2.2/32,192.0.2.3/32",
		"public 655/udp mesh <- 192.0.2.2/32,192.0.2.3/32",
		"public 7443/tcp api <- 192.0.2.2/32,192.0.2.3/32,203.0.113.0/24",
		"public 7480/tcp health <- ANY4,ANY6",
		"public 9100/tcp application <- 192.0.2.2/32",
	}
	for _, own := range []*spec.HostFirewall{nil, in.Nodes["a"].HostFirewall} {
		n := in.Nodes["a"]
		n.HostFirewall, n.CloudFirewall = own, wish
		in.Nodes["a"] = n
		got, err := topology.CloudFirewallOf(in, "a")
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, o := range got {
			lines = append(lines, opening(o))
		}
		slices.Sort(lines)
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if in.Nodes["a"].HostFirewall != own {
			t.Error("the node was changed")
		}
	}
}
