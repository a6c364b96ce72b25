package provider_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/atollhq/terraform-provider-atoll/internal/replication"
)

// threePairs are the pairs of a star of three Linodes: a1 is the centre, b1 its backup, and uploads is the standby pair of that and c1.
func threePairs(standby string) string {
	pair := func(label, one, other, more string) string {
		return fmt.Sprintf(`
resource "atoll_replication_pair" %[1]q {
  name     = %[1]q
  owner    = "www-data"
  leader   = %[2]q
  nodes    = { for name in [%[2]q, %[3]q] : name => { node = local.nodes[name], path = "/srv/uploads" } }
  timeouts = { create = "60s", update = "60s", delete = "60s" }
  %[4]s
}
`, label, one, other, more)
	}
	nodes := twoNodes() + strings.TrimPrefix(linodeNode("c1", ""), clusterConfig) + "locals {\n  nodes = { a1 = atoll_node.a1, b1 = atoll_node.b1, c1 = atoll_node.c1 }\n}\n"
	return nodes + pair("home", "a1", "c1", "") + pair("trunk", "a1", "b1", "") + pair("uploads", "b1", "c1", standby)
}

// TestPairStandby makes a star with a standby pair, changes and imports that, and makes it one of a kind that would close a circle.
func TestPairStandby(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	centre := tfjsonpath.New("standby").AtMapKey("centre").AtMapKey("name")
	alternates := func(node, pair string, want bool) statecheck.StateCheck {
		return w.side(t, node, pair, func(p replication.Pair) bool { return p.Alternates == want })
	}
	const standby = "standby = { centre = atoll_node.a1 }"
	w.test(t,
		resource.TestStep{Config: threePairs(standby), ConfigStateChecks: []statecheck.StateCheck{
			pairIs(centre, knownvalue.StringExact("a1")), pairIs(tfjsonpath.New("standby").AtMapKey("after_seconds"), knownvalue.Int64Exact(30)),
			pairIs(tfjsonpath.New("stands_in_since"), knownvalue.Null()),
		}},
		resource.TestStep{PreConfig: func() {
			w.awaitPair(t, "uploads", func(p pairSeen) bool { return p.State == "standby" })
			w.awaitPair(t, "home", func(p pairSeen) bool { return p.State == "synced" })
		}, Config: threePairs(standby), ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{
			pairState("standby"), alternates("a1", "home", true), alternates("c1", "home", true), alternates("a1", "trunk", false), alternates("b1", "uploads", true),
		}},
		resource.TestStep{
			Config: threePairs("standby = { centre = atoll_node.a1, after_seconds = 60 }"), ConfigPlanChecks: changesInPlace(uploads),
			ConfigStateChecks: []statecheck.StateCheck{pairIs(tfjsonpath.New("standby").AtMapKey("after_seconds"), knownvalue.Int64Exact(60))},
		},
		resource.TestStep{
			ResourceName: uploads, ImportState: true, ImportStateVerify: true, ImportStateIdFunc: fromEndpoint("atoll_node.c1", "web/uploads"),
			ImportStateVerifyIgnore: []string{"timeouts", "state", "conflicts", "conflict_paths", "sides", "propagation_seconds", "nodes", "leader", "cold_status"},
		},
		resource.TestStep{Config: threePairs(""), PlanOnly: true, ExpectError: says("it leads round in a circle")},
	)
}

// TestPairStandbyRefuses is for everything that is wrong with standby pairs.
func TestPairStandbyRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hk1, hk2, sg1 := placed("hk1", "colo", "hong-kong"), placed("hk2", "vps", "hong-kong"), placed("sg1", "linode", "singapore")
	const standby = `standby = { centre = { name = "hk1" } }`
	at := func(node string) string { return treeAt(node, "/srv/x") }
	home, trunk := trees("home", at(hk1), at(sg1), ""), trees("trunk", at(hk1), at(hk2), "")
	good := home + trunk + trees("x", at(hk2), at(sg1), standby)
	var steps []resource.TestStep
	for _, tt := range []struct{ config, says string }{
		{trees("x", at(hk1), at(sg1), standby), "left is the centre, and a node of this pair"},
		{trees("x", at(hk2), at(sg1), `standby = { centre = { name = "HK1" } }`), "standby.for"},
		{trees("x", at(hk2), at(sg1), `standby = { centre = { name = "hk1" }, after_seconds = 1 }`), "must be between 5 and 86400"},
		{trees("x", coldAt(hk2, "/srv/x", "/srv/old"), coldAt(sg1, "/srv/x", "/srv/old"), standby+"\n  cold = { older_than_days = 30 }"), "a tree of several pairs has no cold files"},
		{trees("home", at(sg1), at(hk1), "") + trunk + trees("x", at(hk2), at(sg1), standby), "which does not lead its pair home with sg1"},
		{home + trunk + trees("x", at(hk2), at(sg1), standby+"\n  owner = \"app\""), "exclude, owner or group are not those of pair"},
		{good + trees("y", at(hk2), at(sg1), standby), "stands in for pair home, too"},
		{good + trees("y", at(sg1), at(hk2), standby), "gives it another one"},
	} {
		steps = append(steps, resource.TestStep{Config: clusterConfig + tt.config, PlanOnly: true, ExpectError: says(tt.says)})
	}
	steps = append(steps, resource.TestStep{Config: clusterConfig + good, PlanOnly: true, ExpectNonEmptyPlan: true})
	w.test(t, steps...)
}
