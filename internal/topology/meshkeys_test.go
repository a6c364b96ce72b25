package topology_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// TestSecondKey has a node between two keys: the others believe it under both, and under no other node's.
func TestSecondKey(t *testing.T) {
	in := topology.Input{
		ClusterName: "web", Cluster: testCluster("10.66.0.0/16"),
		Nodes:    map[string]spec.Node{"hk1": testNode("10.66.0.1", "198.51.100.1"), "hk2": testNode("10.66.0.2"), "sg1": testNode("10.66.0.3", "198.51.100.3")},
		MeshKeys: map[string]string{"hk1": "key of hk1", "hk2": "key of hk2", "sg1": "key of sg1"},
	}
	in.KeyNumbers = map[string]int{"hk1": 1}
	in.OtherKeys = map[string]spec.MeshKey{"hk1": {Number: 2, Public: "the next key of hk1"}, "nobody": {Number: 1, Public: "x"}}
	for name := range in.Nodes {
		v, err := topology.Derive(in, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range append(v.Peers, v.Self) {
			var want *spec.MeshKey
			number := 0
			if p.Name == "hk1" {
				want, number = &spec.MeshKey{Number: 2, Public: "the next key of hk1"}, 1
			}
			if diff := cmp.Diff(want, p.OtherKey); diff != "" || p.KeyNumber != number {
				t.Errorf("%s sees %s with key number %d and (-want +got):\n%s", name, p.Name, p.KeyNumber, diff)
			}
		}
	}
}
