package node_test

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/mark"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/node"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func TestModelKeepsTheSpec(t *testing.T) {
	t.Parallel()
	want := spec.Node{
		Provider: "linode", Site: "ap-south", MeshAddress: netip.MustParseAddr("10.66.0.7"),
		Addresses: []string{"203.0.113.10", "2001:db8::1"}, Identity: "ed25519:AAAA",
		Machine: spec.Machine{Variant: spec.MachineSSH, ID: "42"}, PublicPorts: spec.PublicPorts{TCP: []int{80, 443}, UDP: []int{443}},
	}
	var m node.Model
	m.FromSpec(t.Context(), "web", "sg1", want, 7443)
	got, diags := m.ToSpec(t.Context())
	if diags.HasError() {
		t.Fatal(diags)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if m.ID != types.StringValue("web/sg1") {
		t.Errorf("got id %s", m.ID)
	}
	if got := m.Endpoints.String(); got != `["203.0.113.10:7443","[2001:db8::1]:7443"]` {
		t.Errorf("got endpoints %s", got)
	}
}

// TestPublicPortsStayAsWritten demands that reading a node changes nothing of how its ports are written down, as long as they
// are the same.
func TestPublicPortsStayAsWritten(t *testing.T) {
	t.Parallel()
	ports := func(tcp, udp types.Set) types.Object {
		set := types.SetType{ElemType: types.Int64Type}
		return types.ObjectValueMust(map[string]attr.Type{"tcp": set, "udp": set}, map[string]attr.Value{"tcp": tcp, "udp": udp})
	}
	set := func(ports ...int64) types.Set {
		out, diags := types.SetValueFrom(t.Context(), types.Int64Type, append([]int64{}, ports...))
		if diags.HasError() {
			t.Fatal(diags)
		}
		return out
	}
	null := types.ObjectNull(ports(set(), set()).AttributeTypes(t.Context()))
	for _, tt := range []struct {
		name       string
		have, want types.Object
		node       spec.PublicPorts
	}{
		{"none", null, null, spec.PublicPorts{}},
		{"none, in many words", ports(set(), set()), ports(set(), set()), spec.PublicPorts{}},
		{"no set", ports(set(80), types.SetNull(types.Int64Type)), ports(set(80), types.SetNull(types.Int64Type)), spec.PublicPorts{TCP: []int{80}}},
		{"another order", ports(set(443, 80), set()), ports(set(443, 80), set()), spec.PublicPorts{TCP: []int{443, 80}}},
		{"imported", null, ports(set(80), set()), spec.PublicPorts{TCP: []int{80}}},
		{"closed by somebody", ports(set(80), set()), null, spec.PublicPorts{}},
		{"opened by somebody", ports(set(80), set()), ports(set(80), set(53)), spec.PublicPorts{TCP: []int{80}, UDP: []int{53}}},
	} {
		m := node.Model{PublicPorts: tt.have}
		m.FromSpec(t.Context(), "web", "sg1", spec.Node{PublicPorts: tt.node}, 7443)
		if !m.PublicPorts.Equal(tt.want) {
			t.Errorf("%s: got %s, want %s", tt.name, m.PublicPorts, tt.want)
		}
	}
}

func TestEmptyModel(t *testing.T) {
	t.Parallel()
	n, diags := node.Model{
		FailureDomain: types.ObjectUnknown(nil), MeshAddress: types.StringUnknown(), Addresses: types.ListUnknown(types.StringType),
	}.ToSpec(t.Context())
	if diags.HasError() || n.MeshAddress.IsValid() || !n.PublicPorts.IsZero() || n.Addresses != nil || n.Provider != "" {
		t.Errorf("got %+v, %v", n, diags)
	}
}

// TestInstanceNames demands that labels and tags are what Linode takes, and that no two nodes share one.
func TestInstanceNames(t *testing.T) {
	t.Parallel()
	label := regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?$`)
	name := rapid.StringMatching(`[a-z]([a-z0-9-]{0,38}[a-z0-9])?`)
	seen := map[string]string{}
	rapid.Check(t, func(t *rapid.T) {
		cluster, n := name.Draw(t, "cluster"), name.Draw(t, "node")
		got := node.InstanceLabel(cluster, n)
		if len(got) < 3 || len(got) > 64 || !label.MatchString(got) || strings.Contains(got, "--") {
			t.Errorf("label %q of %s/%s is none", got, cluster, n)
		}
		tag := mark.Node(cluster, n)
		if len(tag) < 3 || len(tag) > 50 {
			t.Errorf("tag %q has %d characters", tag, len(tag))
		}
		id := cluster + "/" + n
		if other, taken := seen[tag]; taken && other != id {
			t.Errorf("%s and %s have the tag %s", other, id, tag)
		}
		seen[tag] = id
	})
	if got, want := node.InstanceLabel("web", "sg1"), "web-sg1"; got != want {
		t.Errorf("got label %q, want %q", got, want)
	}
	if got, want := mark.Node("web", "sg1"), "atoll:web/sg1"; got != want {
		t.Errorf("got tag %q, want %q", got, want)
	}
	if a, b := node.InstanceLabel("a--b", "c"), node.InstanceLabel("a-b", "c"); a == b {
		t.Errorf("two clusters have the label %q", a)
	}
}
