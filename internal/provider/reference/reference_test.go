package reference_test

import (
	"slices"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
)

func TestParseImportID(t *testing.T) {
	t.Parallel()
	tests := []struct {
		id    string
		names int
		want  []string
	}{
		{"web@hk1.example.net:7443", 1, []string{"web"}},
		{"web/hk1@[2001:db8::1]:7443", 2, []string{"web", "hk1"}},
		{"web/hk1/sg1@192.0.2.1:7443", 3, []string{"web", "hk1", "sg1"}},
		{"web", 1, nil},
		{"web@hk1", 1, nil},
		{"web/hk1@192.0.2.1:7443", 1, nil},
		{"web@192.0.2.1:7443", 2, nil},
		{"Web@192.0.2.1:7443", 1, nil},
		{"@192.0.2.1:7443", 1, nil},
		{"web@192.0.2.1:0", 1, nil},
	}
	for _, tt := range tests {
		got, err := reference.ParseImportID(tt.id, tt.names)
		if (err == nil) != (tt.want != nil) || err == nil && !slices.Equal(got.Names, tt.want) {
			t.Errorf("%q: got %+v, error %v; want %q", tt.id, got, err, tt.want)
		}
	}
}

func TestNodeValue(t *testing.T) {
	t.Parallel()
	n, ok, diags := reference.NodeFrom(t.Context(), reference.NodeValue("web", "hk1", []string{"192.0.2.1:7443"}, ""))
	if !ok || diags.HasError() {
		t.Fatal(ok, diags)
	}
	endpoints, _ := n.Addresses(t.Context())
	if n.Name.ValueString() != "hk1" || n.Cluster.Name.ValueString() != "web" || len(endpoints) != 1 || !n.Identity.IsNull() {
		t.Errorf("got %+v", n)
	}
}

func TestUnknownReferences(t *testing.T) {
	t.Parallel()
	if _, ok, diags := reference.NodeFrom(t.Context(), types.ObjectUnknown(reference.NodeTypes())); ok || diags.HasError() {
		t.Errorf("got a known node, %v", diags)
	}
	if _, ok, diags := reference.ClusterFrom(t.Context(), types.ObjectUnknown(reference.ClusterTypes())); ok || diags.HasError() {
		t.Errorf("got a known cluster, %v", diags)
	}
	mixed := types.ListValueMust(types.StringType, reference.StringList([]string{"a"}).Elements())
	if got, _ := reference.Strings(t.Context(), mixed); len(got) != 1 {
		t.Errorf("got %q", got)
	}
	if got, _ := reference.Strings(t.Context(), types.ListUnknown(types.StringType)); got != nil {
		t.Errorf("got %q for an unknown list", got)
	}
}
