package provider_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
)

const firewallsPath = "/networking/firewalls"

// wall is a firewall of the account as the API shows it.
type wall struct {
	ID     int      `json:"id"`
	Label  string   `json:"label"`
	Status string   `json:"status"`
	Tags   []string `json:"tags"`
	Rules  struct {
		Inbound []struct {
			Action, Protocol, Ports string
			Addresses               struct{ IPv4, IPv6 []string }
		} `json:"inbound"`
		InboundPolicy string `json:"inbound_policy"`
	} `json:"rules"`
	Entities []struct {
		ID   int    `json:"id"`
		Type string `json:"type"`
	} `json:"entities"`
}

// walls returns the account's firewalls by label.
func (w *world) walls(t *testing.T) map[string]wall {
	t.Helper()
	var list struct {
		Data []wall `json:"data"`
	}
	if err := json.Unmarshal(w.call(t, http.MethodGet, "/v4"+firewallsPath), &list); err != nil {
		t.Fatal(err)
	}
	out := map[string]wall{}
	for _, f := range list.Data {
		out[f.Label] = f
	}
	return out
}

// admits returns what a firewall lets in, one thing a line, with the names of nodes in place of their addresses.
func (f wall) admits(names map[string]string) []string {
	var out []string
	for _, r := range f.Rules.Inbound {
		var who []string
		for _, network := range append(slices.Clone(r.Addresses.IPv4), r.Addresses.IPv6...) {
			if strings.HasPrefix(network, "2001:db8:") {
				continue // the other address of a node that is there by its first
			}
			if name, ok := names[strings.TrimSuffix(network, "/32")]; ok {
				network = name
			}
			who = append(who, network)
		}
		slices.Sort(who)
		out = append(out, strings.Join(strings.Fields(fmt.Sprintf("%s %s from %s", strings.ToLower(r.Protocol), r.Ports, strings.Join(who, " "))), " "))
	}
	slices.Sort(out)
	return out
}

// put changes something as somebody else with the account's token would.
func (w *world) put(t *testing.T, path, body string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w.send(t, r)
}

// walled is a configuration of Linodes with firewalls of their own, by name, and what is added to them.
func walled(nodes map[string]string) string {
	config := clusterConfig
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		config += fmt.Sprintf(`
resource "atoll_node" %[1]q {
  cluster = atoll_cluster.web
  name    = %[1]q
  linode  = { region = "ap-south", type = "g6-nanode-1", image = "private/1", %[2]s }
  timeouts = { create = "60s" }
}
`, name, nodes[name])
	}
	return config
}

const ownWall = `firewall = { operators = ["203.0.113.0/24"] }`

// expectWalls compares what the account's firewalls let in with what they should.
func (w *world) expectWalls(t *testing.T, addresses map[string]*string, want map[string][]string) statecheck.StateCheck {
	t.Helper()
	return checkState(func() error {
		names := map[string]string{}
		for name, address := range addresses {
			names[*address] = name
		}
		have := w.walls(t)
		if len(have) != len(want) {
			return fmt.Errorf("the account has the firewalls %v, want %d", slices.Sorted(maps.Keys(have)), len(want))
		}
		for label, lines := range want {
			f, there := have[label]
			if got := f.admits(names); !there || f.Status != "enabled" || f.Rules.InboundPolicy != "DROP" || len(f.Entities) != 1 || !slices.Equal(got, lines) {
				return fmt.Errorf("firewall %s: %+v lets in\n%s\nwant\n%s", label, f, strings.Join(got, "\n"), strings.Join(lines, "\n"))
			}
		}
		return nil
	})
}

func firstAddress(node string, to *string) statecheck.StateCheck {
	return readString("atoll_node."+node, tfjsonpath.New("addresses").AtSliceIndex(0), to)
}

const (
	ping    = "icmp from 0.0.0.0/0 ::/0"
	health  = "tcp 7480 from 0.0.0.0/0 ::/0"
	manages = "tcp 22, 7443 from 203.0.113.0/24"
)

// meshFrom is what lets other nodes in.
func meshFrom(nodes ...string) []string {
	who := strings.Join(nodes, " ")
	return []string{ping, manages, "tcp 655, 7443 from " + who, health, "udp 655 from " + who}
}

func sorted(lines ...string) []string {
	slices.Sort(lines)
	return lines
}

