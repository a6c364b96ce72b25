package topology_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

func TestCheck(t *testing.T) {
	const choose = "use an address from 10.66.0.1 to 10.66.0.6, or leave it out to have one chosen"
	tests := []struct {
		name  string
		nodes map[string]spec.Node
		want  spec.Problems
	}{
		{"nothing", nil, nil},
		{"all well", map[string]spec.Node{"a": testNode("10.66.0.1", "198.51.100.1"), "b": testNode("10.66.0.6", "host.example")}, nil},
		{
			"duplicate mesh address",
			map[string]spec.Node{"b": testNode("10.66.0.1"), "a": testNode("10.66.0.1")},
			spec.Problems{{
				Field: "node/b.mesh_address", Message: `10.66.0.1 is also the mesh address of node "a"`,
				Remedy: "give one of them another address, or leave it out to have one chosen",
			}},
		},
		{
			"outside",
			map[string]spec.Node{"a": testNode("10.66.0.8")},
			spec.Problems{{Field: "node/a.mesh_address", Message: "10.66.0.8 is outside the cluster's mesh_cidr 10.66.0.0/29", Remedy: choose}},
		},
		{
			"network address",
			map[string]spec.Node{"a": testNode("10.66.0.0")},
			spec.Problems{{Field: "node/a.mesh_address", Message: "10.66.0.0 is the network address of 10.66.0.0/29", Remedy: choose}},
		},
		{
			"broadcast address",
			map[string]spec.Node{"a": testNode("10.66.0.7")},
			spec.Problems{{Field: "node/a.mesh_address", Message: "10.66.0.7 is the broadcast address of 10.66.0.0/29", Remedy: choose}},
		},
		{
			"public address in the mesh network",
			map[string]spec.Node{"a": testNode("10.66.0.1", "198.51.100.1", "10.66.0.5")},
			spec.Problems{{
				Field: "cluster/web.mesh_cidr", Message: `10.66.0.0/29 contains 10.66.0.5, a public address of node "a"`,
				Remedy: "choose a network that no node has a public address in; traffic to that address would go into the mesh itself",
			}},
		},
		{
			"one public address of two nodes",
			map[string]spec.Node{"a": testNode("10.66.0.1", "Host.example", "198.51.100.1"), "b": testNode("10.66.0.2", "::ffff:198.51.100.1", "host.example")},
			spec.Problems{
				{
					Field: "node/b.addresses", Message: `::ffff:198.51.100.1 is also a public address of node "a"`,
					Remedy: "give each node its own address; two nodes behind one address cannot be told apart",
				},
				{
					Field: "node/b.addresses", Message: `host.example is also a public address of node "a"`,
					Remedy: "give each node its own address; two nodes behind one address cannot be told apart",
				},
			},
		},
		{
			"too many nodes",
			func() map[string]spec.Node {
				nodes := map[string]spec.Node{}
				for i := range 6 {
					nodes[fmt.Sprintf("n%d", i)] = testNode(fmt.Sprintf("10.66.0.%d", 1+i))
				}
				nodes["z"] = testNode("10.66.0.9")
				return nodes
			}(),
			spec.Problems{
				{
					Field: "cluster/web.mesh_cidr", Message: "10.66.0.0/29 has room for 6 nodes, the cluster has 7",
					Remedy: "use a larger network, for example a /16",
				},
				{Field: "node/z.mesh_address", Message: "10.66.0.9 is outside the cluster's mesh_cidr 10.66.0.0/29", Remedy: choose},
			},
		},
		{
			"what a node's own validation finds is not repeated",
			map[string]spec.Node{"a": {}, "b": {}},
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := topology.Check("web", testCluster("10.66.0.0/29"), tt.nodes)
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckWithoutNetwork(t *testing.T) {
	got := topology.Check("web", spec.Cluster{}, map[string]spec.Node{"a": testNode("10.66.0.1", "198.51.100.1")})
	if len(got) != 0 {
		t.Errorf("got %v, want nothing beside what the cluster's own validation finds", got)
	}
}

func TestProblemsOf(t *testing.T) {
	ps := spec.Problems{
		{Field: "node/a.mesh_address", Message: "one"},
		{Field: "node/ab.mesh_address", Message: "two"},
		{Field: "cluster/a.mesh_cidr", Message: "three"},
	}
	got := topology.ProblemsOf(ps, spec.Ref{Kind: spec.KindNode, Name: "a"})
	want := spec.Problems{{Field: "mesh_address", Message: "one"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestLinksSuitTheMesh(t *testing.T) {
	t.Parallel()
	in := topology.Input{
		ClusterName: "web", Cluster: testCluster("10.66.0.0/16"), Nodes: map[string]spec.Node{"a": {}, "b": {}},
		Links: map[string]spec.Link{"a.b": {From: "a", To: "b", Settings: spec.LinkSettings{TCPOnly: true}}},
	}
	for driver, want := range map[spec.MeshDriver]bool{spec.MeshTinc: false, spec.MeshWireGuard: true} {
		in.Cluster.Mesh.Driver = driver
		v, err := topology.Derive(in, "a")
		if err != nil {
			t.Fatal(err)
		}
		named := false
		for _, p := range v.Problems {
			named = named || p.Field == "link/a.b.settings.tcp_only"
		}
		if named != want {
			t.Errorf("%s: TCP alone is a problem: %t, want %t (%v)", driver, named, want, v.Problems)
		}
	}
}
