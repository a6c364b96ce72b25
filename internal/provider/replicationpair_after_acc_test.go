package provider_test

import (
	"slices"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// TestPairAfterChange gives a pair a command after changes, changes and imports that, and takes it away.
func TestPairAfterChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := func(more string) string { return twoNodes() + uploadsPair(more) }
	runs := func(node string, timeout int, command ...string) statecheck.StateCheck {
		return w.side(t, node, "uploads", func(p replication.Pair) bool {
			return p.After != nil && p.After.Timeout == timeout && slices.Equal(p.After.Command, command)
		})
	}
	side := func() tfjsonpath.Path { return tfjsonpath.New("sides").AtMapKey("left").AtMapKey("after_change") }
	const upgrade, patient = `after_change = { command = ["/usr/bin/php", "occ", "upgrade"] }`, `after_change = { command = ["/usr/bin/php", "occ", "a b", ""], timeout_seconds = 900 }`
	w.test(t,
		resource.TestStep{Config: config(""), ConfigStateChecks: []statecheck.StateCheck{pairIs(side(), knownvalue.Null())}},
		resource.TestStep{Config: config(upgrade), ConfigPlanChecks: changesInPlace(uploads), ConfigStateChecks: []statecheck.StateCheck{
			runs("a1", spec.DefaultAfterTimeout, "/usr/bin/php", "occ", "upgrade"), runs("b1", spec.DefaultAfterTimeout, "/usr/bin/php", "occ", "upgrade"),
			pairIs(tfjsonpath.New("after_change").AtMapKey("timeout_seconds"), knownvalue.Int64Exact(300)),
		}},
		resource.TestStep{
			PreConfig: func() {
				w.awaitPair(t, "uploads", func(p pairSeen) bool { return p.Sides["a1"].After != nil && p.Sides["b1"].After != nil })
			},
			Config: config(upgrade), ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{
				pairIs(side().AtMapKey("state"), knownvalue.StringExact("done")), pairIs(side().AtMapKey("problem"), knownvalue.Null()), pairIs(side().AtMapKey("last_run"), knownvalue.NotNull()),
			},
		},
		// That it fails is observed, and nobody plans anything because of it.
		resource.TestStep{
			PreConfig: func() {
				w.machines.AfterChangeFails("uploads", "exit code 3: no table")
				w.awaitPair(t, "uploads", func(p pairSeen) bool { return p.Sides["a1"].After.State == spec.AfterFailed })
			},
			Config: config(upgrade), ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{
				pairState("synced"), pairIs(side().AtMapKey("state"), knownvalue.StringExact("failed")), pairIs(side().AtMapKey("problem"), knownvalue.StringExact("exit code 3: no table")),
			},
		},
		resource.TestStep{
			PreConfig: func() { w.machines.AfterChangeFails("uploads", "") },
			Config:    config(patient), ConfigPlanChecks: changesInPlace(uploads), ConfigStateChecks: []statecheck.StateCheck{runs("a1", 900, "/usr/bin/php", "occ", "a b", "")},
		},
		resource.TestStep{
			ResourceName: uploads, ImportState: true, ImportStateVerify: true, ImportStateIdFunc: fromEndpoint("atoll_node.a1", "web/uploads"),
			ImportStateVerifyIgnore: []string{"timeouts", "state", "conflicts", "conflict_paths", "sides", "propagation_seconds", "nodes", "leader"},
		},
		resource.TestStep{Config: config(patient), ConfigPlanChecks: emptyPlan()},
		resource.TestStep{Config: config(""), ConfigPlanChecks: changesInPlace(uploads), ConfigStateChecks: []statecheck.StateCheck{
			w.side(t, "b1", "uploads", func(p replication.Pair) bool { return p.After == nil }),
			pairIs(tfjsonpath.New("after_change"), knownvalue.Null()),
		}},
		resource.TestStep{Config: config(""), ConfigPlanChecks: emptyPlan()},
	)
}

// TestPairAfterChangeRefuses is for commands that nodes could not run.
func TestPairAfterChangeRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	here, there := treeAt(placed("hk1", "colo", "hong-kong"), "/srv/x"), treeAt(placed("sg1", "linode", "singapore"), "/srv/x")
	var steps []resource.TestStep
	for _, tt := range []struct{ after, says string }{
		{`{ command = [] }`, "is empty"},
		{`{ command = [""] }`, "is empty"},
		{`{ command = ["php", "occ"] }`, "is not absolute"},
		{`{ command = ["/usr/bin/../bin/php"] }`, "Write /usr/bin/php"},
		{`{ command = ["/usr/bin/php", "o\u0000cc"] }`, "byte of zero"},
		{`{ command = ["/usr/bin/php", null] }`, "null"},
		{`{ command = ["/usr/bin/php"], timeout_seconds = 0 }`, "between 1 and 86400"},
		{`{ timeout_seconds = 10 }`, `"command" is required`},
	} {
		steps = append(steps, resource.TestStep{Config: clusterConfig + trees("x", here, there, "after_change = "+tt.after), PlanOnly: true, ExpectError: says(tt.says)})
	}
	steps = append(steps, resource.TestStep{
		Config: clusterConfig + trees("x", here, there, `after_change = { command = ["/bin/true"], timeout_seconds = 86400 }`), PlanOnly: true, ExpectNonEmptyPlan: true,
	})
	w.test(t, steps...)
}
