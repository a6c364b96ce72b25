package provider_test

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/resource"

	atoll "github.com/atollhq/terraform-provider-atoll/internal/provider"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/cluster"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/clusterstatus"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/database"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/databasemember"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/failureanalysis"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/image"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/loadbalancer"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/meshlink"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/node"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/nodestatus"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/replicationpair"
)

// described is a schema as far as it is compared with a model.
type described struct {
	name  string
	types map[string]attr.Type
	model any
	// folder is where the examples are.
	folder string
}

// all returns every schema of the provider beside its model. A resource without a model here fails the test.
func all(t *testing.T) []described {
	t.Helper()
	ctx := t.Context()
	models := map[string]any{
		"resource atoll_cluster": cluster.Model{}, "resource atoll_image": image.Model{}, "resource atoll_node": node.Model{}, "resource atoll_mesh_link": meshlink.Model{},
		"resource atoll_database": database.Model{}, "resource atoll_database_member": databasemember.Model{}, "resource atoll_failure_analysis": failureanalysis.Model{},
		"resource atoll_load_balancer": loadbalancer.Model{}, "resource atoll_replication_pair": replicationpair.Model{},
		"data atoll_cluster_status": clusterstatus.Model{}, "data atoll_node": nodestatus.Model{},
	}
	p := atoll.New("test")()
	var ps provider.SchemaResponse
	p.Schema(ctx, provider.SchemaRequest{}, &ps)
	out := []described{{"provider", objectTypes(ctx, ps.Schema.Type()), atoll.Model{}, "provider"}}
	for _, f := range p.Resources(ctx) {
		var m resource.MetadataResponse
		var s resource.SchemaResponse
		r := f()
		r.Metadata(ctx, resource.MetadataRequest{ProviderTypeName: "atoll"}, &m)
		r.Schema(ctx, resource.SchemaRequest{}, &s)
		if d := s.Schema.ValidateImplementation(ctx); d.HasError() {
			t.Errorf("%s: %v", m.TypeName, d)
		}
		out = append(out, described{"resource " + m.TypeName, objectTypes(ctx, s.Schema.Type()), models["resource "+m.TypeName], "resources/" + m.TypeName})
	}
	for _, f := range p.DataSources(ctx) {
		var m datasource.MetadataResponse
		var s datasource.SchemaResponse
		d := f()
		d.Metadata(ctx, datasource.MetadataRequest{ProviderTypeName: "atoll"}, &m)
		d.Schema(ctx, datasource.SchemaRequest{}, &s)
		if d := s.Schema.ValidateImplementation(ctx); d.HasError() {
			t.Errorf("%s: %v", m.TypeName, d)
		}
		out = append(out, described{"data " + m.TypeName, objectTypes(ctx, s.Schema.Type()), models["data "+m.TypeName], "data-sources/" + m.TypeName})
	}
	return out
}

func objectTypes(_ context.Context, t attr.Type) map[string]attr.Type {
	if o, ok := t.(attr.TypeWithAttributeTypes); ok {
		return o.AttributeTypes()
	}
	return nil
}

// TestModelsMatchSchemas compares the attributes of each schema with the fields of its model.
func TestModelsMatchSchemas(t *testing.T) {
	for _, d := range all(t) {
		t.Run(d.name, func(t *testing.T) {
			if d.model == nil {
				t.Fatal("it has no model in this test: add it")
			}
			var fields, attributes []string
			mt := reflect.TypeOf(d.model)
			for i := range mt.NumField() {
				fields = append(fields, mt.Field(i).Tag.Get("tfsdk"))
			}
			for name := range d.types {
				attributes = append(attributes, name)
			}
			slices.Sort(fields)
			slices.Sort(attributes)
			if !slices.Equal(fields, attributes) {
				t.Errorf("the model has %q, the schema %q", fields, attributes)
			}
		})
	}
}

// TestEverythingHasExamples demands an example of everything, and how to import each resource.
func TestEverythingHasExamples(t *testing.T) {
	for _, d := range all(t) {
		t.Run(d.name, func(t *testing.T) {
			files := map[string]string{"provider": "provider.tf", "resource": "resource.tf", "data": "data-source.tf"}
			kind, typeName, _ := strings.Cut(d.name, " ")
			want := []string{files[kind]}
			if kind == "resource" {
				want = append(want, "import.sh")
			}
			for _, name := range want {
				text, err := os.ReadFile(filepath.Join("..", "..", "examples", d.folder, name))
				if err != nil {
					t.Error(err)
				} else if !strings.Contains(string(text), typeName) {
					t.Errorf("%s does not show %s", name, typeName)
				}
			}
		})
	}
}
