package provider_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/compare"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
)

// seedNode is a configuration of a node that joins by itself, which takes no machine to plan.
func seedNode(name, domain, address, more string) string {
	provider, site, _ := strings.Cut(domain, "/")
	return fmt.Sprintf(`
resource "atoll_node" %[1]q {
  cluster        = atoll_cluster.web
  name           = %[1]q
  failure_domain = { provider = %[2]q, site = %[3]q }
  seed           = { host = %[4]q }
  %[5]s
}
`, name, provider, site, address, more)
}

// threeNodes are nodes of three providers at three sites, with more arguments each.
func threeNodes(a, b, c string) string {
	return clusterConfig + seedNode("a", "colo/hong-kong", "192.0.2.1", a) + seedNode("b", "vps/singapore", "192.0.2.2", b) + seedNode("c", "linode/tokyo", "192.0.2.3", c)
}

func goesThrough(config string) resource.TestStep {
	return resource.TestStep{Config: config, PlanOnly: true, ExpectNonEmptyPlan: true}
}

func isRefused(config string, words ...string) resource.TestStep {
	return resource.TestStep{Config: config, PlanOnly: true, ExpectError: says(words...)}
}

// TestNodesKeptApart plans nodes with firewalls that are written down: the trap of a firewall that is open to one side only is told
// before anything is made, with the pair, the ports, the side, and what to write where it is meant.
func TestNodesKeptApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	only := func(peers string, more string) string {
		return fmt.Sprintf(`firewall = {
    inbound = [{ protocol = "tcp", ports = [655, "7000-8000"], peers = %[1]s }, { protocol = "udp", ports = [655], peers = %[1]s }]
    %[2]s
  }`, peers, more)
	}
	w.test(t,
		// Only c is let in at a: b is kept out, and their link hangs on a.
		isRefused(threeNodes(only(`["c"]`, ""), "", ""),
			`Nodes kept apart: a and b`, `firewall of node "a" does not let node "b" in at TCP 655 (mesh), UDP 655`, `7443 (api): their link hangs on a connecting to b`,
			`accept = { blocked = ["b"] } in the firewall of "a"`),
		isRefused(threeNodes(only(`["c"]`, ""), only(`["192.0.2.3"]`, ""), ""), `they reach each other only by way of other nodes`),
		isRefused(threeNodes(only(`["192.0.2.128/25"]`, ""), "", ""), `firewall of node "a" does not let node`),
		isRefused(threeNodes(`firewall = { outbound = [] }`, "", ""), `does not let it out to node`),
		isRefused(threeNodes(`firewall = { mesh = [{ protocol = "tcp" }] }`, "", ""), `over the mesh at UDP 655 (probe), UDP 7946 (gossip)`),
		// What is accepted, open, or only without UDP where that may be meant.
		goesThrough(threeNodes(only(`["c"]`, `accept = { blocked = ["b"] }`), "", "")),
		goesThrough(threeNodes(only(`["b", "192.0.2.3"]`, ""), only(`null`, ""), `firewall = {}`)),
		goesThrough(threeNodes(`firewall = { inbound = [{ protocol = "tcp" }] }`, "", "")),
		// What is no rule.
		isRefused(threeNodes(only(`["a.example.com"]`, ""), "", ""), "is neither"),
		isRefused(threeNodes(`firewall = { inbound = [{ protocol = "icmp" }] }`, "", ""), "value must be one of"),
		isRefused(threeNodes(`firewall = { inbound = [{ protocol = "tcp", ports = ["http"] }] }`, "", ""), "is no port"),
		isRefused(threeNodes(`firewall = { accept = { blocked = ["B"] } }`, "", ""), "is not a name"),
	)
	w.warned.take()
	w.test(t, goesThrough(threeNodes(`firewall = { inbound = [{ protocol = "tcp", ports = [655] }, { protocol = "udp" }] }`, "", "")))
	if err := w.warned.check(true, "Nodes kept apart", "7443 (api)", "while the mesh is down"); err != nil {
		t.Error(err)
	}
}

// TestFirewallUnknown plans a machine that is still to be made beside a firewall of networks: who will be kept out is not known yet,
// and is told when it is.
func TestFirewallUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hk := func(peers string) string {
		return seedNode("hk1", "colo/hong-kong", "192.0.2.1", fmt.Sprintf(`firewall = { inbound = [{ protocol = "tcp", peers = %s }] }`, peers))
	}
	w.test(t,
		goesThrough(linodeNode("sg1", "")+hk(`["192.0.2.0/24"]`)),
		goesThrough(linodeNode("sg1", "")+hk(`toset(atoll_node.sg1.addresses)`)),
		isRefused(linodeNode("sg1", "")+hk(`["hk2"]`), `does not let node "sg1" in`),
	)
}

