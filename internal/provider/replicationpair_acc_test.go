package provider_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
)

const uploads = "atoll_replication_pair.uploads"

// twoNodes are two Linodes that nothing but a pair introduces to each other.
func twoNodes() string {
	return linodeNode("a1", "") + strings.TrimPrefix(linodeNode("b1", ""), clusterConfig)
}

// aPair is a configuration of a pair of two Linodes, with more arguments; unless they say otherwise it belongs to www-data.
func aPair(label, name, tree, more string) string {
	if !strings.Contains(more, "owner") {
		more += "\n  owner = \"www-data\""
	}
	return fmt.Sprintf(`
resource "atoll_replication_pair" %[1]q {
  name  = %[2]q
  nodes = {
    left  = { node = atoll_node.a1, path = %[3]q }
    right = { node = atoll_node.b1, path = %[3]q }
  }
  timeouts = { create = "60s", update = "60s", delete = "60s" }
  %[4]s
}
`, label, name, tree, more)
}

func uploadsPair(more string) string { return aPair("uploads", "uploads", "/srv/uploads", more) }

// pairIs demands a value of the pair in the state.
func pairIs(at tfjsonpath.Path, want knownvalue.Check) statecheck.StateCheck {
	return statecheck.ExpectKnownValue(uploads, at, want)
}

func pairState(want string) statecheck.StateCheck {
	return pairIs(tfjsonpath.New("state"), knownvalue.StringExact(want))
}

// side demands what the driver of a node was told of a pair.
func (w *world) side(t *testing.T, node, pair string, check func(replication.Pair) bool) statecheck.StateCheck {
	return checkState(func() error {
		got, ok := w.machineOf(t, node).PairSide(pair)
		if !ok || !check(got) {
			return fmt.Errorf("the driver of %s was told %t %+v", node, ok, got)
		}
		return nil
	})
}