// TestLinodeFirewall makes a node with a firewall of its own, has others come and go, changes what it lets in, imports it, takes it off
// and puts it on again. Every time the same apply changes all firewalls that have to be, and the next plan is empty.
func TestLinodeFirewall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var sg1, sg2, os1 string
	addresses := map[string]*string{"sg1": &sg1, "sg2": &sg2, "os1": &os1}
	first := map[string]string{"sg1": ownWall}
	two := map[string]string{"sg1": ownWall, "sg2": ownWall}
	three := map[string]string{"sg1": ownWall, "sg2": ownWall, "os1": ""}
	wider := map[string]string{"sg1": `firewall = { open = [{ protocol = "tcp", ports = [9100], peers = ["198.51.100.7"] }] }`, "sg2": ownWall}
	off := map[string]string{"sg1": "", "sg2": ownWall}
	after := resource.ConfigPlanChecks{PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}}
	w.test(t,
		resource.TestStep{Config: walled(first), ConfigPlanChecks: after, ConfigStateChecks: []statecheck.StateCheck{
			firstAddress("sg1", &sg1),
			w.expectWalls(t, addresses, map[string][]string{"web-sg1": sorted(ping, manages, health)}),
			statecheck.ExpectKnownValue("atoll_node.sg1", tfjsonpath.New("linode_firewall").AtMapKey("status"), knownvalue.StringExact("enabled")),
			statecheck.ExpectKnownValue("atoll_node.sg1", tfjsonpath.New("linode_firewall").AtMapKey("rules"), knownvalue.ListExact([]knownvalue.Check{
				knownvalue.StringExact("icmp from 0.0.0.0/0, ::/0"), knownvalue.StringExact("tcp 22, 7443 from 203.0.113.0/24"), knownvalue.StringExact("tcp 7480 from 0.0.0.0/0, ::/0"),
			})),
		}},
		resource.TestStep{Config: walled(two), ConfigPlanChecks: after, ConfigStateChecks: []statecheck.StateCheck{
			firstAddress("sg1", &sg1), firstAddress("sg2", &sg2),
			w.expectWalls(t, addresses, map[string][]string{"web-sg1": sorted(meshFrom("sg2")...), "web-sg2": sorted(meshFrom("sg1")...)}),
		}},
		resource.TestStep{Config: walled(three), ConfigPlanChecks: after, ConfigStateChecks: []statecheck.StateCheck{
			firstAddress("sg1", &sg1), firstAddress("sg2", &sg2), firstAddress("os1", &os1),
			w.expectWalls(t, addresses, map[string][]string{"web-sg1": sorted(meshFrom("os1", "sg2")...), "web-sg2": sorted(meshFrom("os1", "sg1")...)}),
		}},
		resource.TestStep{
			ResourceName: "atoll_node.sg2", ImportState: true, ImportStateVerify: true,
			ImportStateIdFunc: fromEndpoint("atoll_node.sg1", "web/sg2"),
			// What os1's coming has changed of it is read by the next refresh.
			ImportStateVerifyIgnore: []string{"timeouts", "linode_firewall.rules"},
		},
		resource.TestStep{Config: walled(two), ConfigPlanChecks: after, ConfigStateChecks: []statecheck.StateCheck{
			w.expectWalls(t, addresses, map[string][]string{"web-sg1": sorted(meshFrom("sg2")...), "web-sg2": sorted(meshFrom("sg1")...)}),
		}},
		resource.TestStep{
			Config: walled(wider),
			ConfigPlanChecks: resource.ConfigPlanChecks{
				PreApply: []plancheck.PlanCheck{
					plancheck.ExpectResourceAction("atoll_node.sg1", plancheck.ResourceActionUpdate),
					plancheck.ExpectResourceAction("atoll_node.sg2", plancheck.ResourceActionNoop),
				},
				PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
			},
			ConfigStateChecks: []statecheck.StateCheck{
				w.expectWalls(t, addresses, map[string][]string{
					"web-sg1": sorted(ping, "tcp 22, 7443, 7480 from 0.0.0.0/0 ::/0", "tcp 655 from sg2", "udp 655 from sg2", "tcp 9100 from 198.51.100.7/32"),
					"web-sg2": sorted(meshFrom("sg1")...),
				}),
			},
		},
		resource.TestStep{Config: walled(off), ConfigPlanChecks: after, ConfigStateChecks: []statecheck.StateCheck{
			w.expectWalls(t, addresses, map[string][]string{"web-sg2": sorted(meshFrom("sg1")...)}),
			statecheck.ExpectKnownValue("atoll_node.sg1", tfjsonpath.New("linode_firewall"), knownvalue.Null()),
		}},
		resource.TestStep{Config: walled(two), ConfigPlanChecks: after, ConfigStateChecks: []statecheck.StateCheck{
			w.expectWalls(t, addresses, map[string][]string{"web-sg1": sorted(meshFrom("sg2")...), "web-sg2": sorted(meshFrom("sg1")...)}),
		}},
	)
	if left := w.walls(t); len(left) != 0 {
		t.Errorf("firewalls are left: %v", left)
	}
}

