package internal_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/resource"

	"github.com/atollhq/terraform-provider-atoll/internal/provider"
)

// TestExamples demands an example and a generated page for everything that the provider offers, and that no page is left of
// what it does not offer any more.
func TestExamples(t *testing.T) {
	p := provider.New("test")()
	pages := map[string]bool{"index.md": true}
	present(t, "examples/provider/provider.tf", "docs/index.md")
	for _, newResource := range p.Resources(t.Context()) {
		var name resource.MetadataResponse
		newResource().Metadata(t.Context(), resource.MetadataRequest{ProviderTypeName: "atoll"}, &name)
		page := "resources/" + strings.TrimPrefix(name.TypeName, "atoll_") + ".md"
		pages[page] = true
		folder := "examples/resources/" + name.TypeName
		present(t, folder+"/resource.tf", folder+"/import.sh", "docs/"+page)
	}
	for _, newDataSource := range p.DataSources(t.Context()) {
		var name datasource.MetadataResponse
		newDataSource().Metadata(t.Context(), datasource.MetadataRequest{ProviderTypeName: "atoll"}, &name)
		page := "data-sources/" + strings.TrimPrefix(name.TypeName, "atoll_") + ".md"
		pages[page] = true
		present(t, "examples/data-sources/"+name.TypeName+"/data-source.tf", "docs/"+page)
	}
	for _, kind := range []string{"resources", "data-sources"} {
		files, err := filepath.Glob("../docs/" + kind + "/*.md")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if page := kind + "/" + filepath.Base(file); !pages[page] {
				t.Errorf("docs/%s describes what the provider does not have: run `make generate`", page)
			}
		}
	}
}

// present demands that files of the source tree are there and not empty.
func present(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if info, err := os.Stat(filepath.Join("..", name)); err != nil || info.Size() == 0 {
			t.Errorf("%s is missing or empty (pages in docs/ are made by `make generate`)", name)
		}
	}
}