// TestPair makes a pair on real agents, changes everything of it, imports it and removes it.
func TestPair(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := func(more string) string { return twoNodes() + uploadsPair(more) }
	leads := func(node string, want bool) statecheck.StateCheck {
		return w.side(t, node, "uploads", func(p replication.Pair) bool { return p.Leads == want })
	}
	w.test(t,
		resource.TestStep{Config: config(""), ConfigStateChecks: []statecheck.StateCheck{
			pairState("synced"), pairIs(tfjsonpath.New("id"), knownvalue.StringExact("web/uploads")), leads("a1", true), leads("b1", false),
			pairIs(tfjsonpath.New("leader"), knownvalue.StringExact("left")), pairIs(tfjsonpath.New("group"), knownvalue.StringExact("www-data")),
			pairIs(tfjsonpath.New("sides").AtMapKey("right").AtMapKey("state"), knownvalue.StringExact("synced")),
			pairIs(tfjsonpath.New("sides").AtMapKey("left").AtMapKey("watching"), knownvalue.StringExact("fanotify")),
			pairIs(tfjsonpath.New("exclude"), knownvalue.ListSizeExact(len(exclude.Defaults()))),
			w.warned.expect(true, "nodes", "are both at site"),
		}},
		resource.TestStep{Config: config(""), ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{pairState("synced")}},
		// Conflicts are observed, and nobody plans anything because of them.
		resource.TestStep{
			PreConfig: func() {
				w.machines.Conflict("uploads", "a (conflict_on_2026-03-01).txt")
				w.awaitPair(t, "uploads", func(p pairSeen) bool { return p.Conflicts == 1 })
			},
			Config: config(""), ConfigPlanChecks: emptyPlan(),
			ConfigStateChecks: []statecheck.StateCheck{
				pairIs(tfjsonpath.New("conflicts"), knownvalue.Int64Exact(1)),
				pairIs(tfjsonpath.New("conflict_paths").AtSliceIndex(0), knownvalue.StringExact("a (conflict_on_2026-03-01).txt")),
			},
		},
		// Excludes, none at all included.
		resource.TestStep{Config: config(`exclude = ["cache/**"]`), ConfigPlanChecks: changesInPlace(uploads), ConfigStateChecks: []statecheck.StateCheck{
			w.side(t, "b1", "uploads", func(p replication.Pair) bool { return slices.Equal(p.Exclude, []string{"cache/**"}) }),
		}},
		resource.TestStep{Config: config(`exclude = []`), ConfigPlanChecks: changesInPlace(uploads), ConfigStateChecks: []statecheck.StateCheck{
			w.side(t, "a1", "uploads", func(p replication.Pair) bool { return len(p.Exclude) == 0 }),
		}},
		resource.TestStep{Config: config(`exclude = []`), ConfigPlanChecks: emptyPlan()},
		// The leader, limits, and numbers that say the same as nothing.
		resource.TestStep{
			Config: config(`leader = "right"`), ConfigPlanChecks: changesInPlace(uploads),
			ConfigStateChecks: []statecheck.StateCheck{leads("a1", false), leads("b1", true)},
		},
		resource.TestStep{
			Config: config(`limits = { nice = 0, bandwidth_kib = 4096, io_class = "idle", memory_mib = 256 }` + "\n  objective_seconds = 30"), ConfigPlanChecks: changesInPlace(uploads),
			ConfigStateChecks: []statecheck.StateCheck{w.side(t, "a1", "uploads", func(p replication.Pair) bool {
				return p.Limits.Bandwidth == 4096 && p.Limits.Memory == 256 && p.Limits.IO == "idle" && p.Limits.Nice == 0 && p.Leads
			})},
		},
		resource.TestStep{Config: config(`limits = { nice = 0 }`)},
		resource.TestStep{Config: config(`limits = { nice = 0 }`), ConfigPlanChecks: emptyPlan()},
		// Another tree on one of the nodes, and another group.
		resource.TestStep{
			Config: strings.Replace(config(`group = "media"`), `atoll_node.b1, path = "/srv/uploads"`, `atoll_node.b1, path = "/srv/new"`, 1), ConfigPlanChecks: changesInPlace(uploads),
			ConfigStateChecks: []statecheck.StateCheck{pairState("synced"), w.side(t, "a1", "uploads", func(p replication.Pair) bool {
				return p.Path == "/srv/uploads" && p.PeerPath == "/srv/new" && p.Group == "media"
			})},
		},
		resource.TestStep{Config: config(""), ConfigPlanChecks: changesInPlace(uploads)},
		resource.TestStep{
			ResourceName: uploads, ImportState: true, ImportStateVerify: true, ImportStateIdFunc: fromEndpoint("atoll_node.a1", "web/uploads"),
			// Imported nodes have their names as keys.
			ImportStateVerifyIgnore: []string{"timeouts", "state", "conflicts", "conflict_paths", "sides", "propagation_seconds", "nodes", "leader"},
		},
		// Another name is another pair, of the same trees.
		resource.TestStep{
			Config: twoNodes() + aPair("uploads", "files", "/srv/uploads", ""), ConfigPlanChecks: pairPlanned(plancheck.ResourceActionDestroyBeforeCreate),
			ConfigStateChecks: []statecheck.StateCheck{pairState("synced"), checkState(func() error {
				if _, ok := w.machineOf(t, "a1").PairSide("uploads"); ok {
					return fmt.Errorf("a1 still has the old pair")
				}
				return nil
			})},
		},
		// And so is another resource, whatever order Terraform chooses.
		resource.TestStep{Config: twoNodes() + aPair("again", "again", "/srv/uploads", "")},
		resource.TestStep{Config: twoNodes() + aPair("again", "again", "/srv/uploads", ""), ConfigPlanChecks: emptyPlan()},
	)
}

// pairPlanned demands an action.
func pairPlanned(action plancheck.ResourceActionType) resource.ConfigPlanChecks {
	return resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction(uploads, action)}}
}

// trees is a configuration of a pair of nodes that need no machines.
func trees(label, left, right, more string) string {
	if !strings.Contains(more, "owner") {
		more += "\n  owner = \"www-data\""
	}
	return fmt.Sprintf(`
resource "atoll_replication_pair" %[1]q {
  name  = %[1]q
  nodes = {
    left  = %[2]s
    right = %[3]s
  }
  %[4]s
}
`, label, left, right, more)
}

