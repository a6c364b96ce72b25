package provider_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/inproc"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
)

// coldPaths gives both sides of a pair a cold root.
func coldPaths(config, left, right string) string {
	config = strings.Replace(config, `node = atoll_node.a1, path = "/srv/uploads"`, `node = atoll_node.a1, path = "/srv/uploads", cold_path = "`+left+`"`, 1)
	return strings.Replace(config, `node = atoll_node.b1, path = "/srv/uploads"`, `node = atoll_node.b1, path = "/srv/uploads", cold_path = "`+right+`"`, 1)
}

// TestPairCold gives a pair cold roots, changes what is moved there, imports it and takes them away.
func TestPairCold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := func(more string) string {
		return coldPaths(twoNodes()+uploadsPair(more), "/srv/archive", "/data/archive")
	}
	status := tfjsonpath.New("cold_status")
	w.test(t,
		resource.TestStep{Config: twoNodes() + uploadsPair(""), ConfigStateChecks: []statecheck.StateCheck{
			pairState("synced"), pairIs(status, knownvalue.Null()), pairIs(tfjsonpath.New("cold"), knownvalue.Null()),
		}},
		resource.TestStep{Config: config(`cold = { older_than_days = 30 }`), ConfigPlanChecks: changesInPlace(uploads), ConfigStateChecks: []statecheck.StateCheck{
			pairState("synced"),
			w.side(t, "a1", "uploads", func(p replication.Pair) bool {
				return p.Cold != nil && p.Cold.Path == "/srv/archive" && p.Cold.OlderThan == 30 && p.Cold.Pattern == "YYYY/MM/DD" && p.Cold.PairCold.Interval == 1440 && p.Cold.Takeover == 24 && p.Cold.Dial != nil
			}),
			w.side(t, "b1", "uploads", func(p replication.Pair) bool { return p.Cold != nil && p.Cold.Path == "/data/archive" }),
		}},
		resource.TestStep{PreConfig: func() {
			w.awaitPair(t, "uploads", func(p pairSeen) bool { return p.Cold != nil && len(p.Sides) == 2 })
		}, Config: config(`cold = { older_than_days = 30 }`), ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{
			pairIs(status.AtMapKey("directories"), knownvalue.Int64Exact(2)), pairIs(status.AtMapKey("bytes"), knownvalue.Int64Exact(1<<20)),
			pairIs(status.AtMapKey("problem"), knownvalue.Null()), pairIs(status.AtMapKey("last_run"), knownvalue.NotNull()),
		}},
		resource.TestStep{
			Config:           config(`cold = { older_than_days = 7, pattern = "media/*/YYYY-MM", interval_minutes = 60, takeover_hours = 0 }`),
			ConfigPlanChecks: changesInPlace(uploads),
			ConfigStateChecks: []statecheck.StateCheck{w.side(t, "b1", "uploads", func(p replication.Pair) bool {
				return p.Cold.OlderThan == 7 && p.Cold.Pattern == "media/*/YYYY-MM" && p.Cold.PairCold.Interval == 60 && p.Cold.Takeover == 0
			})},
		},
		resource.TestStep{
			ResourceName: uploads, ImportState: true, ImportStateVerify: true, ImportStateIdFunc: fromEndpoint("atoll_node.a1", "web/uploads"),
			ImportStateVerifyIgnore: []string{"timeouts", "state", "conflicts", "conflict_paths", "sides", "propagation_seconds", "nodes", "leader", "cold_status"},
		},
		resource.TestStep{Config: twoNodes() + uploadsPair(""), ConfigPlanChecks: changesInPlace(uploads), ConfigStateChecks: []statecheck.StateCheck{
			w.side(t, "a1", "uploads", func(p replication.Pair) bool { return p.Cold == nil }), pairIs(status, knownvalue.Null()),
		}},
	)
}

