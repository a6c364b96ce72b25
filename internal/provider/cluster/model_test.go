package cluster_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/cluster"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

func sign(t *testing.T, c spec.Cluster) (reference.Signed, *trust.SigningKey) {
	t.Helper()
	key, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	o, err := spec.NewObject("web", "web", 7, 7, c)
	if err != nil {
		t.Fatal(err)
	}
	e, err := trust.SignObject(key, o)
	if err != nil {
		t.Fatal(err)
	}
	return reference.Signed{Envelope: e, Object: o, Cluster: c}, key
}

func TestModelKeepsTheSpec(t *testing.T) {
	t.Parallel()
	plain := spec.Cluster{MeshCIDR: netip.MustParsePrefix("10.66.0.0/16"), Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()}
	tuned := plain
	tuned.Mesh = spec.Mesh{Driver: spec.MeshTinc, Port: 1655, Tinc: &spec.Tinc{PingInterval: 9, PingTimeout: 3, MaxTimeout: 20}}
	tuned.Ports = spec.Ports{API: 1, Health: 2, Gossip: 3}
	tuned.Seeds = []string{"a.example.net:7443", "b.example.net:7443"}
	wireguard := plain
	wireguard.Mesh = spec.Mesh{Driver: spec.MeshWireGuard, Port: 51820}
	for name, want := range map[string]spec.Cluster{"defaults": plain, "everything set": tuned, "WireGuard": wireguard} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, key := sign(t, want)
			m := cluster.Model{Seeds: types.SetNull(types.StringType)}
			if err := m.FromSigned(s, key.Public()); err != nil {
				t.Fatal(err)
			}
			got, diags := m.ToSpec(t.Context())
			if diags.HasError() {
				t.Fatal(diags)
			}
			// The model spells the defaults out, which means the same.
			if want.Mesh.Driver == spec.MeshTinc {
				defaults := want.Mesh.TincOrDefault()
				want.Mesh.Tinc = &defaults
			}
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			root := trust.Root{Cluster: "web", Key: key.Public()}
			again, err := reference.OpenSigned(root, m.SignedObject.ValueString())
			if err != nil || again.Object.Generation != 7 {
				t.Errorf("got %+v, error %v", again.Object, err)
			}
		})
	}
}

// TestEmptySeedsStayEmpty keeps a plan with seeds = [] empty.
func TestEmptySeedsStayEmpty(t *testing.T) {
	t.Parallel()
	s, key := sign(t, spec.Cluster{MeshCIDR: netip.MustParsePrefix("10.66.0.0/16"), Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()})
	empty := types.SetValueMust(types.StringType, nil)
	m := cluster.Model{Seeds: empty}
	if err := m.FromSigned(s, key.Public()); err != nil || !m.Seeds.Equal(empty) {
		t.Errorf("got %s, error %v", m.Seeds, err)
	}
}
