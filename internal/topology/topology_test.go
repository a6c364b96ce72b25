package topology_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

var compareAddresses = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func testCluster(cidr string) spec.Cluster {
	return spec.Cluster{MeshCIDR: netip.MustParsePrefix(cidr), Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()}
}

func testNode(mesh string, public ...string) spec.Node {
	return spec.Node{
		Provider: "linode", Site: "singapore", MeshAddress: netip.MustParseAddr(mesh), Addresses: public,
		Machine: spec.Machine{Variant: spec.MachineManual},
	}
}

func TestDerive(t *testing.T) {
	in := topology.Input{
		ClusterName: "web",
		Cluster:     testCluster("10.66.0.0/16"),
		Nodes: map[string]spec.Node{
			"hk-1":   testNode("10.66.0.1", "198.51.100.1"),
			"sg-1":   testNode("10.66.0.2", "198.51.100.2"),
			"us-1":   testNode("10.66.0.3"),
			"joins":  testNode("10.66.0.4", "198.51.100.4"),
			"broken": testNode("10.66.0.1", "198.51.100.5"),
		},
		Links: map[string]spec.Link{
			"hk-1.us-1": {From: "us-1", To: "hk-1", Settings: spec.LinkSettings{TCPOnly: true, MTU: 1400}},
			"sg-1.us-1": {From: "sg-1", To: "us-1", Settings: spec.LinkSettings{MTU: 1300}},
			"gone.hk-1": {From: "hk-1", To: "gone"},
		},
		MeshKeys: map[string]string{"hk-1": "KEY-HK", "sg-1": "KEY-SG", "us-1": "KEY-US"},
	}
	opens := func(name string, ports spec.PublicPorts) {
		n := in.Nodes[name]
		n.PublicPorts = ports
		in.Nodes[name] = n
	}
	opens("hk-1", spec.PublicPorts{TCP: []int{80, 443}, UDP: []int{443}})
	opens("sg-1", spec.PublicPorts{TCP: []int{8080}})
	got, err := topology.Derive(in, "hk-1")
	if err != nil {
		t.Fatal(err)
	}
	peer := func(name, mesh, key string, link spec.LinkSettings, public ...string) topology.Peer {
		return topology.Peer{
			Name: name, Provider: "linode", Site: "singapore", MeshAddress: netip.MustParseAddr(mesh),
			Addresses: public, MeshKey: key, APIPort: 7443, Link: link,
		}
	}
	want := &topology.View{
		Cluster: "web", Mesh: spec.DefaultMesh(), CIDR: netip.MustParsePrefix("10.66.0.0/16"),
		Self:        peer("hk-1", "10.66.0.1", "KEY-HK", spec.LinkSettings{}, "198.51.100.1"),
		PublicPorts: spec.PublicPorts{TCP: []int{80, 443}, UDP: []int{443}},
		Peers: []topology.Peer{
			peer("sg-1", "10.66.0.2", "KEY-SG", spec.LinkSettings{}, "198.51.100.2"),
			peer("us-1", "10.66.0.3", "KEY-US", spec.LinkSettings{TCPOnly: true, MTU: 1400}),
		},
		Problems: spec.Problems{
			{
				Field:   "node/hk-1.mesh_address",
				Message: `10.66.0.1 is also the mesh address of node "broken"`,
				Remedy:  "give one of them another address, or leave it out to have one chosen",
			},
			{
				Field:   "link/gone.hk-1.to",
				Message: `node "gone" is not in the cluster`,
				Remedy:  "add the node or remove the link; until then the link has no effect",
			},
		},
	}
	if diff := cmp.Diff(want, got, compareAddresses, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("view (-want +got):\n%s", diff)
	}
	if got, ok := got.Peer("us-1"); !ok || got.MeshKey != "KEY-US" {
		t.Errorf("peer us-1: got %+v, %t", got, ok)
	}
	if got, ok := got.Peer("joins"); ok {
		t.Errorf("a node that is not admitted is a peer: %+v", got)
	}
}

