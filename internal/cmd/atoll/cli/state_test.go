package cli_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// stateOf returns a Terraform state with a cluster "web" signed by key and its nodes hk1 and hk2, of which only the first
// has been made.
func stateOf(t *testing.T, key *trust.SigningKey) string {
	t.Helper()
	object, err := spec.NewObject("web", "web", 1, 1, spec.Cluster{
		MeshCIDR: netip.MustParsePrefix("10.99.0.0/24"), Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts(),
	})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := trust.SignObject(key, object)
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := json.Marshal(signed)
	if err != nil {
		t.Fatal(err)
	}
	return stateWith(t,
		resource("atoll_cluster", map[string]any{"name": "web", "signed_object": string(envelope)}),
		resource("atoll_node",
			map[string]any{"cluster": map[string]any{"name": "web"}, "name": "hk1", "endpoints": []string{"198.51.100.11:7443"}},
			map[string]any{"cluster": map[string]any{"name": "web"}, "name": "hk2", "endpoints": nil}),
	)
}

// resource returns a resource of a state with one instance for each of the attributes.
func resource(kind string, attributes ...map[string]any) map[string]any {
	var instances []map[string]any
	for i, a := range attributes {
		instances = append(instances, map[string]any{"index_key": i, "attributes": a})
	}
	return map[string]any{"mode": "managed", "type": kind, "name": "x", "instances": instances}
}

func stateWith(t *testing.T, resources ...map[string]any) string {
	t.Helper()
	data, err := json.Marshal(map[string]any{"version": 4, "resources": resources})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
