package provider_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
)

// TestKeyGeneration raises the generation of the mesh's keys, which is a change in place, and cannot be taken back.
func TestKeyGeneration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	of := func(generation string) string {
		return strings.Replace(clusterConfig, "mesh_cidr", "mesh = { key_generation = "+generation+" }\n  mesh_cidr", 1)
	}
	is := func(n int64) []statecheck.StateCheck {
		return []statecheck.StateCheck{statecheck.ExpectKnownValue("atoll_cluster.web", tfjsonpath.New("mesh").AtMapKey("key_generation"), knownvalue.Int64Exact(n))}
	}
	w.test(
		t,
		resource.TestStep{Config: of("9999999999"), PlanOnly: true, ExpectError: says("key_generation", "is not between")},
		resource.TestStep{Config: of("0"), PlanOnly: true, ExpectError: says("key_generation", "at least 1")},
		resource.TestStep{Config: clusterConfig, ConfigStateChecks: is(1)},
		resource.TestStep{Config: of("1"), PlanOnly: true},
		resource.TestStep{
			Config: of("20261122"), ConfigStateChecks: is(20261122),
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction("atoll_cluster.web", plancheck.ResourceActionUpdate)}},
		},
		resource.TestStep{Config: of("20261122"), PlanOnly: true},
		resource.TestStep{Config: of("2"), ExpectError: says("generation cannot go down", "raise it")},
		resource.TestStep{Config: clusterConfig, ExpectError: says("generation cannot go down")},
		// What the test is cleaned up with.
		resource.TestStep{Config: of("20261122"), PlanOnly: true},
	)
}