// treeAt is one side of it.
func treeAt(node, path string) string { return fmt.Sprintf("{ node = %s, path = %q }", node, path) }

// TestPairRefuses gives configurations that cannot be carried out or do harm.
func TestPairRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hk1, hk2, sg1 := placed("hk1", "colo", "hong-kong"), placed("hk2", "vps", "hong-kong"), placed("sg1", "linode", "singapore")
	here, there := treeAt(hk1, "/srv/x"), treeAt(sg1, "/srv/x")
	good := trees("x", here, there, "")
	more := func(arguments string) string { return trees("x", here, there, arguments) }
	nodes := func(sides ...string) string {
		return strings.Replace(good, "left  = "+here+"\n    right = "+there, strings.Join(sides, "\n"), 1)
	}
	var many []string
	for n := range 201 {
		many = append(many, fmt.Sprintf("%q", fmt.Sprintf("f%d", n)))
	}
	tests := []struct{ config, says string }{
		{nodes("left = " + here), "nodes has 1, and a pair has two"},
		{nodes("left = "+here, "right = "+there, "third = "+treeAt(hk2, "/srv/x")), "More nodes make more pairs"},
		{trees("x", here, fmt.Sprintf("{ node = %s }", sg1), ""), "path of right is missing"},
		{trees("x", `{ path = "/srv/x" }`, there, ""), "node of left is missing"},
		{trees("x", here, "null", ""), "node of right is missing"},
		{trees("x", here, treeAt(hk1, "/srv/y"), ""), `left and right are both node "hk1"`},
		{trees("x", here, treeAt(strings.Replace(sg1, `"web"`, `"other"`, 1), "/srv/x"), ""), `right one of "other"`},
		{trees("x", here, treeAt(sg1, "/etc/app"), ""), "/etc belongs to the system"},
		{trees("x", here, treeAt(sg1, "srv/x"), ""), "is not absolute"},
		{trees("x", here, treeAt(sg1, "/srv"), ""), "holds what is not of one application"},
		{trees("x", here, treeAt(sg1, "/srv/x/"), ""), "Write /srv/x"},
		{more(`leader = "sg1"`), `Write "left" or "right"`},
		{more(`owner = "root"`), "root may write everywhere"},
		{more(`owner = "WWW"`), "is not the name of an account"},
		{more(`group = "a b"`), "is not the name of an account"},
		{more(`exclude = ["*.tmp", "!keep"]`), `"!keep" excludes nothing`},
		{more(`exclude = ["*"]`), "all of the tree"},
		{more(`exclude = [` + strings.Join(many, ", ") + `]`), "201 patterns"},
		{more(`driver = "csync2"`), "value must be one of"},
		{more(`limits = { nice = 20 }`), "between 0 and 19"},
		{more(`limits = { bandwidth_kib = 0 }`), "at least 1"},
		{more(`limits = { io_class = "realtime" }`), "value must be one of"},
		{more(`limits = { memory_mib = 8 }`), "at least 128"},
		{more(`objective_seconds = 0`), "between 1 and 3600"},
		{strings.Replace(good, `"x"`+"\n", `"X"`+"\n", 1), "X"},
		// Pairs among each other.
		{good + trees("y", treeAt(hk1, "/srv/x/y"), treeAt(hk2, "/srv/y"), ""), "lie within one another on hk1"},
		{good + trees("y", treeAt(hk2, "/srv/y"), treeAt(sg1, "/srv/x/y/z"), ""), "lie within one another on sg1"},
		{good + trees("y", there, here, ""), "leads round in a circle"},
		{good + trees("y", there, treeAt(hk2, "/srv/x"), "") + trees("z", treeAt(hk2, "/srv/x"), here, ""), "leads round in a circle"},
		{good + strings.Replace(good, `"x" {`, `"again" {`, 1), `is named "x" in cluster "web" too`},
	}
	for _, tree := range []string{"/var/www/html", "/var/www/html/app/uploads", "/home/shop/public_html/files", "/srv/http"} {
		tests = append(tests, struct{ config, says string }{trees("x", here, treeAt(sg1, tree), ""), "which web servers hand to everybody"})
	}
	var steps []resource.TestStep
	for _, tt := range tests {
		steps = append(steps, resource.TestStep{Config: clusterConfig + tt.config, PlanOnly: true, ExpectError: says(tt.says)})
	}
	warns := func(config string, warned bool, words ...string) {
		steps = append(steps, resource.TestStep{
			PreConfig: func() { w.warned.take() },
			Config:    clusterConfig + config, PlanOnly: true, ExpectNonEmptyPlan: true,
		}, resource.TestStep{
			PreConfig: func() {
				if err := w.warned.check(warned, words...); err != nil {
					t.Error(err)
				}
			},
			Config: clusterConfig + config, PlanOnly: true, ExpectNonEmptyPlan: true,
		})
	}
	fine := func(config string, warned bool) { warns(config, warned, "are both at site") }
	const meant = `accept = { in_web_root = "the application serves them itself" }`
	warns(trees("x", here, treeAt(sg1, "/var/www/html/app/uploads"), meant), false, "web servers")
	warns(trees("x", here, treeAt(sg1, "/var/www/uploads"), ""), false, "web servers")
	warns(trees("x", here, treeAt(sg1, "/var/www/uploads"), meant), true, "Nothing to accept", "in_web_root")
	fine(good, false)
	fine(trees("x", here, treeAt(hk2, "/srv/x"), ""), false)
	fine(trees("x", here, treeAt(placed("hk3", "colo", "hong-kong"), "/srv/x"), ""), true)
	// A star, and one path on other nodes.
	fine(good+trees("y", here, treeAt(hk2, "/srv/x"), ""), false)
	fine(good+trees("y", treeAt(hk2, "/srv/x/y"), treeAt(placed("de1", "other", "berlin"), "/srv/x"), ""), false)
	w.test(t, steps...)
}

