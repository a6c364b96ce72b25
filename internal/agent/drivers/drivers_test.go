package drivers_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/drivers"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func TestEveryMeshDriverIsNamedOnce(t *testing.T) {
	got := slices.Sorted(maps.Keys(drivers.Mesh()))
	want := slices.Sorted(slices.Values(spec.MeshDrivers()))
	if !slices.Equal(got, want) {
		t.Errorf("drivers.Mesh has %v, spec.MeshDrivers lists %v; they must be the same", got, want)
	}
	for name, driver := range drivers.Mesh() {
		if driver == nil {
			t.Errorf("driver %s is nil", name)
		}
	}
}