// TestFirewall writes the firewall of a node down, changes it in place, and imports it.
func TestFirewall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const node = "atoll_node.sg1"
	imported := resource.TestStep{
		ResourceName: node, ImportState: true, ImportStateVerify: true, ImportStateIdFunc: fromEndpoint(node, "web/sg1"),
		ImportStateVerifyIgnore: []string{"timeouts"},
	}
	read := `
data "atoll_node" "sg1" {
  cluster = atoll_cluster.web
  name    = "sg1"
  from    = atoll_node.sg1.endpoints
}
`
	same := []statecheck.StateCheck{statecheck.CompareValuePairs("data."+node, tfjsonpath.New("firewall"), node, tfjsonpath.New("firewall"), compare.ValuesSame())}
	w.test(t,
		resource.TestStep{Config: linodeNode("sg1", `firewall = { inbound = [{ protocol = "tcp", ports = [655, "7000-8000"], peers = ["hk1"] }], mesh = [], accept = { blocked = ["us1"] } }`) + read, ConfigStateChecks: same},
		imported,
		resource.TestStep{Config: linodeNode("sg1", `firewall = { outbound = [{ protocol = "udp", peers = [] }] }`) + read, ConfigPlanChecks: changesInPlace(node), ConfigStateChecks: same},
		imported,
		resource.TestStep{Config: linodeNode("sg1", `firewall = { outbound = [{ protocol = "udp", peers = [] }], accept = {} }`)},
		resource.TestStep{Config: linodeNode("sg1", "") + read, ConfigPlanChecks: changesInPlace(node), ConfigStateChecks: same},
		imported,
	)
}

// analysed adds the analysis of all that is described to a configuration.
func analysed(config, more string) string {
	return config + fmt.Sprintf(`
resource "atoll_failure_analysis" "web" {
  cluster = atoll_cluster.web
  nodes   = { a = atoll_node.a, b = atoll_node.b, c = atoll_node.c }
  %s
}
output "points" {
  value = join(" ", atoll_failure_analysis.web.single_points_of_failure)
}
`, more)
}