func TestDeriveUnknownNode(t *testing.T) {
	_, err := topology.Derive(topology.Input{ClusterName: "web", Cluster: testCluster("10.66.0.0/16")}, "hk-1")
	if !errors.Is(err, topology.ErrUnknownNode) {
		t.Errorf("got %v, want ErrUnknownNode", err)
	}
}

func TestDeriveOfOneWhoIsNotAdmitted(t *testing.T) {
	in := topology.Input{
		ClusterName: "web", Cluster: testCluster("10.66.0.0/16"),
		Nodes:    map[string]spec.Node{"a": testNode("10.66.0.1"), "b": testNode("10.66.0.2")},
		MeshKeys: map[string]string{"b": "KEY"},
	}
	got, err := topology.Derive(in, "a")
	if err != nil {
		t.Fatal(err)
	}
	if got.Self.MeshKey != "" || len(got.Peers) != 1 {
		t.Errorf("got self %+v with %d peers, want no key and 1 peer", got.Self, len(got.Peers))
	}
}

// drawInput draws a cluster of up to 12 nodes with links and keys for some of them.
func drawInput(t *rapid.T) topology.Input {
	in := topology.Input{
		ClusterName: "web", Cluster: testCluster("10.66.0.0/24"),
		Nodes: map[string]spec.Node{}, Links: map[string]spec.Link{}, MeshKeys: map[string]string{},
	}
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z][a-z0-9-]{0,6}[a-z0-9]`), 1, 12, rapid.ID).Draw(t, "names")
	for _, name := range names {
		addr := fmt.Sprintf("10.66.0.%d", rapid.IntRange(0, 255).Draw(t, "address"))
		in.Nodes[name] = testNode(addr, fmt.Sprintf("198.51.100.%d", rapid.IntRange(1, 254).Draw(t, "public")))
		if rapid.Bool().Draw(t, "admitted") {
			in.MeshKeys[name] = "KEY-" + name
		}
	}
	for range rapid.IntRange(0, 5).Draw(t, "links") {
		l := spec.Link{From: rapid.SampledFrom(names).Draw(t, "from"), To: rapid.SampledFrom(names).Draw(t, "to")}
		l.Settings.MTU = rapid.IntRange(576, 9000).Draw(t, "mtu")
		in.Links[l.Name()] = l
	}
	return in
}

// reversed returns the same input, its maps filled in the opposite order.
func reversed(in topology.Input) topology.Input {
	out := in
	out.Nodes, out.Links, out.MeshKeys = map[string]spec.Node{}, map[string]spec.Link{}, map[string]string{}
	names := make([]string, 0, len(in.Nodes))
	for name := range in.Nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	slices.Reverse(names)
	for _, name := range names {
		out.Nodes[name] = in.Nodes[name]
		if key := in.MeshKeys[name]; key != "" {
			out.MeshKeys[name] = key
		}
	}
	for name, l := range in.Links {
		out.Links[name] = spec.Link{From: l.To, To: l.From, Settings: l.Settings}
	}
	return out
}

func TestDeriveProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		views := map[string]*topology.View{}
		for name := range in.Nodes {
			a, err := topology.Derive(in, name)
			if err != nil {
				t.Fatal(err)
			}
			b, err := topology.Derive(reversed(in), name)
			if err != nil {
				t.Fatal(err)
			}
			// Which end of a link is called from is the operator's choice and changes only what a problem's field says.
			if diff := cmp.Diff(a, b, compareAddresses, cmpopts.IgnoreFields(topology.View{}, "Problems")); diff != "" {
				t.Fatalf("the order of the input matters (-one +other):\n%s", diff)
			}
			views[name] = a
		}
		for name, v := range views {
			for _, p := range v.Peers {
				back, ok := views[p.Name].Peer(name)
				if admitted := in.MeshKeys[name] != ""; ok != admitted {
					t.Fatalf("%s has peer %s, the other way round: %t, want %t", name, p.Name, ok, admitted)
				}
				if ok && back.Link != p.Link {
					t.Fatalf("link %s-%s: %+v on one side, %+v on the other", name, p.Name, p.Link, back.Link)
				}
			}
		}
	})
}
