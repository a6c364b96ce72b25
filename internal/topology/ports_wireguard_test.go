package topology_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

func TestPortsOfWireGuard(t *testing.T) {
	t.Parallel()
	in := topology.Input{ClusterName: "web", Cluster: testCluster("10.66.0.0/16"), Nodes: map[string]spec.Node{"a": {}, "b": {}}}
	in.Cluster.Mesh.Driver = spec.MeshWireGuard
	var got []string
	for _, p := range topology.Ports(in)["a"] {
		if p.Service == topology.ServiceMesh || p.Service == topology.ServiceHello {
			got = append(got, line(p))
		}
	}
	want := []string{"a 655/udp mesh public <- b", "a 7655/udp hello mesh <- b"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
