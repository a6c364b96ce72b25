package provider_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
)

// TestLaterNodes adds nodes to a cluster without links, each in an apply of its own: a provider that has just started must
// find the nodes that Terraform does not tell it of, avoid their mesh addresses, and make the new one known to them.
func TestLaterNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := "resource \"atoll_cluster\" \"web\" {\n  name = \"web\"\n  mesh_cidr = \"10.66.0.0/29\"\n}\n"
	var steps []resource.TestStep
	var addresses []string
	for i, name := range []string{"aa", "bb", "cc", "dd", "ee", "ff"} {
		config += strings.TrimPrefix(linodeNode(name, ""), clusterConfig)
		addresses = append(addresses, "atoll_node."+name+".mesh_address")
		step := resource.TestStep{Config: config}
		if i > 0 {
			step.Config += fmt.Sprintf(`
data "atoll_node" "first" {
  cluster = atoll_cluster.web
  name    = "aa"
  from    = atoll_node.%s.endpoints
}
`, name)
			step.ConfigStateChecks = []statecheck.StateCheck{
				statecheck.ExpectKnownValue("data.atoll_node.first", tfjsonpath.New("name"), knownvalue.StringExact("aa")),
			}
		}
		steps = append(steps, step)
	}
	all := config + "output \"addresses\" {\n  value = [" + strings.Join(addresses, ", ") + "]\n}\n"
	steps = append(steps, resource.TestStep{Config: all, ConfigStateChecks: []statecheck.StateCheck{
		statecheck.ExpectKnownOutputValue("addresses", sixAddresses{meshOfSix()}),
	}})
	w.test(t, steps...)
}

// TestTwins configures one node twice, to the letter.
func TestTwins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	twin := strings.Replace(strings.TrimPrefix(linodeNode("sg1", ""), clusterConfig), `"atoll_node" "sg1"`, `"atoll_node" "twin"`, 1)
	w.test(t, resource.TestStep{
		Config:      linodeNode("sg1", "") + twin,
		ExpectError: says("has the name sg1 too"),
	})
}