// TestFailureAnalysis goes through a cluster of which nothing is made yet.
func TestFailureAnalysis(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	points := func(config, want string) resource.TestStep {
		return resource.TestStep{
			Config: config, PlanOnly: true, ExpectNonEmptyPlan: true,
			ConfigPlanChecks: resource.ConfigPlanChecks{PostApplyPreRefresh: []plancheck.PlanCheck{plancheck.ExpectKnownOutputValue("points", knownvalue.StringExact(want))}},
		}
	}
	const aLonelyNode = `firewall = { inbound = [], accept = { blocked = ["a", "b", "c"] } }`
	const hidden = `addresses = []`
	www := `
resource "atoll_load_balancer" "www" {
  hostname = "www.example.com"
  zone     = "example.com"
  nodes    = { a = atoll_node.a, b = atoll_node.b }
}
`
	files := `
resource "atoll_replication_pair" "files" {
  name  = "files"
  owner = "www-data"
  nodes = { a = { node = atoll_node.a, path = "/srv/files" }, b = { node = atoll_node.b, path = "/srv/files" } }
}
`
	oneProvider := strings.ReplaceAll(threeNodes("", "", ""), `"vps"`, `"colo"`)
	edge := `accept = { "edge/cloudflare" = ["loadbalancer/www.example.com"] }`
	tests := []struct {
		step resource.TestStep
		// warns are words of one warning, none for no warning at all.
		warns []string
	}{
		{points(analysed(threeNodes("", "", ""), ""), ""), nil},
		{points(analysed(threeNodes(aLonelyNode, aLonelyNode, ""), ""), "link/a.c link/b.c node/c"), []string{"nodes", "Single point of failure: node/c", `Without node "c", which is all of site`, "do not all reach each other: a | b", `accept = { "node/c" = ["cluster/web"] }`}},
		{points(analysed(threeNodes(hidden, hidden, ""), ""), "link/a.c link/b.c node/c"), []string{"Works, but not as well", "no two of nodes a, b reach each other"}},
		{points(analysed(threeNodes(`firewall = { inbound = [{ protocol = "tcp" }] }`, "", ""), ""), ""), []string{`AttributeName("firewall")`, "UDP 655 (mesh)", "slow where packets are lost"}},
		{points(analysed(threeNodes(`firewall = { inbound = [{ protocol = "tcp" }, { protocol = "udp", peers = ["b", "c", "d"] }] }`, "", ""), ""), ""), []string{`a rule for node "d"`}},
		{points(analysed(oneProvider+files, `pairs = { files = atoll_replication_pair.files }`), "provider/colo"), []string{`Without provider "colo"`, `pair "files" has no copy`}},
		{points(analysed(threeNodes("", "", "")+www, `load_balancers = { www = atoll_load_balancer.www }`), "edge/cloudflare"), []string{`the edge vendor "cloudflare"`, "a second way"}},
		{points(analysed(threeNodes("", "", "")+www, `load_balancers = { www = atoll_load_balancer.www }
  `+edge), ""), nil},
		{points(analysed(threeNodes("", "", ""), `databases = { app = { name = "app", votes = 3 } }`), ""), []string{`AttributeName("databases")`, "Members are missing: database/app", "0 of its 3 votes"}},
		{points(analysed(threeNodes("", "", ""), edge), ""), []string{"Nothing to accept", "edge/cloudflare: loadbalancer/www.example.com"}},
	}
	for _, tt := range tests {
		w.warned.take()
		w.test(t, tt.step)
		all := w.warned.take()
		said := false
		for _, one := range all {
			said = said || !strings.Contains(one, "atoll") && len(tt.warns) > 0 && containsAll(one, tt.warns)
		}
		if said != (len(tt.warns) > 0) || tt.warns == nil && len(all) > 0 {
			t.Errorf("wants a warning with %q, got %q", tt.warns, all)
		}
	}
	shut := threeNodes(`firewall = { mesh = [{ protocol = "udp" }, { protocol = "tcp", ports = [7946] }] }`, "", "")
	w.test(t,
		// What runs over the mesh is only known here.
		isRefused(analysed(shut+files, `pairs = { files = atoll_replication_pair.files }`), "Cannot work", `over the mesh at TCP 7443 (api): what runs there is not reached`),
		isRefused(analysed(shut, `databases = { app = { name = "app", engine = "mysql", votes = 3, port = 3306, router = { driver = "mysqlrouter", write_port = 6446, read_port = 6447 } } }
  database_members = { for n in ["a", "b", "c"] : n => { database = { name = "app" }, node = { name = n }, role = "voter" } }`), "TCP 3306 (database): what runs there is not reached"),
		goesThrough(analysed(shut, "")),
	)
	stray := `pairs = { x = { name = "x", nodes = { one = { node = { name = "z" }, path = "/srv/x" } } } }`
	w.test(t,
		isRefused(analysed(threeNodes(hidden, hidden, hidden), ""), "Cannot work", "the mesh falls into parts that do not reach each other: a | b | c"),
		isRefused(analysed(threeNodes("", "", ""), stray), `pair x is on node "z", which is none of nodes`),
		isRefused(strings.Replace(analysed(threeNodes("", "", ""), ""), "b = atoll_node.b,", "b = atoll_node.a,", 1), `nodes "a" and "b" are both node a`),
		isRefused(strings.Replace(analysed(threeNodes("", "", ""), ""), "  cluster = atoll_cluster.web\n  nodes", "  cluster = { name = \"lab\" }\n  nodes", 1), `node a is of cluster "web", not of "lab"`),
	)
}

