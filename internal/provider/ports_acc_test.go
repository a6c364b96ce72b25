package provider_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
)

// changesInPlace demands that a node is updated and nothing is left to do afterwards.
func changesInPlace(node string) resource.ConfigPlanChecks {
	return resource.ConfigPlanChecks{
		PreApply:             []plancheck.PlanCheck{plancheck.ExpectResourceAction(node, plancheck.ResourceActionUpdate)},
		PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
	}
}

// TestPortOfTheLiveMap names a port for the live map, in place, and takes it back.
func TestPortOfTheLiveMap(t *testing.T) {
	t.Parallel()
	const cluster = "atoll_cluster.web"
	with := func(ports string) string {
		return "resource \"atoll_cluster\" \"web\" {\n  name      = \"web\"\n  mesh_cidr = \"10.66.0.0/16\"\n" + ports + "\n}\n"
	}
	at := func(port knownvalue.Check) []statecheck.StateCheck {
		return []statecheck.StateCheck{statecheck.ExpectKnownValue(cluster, tfjsonpath.New("ports").AtMapKey("map"), port)}
	}
	newWorld(t).test(t,
		resource.TestStep{Config: with(""), ConfigStateChecks: at(knownvalue.Null())},
		resource.TestStep{Config: with("  ports = { map = 7470 }"), ConfigPlanChecks: changesInPlace(cluster), ConfigStateChecks: at(knownvalue.Int64Exact(7470))},
		resource.TestStep{Config: with("  ports = { map = 0 }"), ExpectError: says("ports.map", "between 1 and 65535")},
		resource.TestStep{Config: with("  ports = { api = 7443 }"), ConfigPlanChecks: changesInPlace(cluster), ConfigStateChecks: at(knownvalue.Null())},
	)
}

// TestPublicPorts opens, changes and closes the ports of an application on a node, in place, imports them, and is told when the
// node cannot open one.
func TestPublicPorts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var address string
	readAddress := readString("atoll_node.sg1", tfjsonpath.New("addresses").AtSliceIndex(0), &address)
	// open demands that beside the cluster's own ports exactly these are open.
	open := func(tcp, udp []int) []statecheck.StateCheck {
		return []statecheck.StateCheck{readAddress, checkState(func() error {
			gotTCP, gotUDP, err := w.machines.OpenPorts(netip.MustParseAddr(address))
			if err != nil {
				return err
			}
			if diff := cmp.Diff([][]int{tcp, udp}, [][]int{gotTCP, gotUDP}); diff != "" {
				return fmt.Errorf("open ports (-want +got):\n%s", diff)
			}
			return nil
		})}
	}
	breakFirewall := func(broken bool) func() error {
		return func() error { return w.machines.BreakFirewall(netip.MustParseAddr(address), broken) }
	}
	const node = "atoll_node.sg1"
	imported := resource.TestStep{
		ResourceName: node, ImportState: true, ImportStateVerify: true, ImportStateIdFunc: fromEndpoint(node, "web/sg1"),
		ImportStateVerifyIgnore: []string{"timeouts"},
	}
	none := []int{655, 7443, 7480}
	mail := linodeNode("sg1", `public_ports = { tcp = [25] }
  timeouts = { create = "60s", update = "3s" }`)
	w.test(t,
		resource.TestStep{Config: linodeNode("sg1", `public_ports = { tcp = [443, 80] }`), ConfigStateChecks: open([]int{80, 443, 655, 7443, 7480}, []int{655})},
		resource.TestStep{Config: linodeNode("sg1", `public_ports = { tcp = [80, 443, 80], udp = [] }`), ConfigPlanChecks: emptyPlan()},
		imported,
		resource.TestStep{
			Config: linodeNode("sg1", `public_ports = { tcp = [80, 8080], udp = [53] }`), ConfigPlanChecks: changesInPlace(node),
			ConfigStateChecks: open([]int{80, 655, 7443, 7480, 8080}, []int{53, 655}),
		},
		imported,
		resource.TestStep{
			Config: linodeNode("sg1", `public_ports = { udp = [53] }`), ConfigPlanChecks: changesInPlace(node),
			ConfigStateChecks: open(none, []int{53, 655}),
		},
		resource.TestStep{Config: linodeNode("sg1", ""), ConfigPlanChecks: changesInPlace(node), ConfigStateChecks: open(none, []int{655})},
		imported,
		resource.TestStep{
			Config:           mail,
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{do(breakFirewall(true))}},
			ExpectError:      says("Ports are not as described yet", "Applied is False (StepFailed): firewall", "Operation not supported"),
		},
		resource.TestStep{
			// The node has its description, and goes on by itself as soon as it can.
			PreConfig: func() {
				if err := breakFirewall(false)(); err != nil {
					t.Error(err)
				}
			},
			Config: mail, ConfigPlanChecks: emptyPlan(),
		},
		resource.TestStep{
			Config:            linodeNode("sg1", `public_ports = { tcp = [26] }`),
			ConfigPlanChecks:  changesInPlace(node),
			ConfigStateChecks: open([]int{26, 655, 7443, 7480}, []int{655}),
		},
	)
}

// TestPublicPortsThatAreNone refuses what is no port, on the attribute.
func TestPublicPortsThatAreNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, ports := range []string{"tcp = [0]", "udp = [65536]", `tcp = ["http"]`} {
		w.test(t, resource.TestStep{
			Config: linodeNode("sg1", "public_ports = { "+ports+" }"), PlanOnly: true, ExpectError: says("public_ports"),
		})
	}
}
