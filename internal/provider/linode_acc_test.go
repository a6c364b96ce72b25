package provider_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
)

func emptyPlan() resource.ConfigPlanChecks {
	return resource.ConfigPlanChecks{
		PreApply:             []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
		PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
	}
}

// fromEndpoint makes an import ID that ends with the first endpoint of a node in state.
func fromEndpoint(node, id string) resource.ImportStateIdFunc {
	return func(s *terraform.State) (string, error) {
		r, ok := s.RootModule().Resources[node]
		if !ok {
			return "", fmt.Errorf("the state has no %s", node)
		}
		return id + "@" + r.Primary.Attributes["endpoints.0"], nil
	}
}

const changedClusterConfig = `
resource "atoll_cluster" "web" {
  name      = "web"
  mesh_cidr = "10.66.0.0/16"
  mesh      = { tinc = { ping_interval = 3, ping_timeout = 2 } }
}
`

// TestThreeLinodes makes a cluster of three nodes with all links, plans again, changes it, imports every resource, adds
// and removes a node, and destroys it.
func TestThreeLinodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	three := linodes("os1", "sg1", "sg2")
	w.test(t,
		resource.TestStep{
			Config: three,
			ConfigStateChecks: []statecheck.StateCheck{
				statecheck.ExpectKnownValue("atoll_node.sg1", tfjsonpath.New("id"), knownvalue.StringExact("web/sg1")),
				statecheck.ExpectKnownValue("atoll_node.sg1", tfjsonpath.New("identity"), knownvalue.StringRegexp(says("ed25519:"))),
				statecheck.ExpectKnownValue("atoll_node.sg1", tfjsonpath.New("failure_domain").AtMapKey("site"), knownvalue.StringExact("ap-south")),
				statecheck.ExpectKnownValue("atoll_mesh_link.os1-sg1", tfjsonpath.New("state"), knownvalue.StringExact("up-direct")),
				statecheck.ExpectKnownValue("atoll_mesh_link.os1-sg1", tfjsonpath.New("reverse").AtMapKey("reachable"), knownvalue.Bool(true)),
			},
		},
		resource.TestStep{Config: three, ConfigPlanChecks: emptyPlan()},
		resource.TestStep{
			ResourceName: "atoll_cluster.web", ImportState: true, ImportStateVerify: true,
			ImportStateIdFunc: fromEndpoint("atoll_node.sg1", "web"),
		},
		resource.TestStep{
			ResourceName: "atoll_node.sg2", ImportState: true, ImportStateVerify: true,
			ImportStateIdFunc:       fromEndpoint("atoll_node.sg1", "web/sg2"),
			ImportStateVerifyIgnore: []string{"timeouts"},
		},
		resource.TestStep{
			ResourceName: "atoll_mesh_link.os1-sg2", ImportState: true, ImportStateVerify: true,
			ImportStateIdFunc:       fromEndpoint("atoll_node.sg1", "web/os1/sg2"),
			ImportStateVerifyIgnore: []string{"timeouts", "forward", "reverse"},
		},
		resource.TestStep{
			// The cluster's change flows to every node, in place.
			Config: strings.Replace(three, clusterConfig, changedClusterConfig, 1),
			ConfigPlanChecks: resource.ConfigPlanChecks{
				PreApply: []plancheck.PlanCheck{
					plancheck.ExpectResourceAction("atoll_node.os1", plancheck.ResourceActionUpdate),
					plancheck.ExpectResourceAction("atoll_node.sg1", plancheck.ResourceActionUpdate),
				},
				PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
			},
		},
		resource.TestStep{Config: linodes("os1", "sg1", "sg2", "sg3")},
		resource.TestStep{Config: linodes("os1", "sg2"), ConfigPlanChecks: resource.ConfigPlanChecks{
			PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
		}},
	)
}

// TestReplaceWithoutLinks makes a node again in a cluster without links. The new one knows the others all the same.
func TestReplaceWithoutLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := strings.TrimPrefix(linodeNode("os1", ""), clusterConfig)
	moved := strings.Replace(linodeNode("sg1", ""), "ap-south", "jp-osa", 1)
	var before, after string
	identity := tfjsonpath.New("identity")
	w.test(t,
		resource.TestStep{Config: linodeNode("sg1", "") + other, ConfigStateChecks: []statecheck.StateCheck{
			readString("atoll_node.sg1", identity, &before),
		}},
		resource.TestStep{
			Config: moved + other + `
data "atoll_node" "os1" {
  cluster = atoll_cluster.web
  name    = "os1"
  from    = atoll_node.sg1.endpoints
}
`,
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
				plancheck.ExpectResourceAction("atoll_node.sg1", plancheck.ResourceActionDestroyBeforeCreate),
				plancheck.ExpectResourceAction("atoll_node.os1", plancheck.ResourceActionNoop),
			}},
			ConfigStateChecks: []statecheck.StateCheck{
				readString("atoll_node.sg1", identity, &after),
				statecheck.CompareValuePairs("data.atoll_node.os1", identity, "atoll_node.os1", identity, same{}),
			},
		},
	)
	if before == "" || before == after {
		t.Errorf("got identity %q before and %q after, want two", before, after)
	}
}

// TestUserData gives a machine the user's own user-data beside Atoll's: it joins, and cloud-init finds its own.
func TestUserData(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seen := &recorder{Machines: w.machines}
	w.cloud.Machines = seen
	const image = `image = "private/1"`
	with := func(value string) string {
		return strings.Replace(linodeNode("sg1", ""), image, image+", user_data = "+value, 1)
	}
	const own = `"#cloud-config\npackages: [nginx]\n"`
	w.test(t,
		resource.TestStep{Config: with(`join("", ["#cloud-config\n#", join("", [for i in range(1024): format("%050d", i)])])`), ExpectError: says("user_data has 51215 bytes", "49152")},
		resource.TestStep{Config: with(`"hello"`), ExpectError: says("user_data: cloud-init would not understand")},
		resource.TestStep{Config: with(`"#cloud-config\natoll: {atoll: 1}\n"`), ExpectError: says("must not hold first-boot data")},
		resource.TestStep{Config: with(own), Check: func(*terraform.State) error {
			seen.mu.Lock()
			defer seen.mu.Unlock()
			text := string(seen.data[len(seen.data)-1])
			if len(seen.data) != 1 || !strings.HasPrefix(text, "#cloud-config\n") || !strings.HasSuffix(text, "\npackages: [nginx]\n") {
				return fmt.Errorf("%d machines were made, the last with the user-data %.80q", len(seen.data), text)
			}
			return nil
		}},
		resource.TestStep{Config: with(own), ConfigPlanChecks: emptyPlan()},
		// What a machine was made with is history.
		resource.TestStep{Config: with(`"#cloud-config\n{}\n"`), ConfigPlanChecks: resource.ConfigPlanChecks{
			PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction("atoll_node.sg1", plancheck.ResourceActionUpdate)},
		}},
	)
}