func containsAll(text string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// writtenDown is an analysis of nodes that are written down, which takes no machine to apply.
func writtenDown(nodes, more string) string {
	return clusterConfig + fmt.Sprintf(`
resource "terraform_data" "later" {
  input = { name = "c", provider = "p3", peers = ["b"], accept = { "node/x" = ["cluster/web"] }, nodes = { c = { name = "c" } } }
}
resource "atoll_failure_analysis" "web" {
  cluster = atoll_cluster.web
  nodes   = %s
  %s
}
`, nodes, more)
}

// literal is a node as a reference.
func literal(name, provider, more string) string {
	return fmt.Sprintf(`%[1]s = { name = %[1]q, cluster = { name = "web" }, failure_domain = { provider = %[2]s, site = "s-%[1]s" }, addresses = ["192.0.2.1"], %[3]s }`, name, provider, more)
}

// TestFailureAnalysisState applies an analysis, plans nothing afterwards, changes it in place and imports it.
func TestFailureAnalysisState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const address = "atoll_failure_analysis.web"
	three := func(a, b, c string) string {
		return "{ " + literal("a", a, "") + ", " + literal("b", b, "") + ", " + literal("c", c, "") + " }"
	}
	list := func(name string, want ...string) statecheck.StateCheck {
		values := []knownvalue.Check{}
		for _, one := range want {
			values = append(values, knownvalue.StringExact(one))
		}
		return statecheck.ExpectKnownValue(address, tfjsonpath.New(name), knownvalue.ListExact(values))
	}
	app := `databases = { app = { name = "app", engine = "mysql", votes = 3, port = 3306, router = { driver = "mysqlrouter", write_port = 6446, read_port = 6447 }, accept = %s } }
  database_members = { for n in ["a", "b", "c"] : n => { database = { name = "app" }, node = { name = n }, role = "voter" } }`
	accept := `accept = { "provider/p1" = ["database/app"] }`
	w.test(t,
		resource.TestStep{Config: writtenDown(three(`"p1"`, `"p2"`, `"p3"`), ""), ConfigStateChecks: []statecheck.StateCheck{
			list("single_points_of_failure"), list("findings"), statecheck.ExpectKnownValue(address, tfjsonpath.New("id"), knownvalue.StringExact("web")),
		}},
		resource.TestStep{
			Config: writtenDown(three(`"p1"`, `"p1"`, `"p3"`), fmt.Sprintf(app, "null")), ConfigPlanChecks: changesInPlace(address),
			ConfigStateChecks: []statecheck.StateCheck{
				list("single_points_of_failure", "provider/p1"),
				statecheck.ExpectKnownValue(address, tfjsonpath.New("losses").AtMapKey("provider/p1"), knownvalue.ListExact([]knownvalue.Check{knownvalue.StringExact("database/app")})),
				statecheck.ExpectKnownValue(address, tfjsonpath.New("findings").AtSliceIndex(0).AtMapKey("accept"), knownvalue.StringExact(accept)),
			},
		},
		resource.TestStep{
			Config: writtenDown(three(`"p1"`, `"p1"`, `"p3"`), fmt.Sprintf(app, "null")+"\n  "+accept), ConfigPlanChecks: changesInPlace(address),
			ConfigStateChecks: []statecheck.StateCheck{list("single_points_of_failure")},
		},
		resource.TestStep{
			Config: writtenDown(three(`"p1"`, `"p1"`, `"p3"`), fmt.Sprintf(app, `{ provider_majority = ["p1"] }`)), ConfigPlanChecks: changesInPlace(address),
			ConfigStateChecks: []statecheck.StateCheck{
				list("single_points_of_failure"),
				statecheck.ExpectKnownValue(address, tfjsonpath.New("findings").AtSliceIndex(0).AtMapKey("accepted"), knownvalue.Bool(true)),
			},
		},
		resource.TestStep{ResourceName: address, ImportState: true, ImportStateId: "web", ImportStateCheck: func(all []*terraform.InstanceState) error {
			if len(all) != 1 || all[0].ID != "web" {
				return fmt.Errorf("imported %v", all)
			}
			return nil
		}},
	)
}

// TestFailureAnalysisUnknown plans with values that are not known yet, which count as if they were well: what is found all the same is
// true whatever they turn out to be, and the apply goes well.
func TestFailureAnalysisUnknown(t *testing.T) {
	t.Parallel()
	const later = "terraform_data.later.output"
	a, b, c := literal("a", `"p1"`, ""), literal("b", `"p1"`, ""), literal("c", `"p1"`, "")
	closed := func(peers, more string) string {
		return fmt.Sprintf(`firewall = { inbound = [{ protocol = "tcp", peers = %[1]s }, { protocol = "udp", peers = %[1]s }] %[2]s }`, peers, more)
	}
	lonely := literal("a", `"p1"`, closed(`["c"]`, ""))
	tests := []struct {
		name, nodes, more string
		// warns and fails are what the first plan says, "" for nothing.
		warns, fails string
	}{
		{"all known", a + ", " + b + ", " + c, "", "provider/p1", ""},
		{"a provider", a + ", " + b + ", " + literal("c", later+".provider", ""), "", "", ""},
		{"a node", a + ", " + b + ", " + strings.Replace(c, `name = "c"`, "name = "+later+".name", 1), "", "", ""},
		{"what is accepted", a + ", " + b + ", " + c, "accept = " + later + ".accept", "", ""},
		{"a firewall", literal("a", `"p1"`, closed(later+".peers", "")) + ", " + b + ", " + literal("c", `"p2"`, ""), "", "", ""},
		{"a firewall beside another", lonely + ", " + b + ", " + literal("d", `"p2"`, closed(later+".peers", "")), "", "", "does not let node"},
		{"a pair", a + ", " + b + ", " + literal("c", `"p2"`, ""), "pairs = { x = { name = " + later + `.name, nodes = { a = { node = { name = "a" }, path = "/srv/x" }, b = { node = { name = "b" }, path = "/srv/x" } } } }`, "", ""},
		{"members", a + ", " + b + ", " + literal("c", `"p2"`, ""), `databases = { app = { name = "app", votes = 3 } }
  database_members = { a = { database = { name = "app" }, node = { name = ` + later + `.name }, role = "voter" } }`, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			config := writtenDown("{ "+tt.nodes+" }", tt.more)
			if tt.fails != "" {
				w.test(t, isRefused(config, tt.fails))
				return
			}
			w.test(t, goesThrough(config))
			all := w.warned.take()
			if got := strings.Join(all, "\n"); tt.warns == "" && got != "" || !strings.Contains(got, tt.warns) {
				t.Errorf("wants a warning of %q, got %q", tt.warns, all)
			}
		})
	}
}
