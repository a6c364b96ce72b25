package provider_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
)

// TestHostFirewall gives a node a packet filter, changes it in place, imports it and takes it away: after each apply the operator has
// come through, so that nothing is on trial.
func TestHostFirewall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var address string
	readAddress := readString("atoll_node.sg1", tfjsonpath.New("addresses").AtSliceIndex(0), &address)
	// holds demands that the filter has rules with these texts and is not on trial; none at all means no filter.
	holds := func(texts ...string) []statecheck.StateCheck {
		return []statecheck.StateCheck{readAddress, checkState(func() error {
			rules, trial, err := w.machines.Filter(netip.MustParseAddr(address))
			switch {
			case err != nil:
				return err
			case trial:
				return errors.New("the filter is still on trial")
			case len(texts) == 0 && rules != "":
				return fmt.Errorf("there is a filter:\n%s", rules)
			}
			for _, text := range texts {
				if !strings.Contains(rules, "\t"+text+"\n") {
					return fmt.Errorf("the filter lacks %q:\n%s", text, rules)
				}
			}
			return nil
		})}
	}
	const node = "atoll_node.sg1"
	imported := resource.TestStep{
		ResourceName: node, ImportState: true, ImportStateVerify: true, ImportStateIdFunc: fromEndpoint(node, "web/sg1"),
		ImportStateVerifyIgnore: []string{"timeouts"},
	}
	const here = `operators = ["127.0.0.0/8"]`
	w.test(t,
		resource.TestStep{Config: linodeNode("sg1", `host_firewall = {}`), ConfigStateChecks: holds(`tcp dport 22 accept comment "ssh"`, `tcp dport 7443 accept comment "api"`)},
		imported,
		resource.TestStep{Config: linodeNode("sg1", `host_firewall = { enforce = true, confirm_within = 60 }`), ConfigPlanChecks: emptyPlan()},
		resource.TestStep{
			Config: linodeNode("sg1", `host_firewall = { `+here+` }`), ConfigPlanChecks: changesInPlace(node),
			ConfigStateChecks: holds(`ip saddr { 127.0.0.0/8 } tcp dport 22 accept comment "ssh"`, `ip saddr { 127.0.0.0/8 } tcp dport 7443 accept comment "api"`),
		},
		imported,
		resource.TestStep{
			Config:           linodeNode("sg1", `host_firewall = { `+here+`, open = [{ protocol = "tcp", ports = [9100, "8000-8080"], peers = ["198.51.100.7"] }, { protocol = "udp", ports = [514] }] }`),
			ConfigPlanChecks: changesInPlace(node),
			ConfigStateChecks: holds(`ip saddr { 198.51.100.7 } tcp dport 9100 accept comment "application"`, `ip saddr { 198.51.100.7 } tcp dport 8000-8080 accept comment "application"`,
				`udp dport 514 accept comment "application"`),
		},
		imported,
		resource.TestStep{Config: linodeNode("sg1", `host_firewall = { `+here+`, enforce = false }`), ConfigPlanChecks: changesInPlace(node)},
		resource.TestStep{Config: linodeNode("sg1", ""), ConfigPlanChecks: changesInPlace(node), ConfigStateChecks: holds()},
		imported,
	)
}

// TestHostFirewallThatIsNone refuses what is wrong with a filter when it is planned, on the attribute.
func TestHostFirewallThatIsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for argument, words := range map[string]string{
		`operators = []`: "at least 1 elements", `operators = ["203.0.113.7/24"]`: "203.0.113.7/24 has host bits set", `operators = ["office.example.com"]`: "is neither",
		`confirm_within = 5`: "between 15 and 600", `open = [{ protocol = "icmp" }]`: `"tcp" "udp"`, `open = [{ protocol = "tcp", ports = [0] }]`: `"0" is no port`,
	} {
		w.test(t, resource.TestStep{Config: linodeNode("sg1", "host_firewall = { "+argument+" }"), PlanOnly: true, ExpectError: says(words)})
	}
}