// TestPairOfThingsKnownLater takes everything from what is known at apply only, a whole side and then both included.
func TestPairOfThingsKnownLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	later := func(settings, nodes string) string {
		return twoNodes() + fmt.Sprintf(`
resource "terraform_data" "later" {
  input = {
    name = "uploads", path = "/srv/uploads", owner = "www-data", pattern = "*.log", leader = "right", nice = 5
    node = { cluster = { name = "web" }, name = "b1", endpoints = atoll_node.b1.endpoints, identity = atoll_node.b1.identity }
  }
}

locals { later = terraform_data.later.output }

resource "atoll_replication_pair" "uploads" {
  %s
  nodes = %s
}
`, settings, nodes)
	}
	settings := `
  name    = local.later.name
  owner   = local.later.owner
  leader  = local.later.leader
  exclude = ["*.tmp", local.later.pattern]
  limits  = { nice = local.later.nice }`
	half := later(settings, `{
    left  = { node = atoll_node.a1, path = local.later.path }
    right = { node = local.later.node, path = local.later.path }
  }`)
	sides := func(how string) string {
		return later("name = \"uploads\"\n  owner = local.later.owner", strings.ReplaceAll(how, "RIGHT", `{ node = local.later.node, path = local.later.path }`)) + `
resource "terraform_data" "side" {
  input = { node = local.later.node, path = local.later.path }
}
`
	}
	whole := sides(`{
    left  = { node = atoll_node.a1, path = "/srv/uploads" }
    right = terraform_data.side.output
  }`)
	all := sides(`{ for k, v in { left = { node = atoll_node.a1, path = "/srv/uploads" }, right = RIGHT } : trimprefix("${k}-${local.later.owner}", "-") => v }`)
	fresh := resource.TestStep{Config: clusterConfig, ConfigPlanChecks: resource.ConfigPlanChecks{}}
	var steps []resource.TestStep
	for _, config := range []string{half, whole, all} {
		steps = append(
			steps,
			resource.TestStep{Config: config, ConfigStateChecks: []statecheck.StateCheck{
				pairState("synced"), w.side(t, "b1", "uploads", func(p replication.Pair) bool { return p.Path == "/srv/uploads" && p.Owner == "www-data" }),
			}},
			resource.TestStep{Config: config, ConfigPlanChecks: emptyPlan()},
			fresh,
		)
	}
	w.test(t, steps...)
}