// TestLinodeFirewallDrift has somebody change, disable, detach and delete a node's firewall. The plan shows it, what the rules will be
// included, and the apply puts it right; a change of the rules that means the same is none.
func TestLinodeFirewallDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := walled(map[string]string{"sg1": ownWall})
	id := func() int { return w.walls(t)["web-sg1"].ID }
	rules := func(inbound, policy string) string {
		return fmt.Sprintf(`{"inbound": [%s], "inbound_policy": %q, "outbound": [], "outbound_policy": "ACCEPT"}`, inbound, policy)
	}
	const all, office = `{"ipv4": ["0.0.0.0/0"], "ipv6": ["::/0"]}`, `{"ipv4": ["203.0.113.0/24"]}`
	same := rules(`{"action": "ACCEPT", "protocol": "TCP", "ports": "7443", "addresses": `+office+`}, {"action": "ACCEPT", "protocol": "TCP", "ports": "7480", "addresses": `+all+`},
		{"action": "ACCEPT", "protocol": "ICMP", "addresses": `+all+`}, {"action": "ACCEPT", "protocol": "TCP", "ports": "22", "label": "ours", "addresses": `+office+`}`, "DROP")
	is := w.expectWalls(t, nil, map[string][]string{"web-sg1": sorted(ping, manages, health)})
	planned := knownvalue.ObjectPartial(map[string]knownvalue.Check{
		"status": knownvalue.StringExact("enabled"),
		"rules":  knownvalue.ListPartial(map[int]knownvalue.Check{0: knownvalue.StringExact("icmp from 0.0.0.0/0, ::/0")}),
	})
	mended := resource.ConfigPlanChecks{
		PreApply: []plancheck.PlanCheck{
			plancheck.ExpectResourceAction("atoll_node.sg1", plancheck.ResourceActionUpdate),
			plancheck.ExpectKnownValue("atoll_node.sg1", tfjsonpath.New("linode_firewall"), planned),
		},
		PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
	}
	made := mended
	made.PreApply = mended.PreApply[:1]
	step := func(change func(), checks resource.ConfigPlanChecks) resource.TestStep {
		return resource.TestStep{PreConfig: change, Config: config, ConfigPlanChecks: checks, ConfigStateChecks: []statecheck.StateCheck{is}}
	}
	w.test(t,
		resource.TestStep{Config: config, ConfigStateChecks: []statecheck.StateCheck{is}},
		resource.TestStep{
			PreConfig: func() { w.put(t, fmt.Sprintf("/v4%s/%d/rules", firewallsPath, id()), same) },
			Config:    config, ConfigPlanChecks: emptyPlan(),
		},
		step(func() { w.put(t, fmt.Sprintf("/v4%s/%d/rules", firewallsPath, id()), rules("", "ACCEPT")) }, mended),
		step(func() { w.put(t, fmt.Sprintf("/v4%s/%d", firewallsPath, id()), `{"status": "disabled"}`) }, mended),
		step(func() {
			var devices struct {
				Data []struct{ ID int } `json:"data"`
			}
			path := fmt.Sprintf("/v4%s/%d/devices", firewallsPath, id())
			if err := json.Unmarshal(w.call(t, http.MethodGet, path), &devices); err != nil {
				t.Fatal(err)
			}
			w.call(t, http.MethodDelete, fmt.Sprintf("%s/%d", path, devices.Data[0].ID))
		}, mended),
		step(func() { w.call(t, http.MethodDelete, fmt.Sprintf("/v4%s/%d", firewallsPath, id())) }, made),
	)
	if left := w.walls(t); len(left) != 0 {
		t.Errorf("firewalls are left: %v", left)
	}
}

// TestLinodeFirewallLetsVisitorsIn has a load balancer with proxies come, change its port and go: the same apply opens and closes it.
func TestLinodeFirewallLetsVisitorsIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes := walled(map[string]string{"a1": ownWall, "b1": ownWall})
	balancer := func(port int) string {
		return nodes + fmt.Sprintf(`
resource "atoll_load_balancer" "www" {
  hostname    = "www.example.com"
  zone        = "example.com"
  nodes       = { a1 = atoll_node.a1, b1 = atoll_node.b1 }
  port        = 8080
  local_proxy = { port = %d }
}
`, port)
	}
	opens := func(lines ...string) statecheck.StateCheck {
		return checkState(func() error {
			for label, f := range w.walls(t) {
				var got []string
				for _, line := range f.admits(nil) {
					if strings.HasSuffix(line, "0.0.0.0/0 ::/0") && strings.HasPrefix(line, "tcp") {
						got = append(got, line)
					}
				}
				if !slices.Equal(got, lines) {
					return fmt.Errorf("%s is open for %v, want %v", label, got, lines)
				}
			}
			return nil
		})
	}
	after := resource.ConfigPlanChecks{PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}}
	w.test(t,
		resource.TestStep{Config: nodes, ConfigStateChecks: []statecheck.StateCheck{opens("tcp 7480 from 0.0.0.0/0 ::/0")}},
		resource.TestStep{Config: balancer(80), ConfigPlanChecks: after, ConfigStateChecks: []statecheck.StateCheck{opens("tcp 80, 7480 from 0.0.0.0/0 ::/0")}},
		resource.TestStep{Config: balancer(8000), ConfigPlanChecks: after, ConfigStateChecks: []statecheck.StateCheck{opens("tcp 7480, 8000 from 0.0.0.0/0 ::/0")}},
		resource.TestStep{Config: nodes, ConfigPlanChecks: after, ConfigStateChecks: []statecheck.StateCheck{opens("tcp 7480 from 0.0.0.0/0 ::/0")}},
	)
}