// coldAt is a side of a pair with a cold root.
func coldAt(node, path, cold string) string {
	return fmt.Sprintf("{ node = %s, path = %q, cold_path = %q }", node, path, cold)
}

// TestPairColdRefuses is for everything that is wrong with cold roots.
func TestPairColdRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hk1, hk2, sg1 := placed("hk1", "colo", "hong-kong"), placed("hk2", "vps", "hong-kong"), placed("sg1", "linode", "singapore")
	const cold = `cold = { older_than_days = 30 }`
	here, there := coldAt(hk1, "/srv/x", "/srv/old"), coldAt(sg1, "/srv/x", "/srv/old")
	good := trees("x", here, there, cold)
	var steps []resource.TestStep
	for _, tt := range []struct{ config, says string }{
		{trees("x", treeAt(hk1, "/srv/x"), there, cold), "cold_path of left is missing"},
		{trees("x", here, there, ""), "cold_path is for nothing without cold"},
		{trees("x", coldAt(hk1, "/srv/x", "/etc/old"), there, cold), "/etc belongs to the system"},
		{trees("x", coldAt(hk1, "/srv/x", "srv/old"), there, cold), "is not absolute"},
		{trees("x", coldAt(hk1, "/srv/x", "/srv/x/old"), there, cold), "/srv/x/old and the tree /srv/x lie within one another"},
		{trees("x", coldAt(hk1, "/srv/y/x", "/srv/y"), there, cold), "/srv/y and the tree /srv/y/x lie within one another"},
		{trees("x", here, there, `cold = { older_than_days = 30, pattern = "archive" }`), `"archive" is no pattern of dates`},
		{trees("x", here, there, `cold = { older_than_days = 0 }`), "must be at least 1"},
		{trees("x", here, there, `cold = { older_than_days = 1, interval_minutes = 1 }`), "must be at least 5"},
		{trees("x", here, there, `cold = { older_than_days = 1, takeover_hours = -1 }`), "must be at least 0"},
		{good + trees("y", treeAt(hk1, "/srv/old/y"), treeAt(sg1, "/srv/y"), ""), "lie within one another on hk1"},
		{good + trees("y", coldAt(hk1, "/srv/y", "/srv/old"), coldAt(sg1, "/srv/y", "/srv/older"), cold), "Give each pair a cold root of its own"},
		{good + trees("y", treeAt(hk1, "/srv/x"), treeAt(hk2, "/srv/x"), ""), "Move old directories out of trees of one pair only"},
	} {
		steps = append(steps, resource.TestStep{Config: clusterConfig + tt.config, PlanOnly: true, ExpectError: says(tt.says)})
	}
	steps = append(steps, resource.TestStep{Config: clusterConfig + good, PlanOnly: true, ExpectNonEmptyPlan: true})
	w.test(t, steps...)
}

// TestPairColdPlaces is for cold roots on file systems that are unfit for them.
func TestPairColdPlaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	volatile := inproc.EmptyDisk()
	volatile.FileSystem, volatile.Mount = "tmpfs", "/srv/archive"
	config := func(more string) string {
		return coldPaths(twoNodes()+uploadsPair(more), "/srv/archive", "/data/archive")
	}
	w.test(t,
		resource.TestStep{Config: twoNodes()},
		resource.TestStep{
			PreConfig: func() { w.machineOf(t, "a1").SetPlace("/srv/archive", volatile) },
			Config:    config(`cold = { older_than_days = 30 }`), PlanOnly: true,
			ExpectError: says("/srv/archive on a1 is on a file system of type tmpfs (mounted at /srv/archive), whose contents are gone after a restart"),
		},
		resource.TestStep{
			PreConfig: func() { w.machineOf(t, "a1").SetPlace("/srv/archive", inproc.EmptyDisk()) },
			Config:    config(`cold = { older_than_days = 30 }`), PlanOnly: true, ExpectNonEmptyPlan: true,
		},
	)
}
