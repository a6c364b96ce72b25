package provider_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
)

// incomplete is what every warning about missing members says.
const incomplete = `Database "app" has 2 of its 3 voting members. It begins, restarts members for new settings, and comes back from an outage of all members only when all are described`

// TestDatabaseWithTooFewMembers: a database with a member too few is no error, since another run may make the missing one, but
// whoever applies it is told what does not happen meanwhile.
func TestDatabaseWithTooFewMembers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := &applies{}
	two, three := replicated("", "b1", "c1"), replicated("", crewNames()...)
	run.test(t, w,
		resource.TestStep{Config: two, ConfigStateChecks: []statecheck.StateCheck{
			databaseIs("new"), run.says(incomplete, "two members cannot tell a dead peer from a cut line", "If the others are still to be made in this run, nothing is left to do."),
		}},
		resource.TestStep{Config: three, ConfigStateChecks: []statecheck.StateCheck{run.says()}},
		resource.TestStep{PreConfig: func() { w.awaitOnline(t, 3) }, Config: two, ConfigStateChecks: []statecheck.StateCheck{
			run.says("Votes are missing: "+incomplete, "Data is kept aside"),
		}},
		resource.TestStep{Config: replicated(`settings = { max_connections = "300" }`, "b1", "c1"), ConfigStateChecks: []statecheck.StateCheck{
			run.says(incomplete, "Until then what is new is known to the member and waits."),
		}},
		// The missing one restarts nobody else's patience: what waited goes on.
		resource.TestStep{Config: replicated(`settings = { max_connections = "300" }`, crewNames()...), ConfigStateChecks: []statecheck.StateCheck{
			run.says(), checkState(func() error { return w.rolledOut(t, 3) }),
		}},
	)
}

// TestDatabaseMemberTakenBack: a member that was told but not online in time is in no state. The error says how to get rid of it, and
// that works.
func TestDatabaseMemberTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// The apply gives up before it takes the member for one of many.
	w.adjust = func(c *operator.Config) { c.Patience.Poll = time.Second }
	hasty := strings.Replace(replicated("", "a1"), `timeouts = { create = "60s", update = "60s", delete = "60s" }`, `timeouts = { create = "6s" }`, 1)
	voters := func(want int) checkState {
		return func() error {
			v, err := w.databaseView(t.Context())
			if err == nil && len(v.Members) != want {
				err = fmt.Errorf("the members are %v, want %d", v.Members, want)
			}
			return err
		}
	}
	w.test(t,
		resource.TestStep{Config: replicated(""), ConfigStateChecks: []statecheck.StateCheck{voters(0)}},
		resource.TestStep{Config: hasty, ExpectError: says("Member is not online", "nothing is undone", "To take a new member back instead", "terraform import ADDRESS 'web/app/a1@HOST:PORT'")},
		resource.TestStep{Config: replicated(""), ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{voters(1)}},
		resource.TestStep{
			Config: hasty, ResourceName: "atoll_database_member.a1", ImportState: true, ImportStatePersist: true,
			ImportStateIdFunc: fromEndpoint("atoll_node.b1", "web/app/a1"),
		},
		resource.TestStep{Config: replicated(""), ConfigStateChecks: []statecheck.StateCheck{voters(0)}},
	)
}

// TestDatabaseGrows takes a database from three votes to five, with a setting that restarts members, one resource at a time: members
// that change must not wait for the restart, which needs those that are made after them.
func TestDatabaseGrows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := &applies{kind: "atoll_database_member"}
	five := append(crewNames(), "d1", "e1")
	const grown = `votes = 5
  settings = { max_connections = "300" }`
	with := func(more string, members ...string) string {
		return strings.Replace(replicated(more, members...), linodes(crewNames()...), linodes(five...), 1)
	}
	run.test(t, w,
		resource.TestStep{Config: with("", crewNames()...), Check: func(*terraform.State) error {
			run.inOrder(t, "make", "make", "make")
			return nil
		}},
		resource.TestStep{
			PreConfig: func() { w.awaitOnline(t, 3); run.expectChanges(3) },
			Config:    with(grown, five...),
			ConfigStateChecks: []statecheck.StateCheck{
				run.says(`Database "app" has 3 of its 5 voting members`, "Until then what is new is known to the member and waits."),
				checkState(func() error { return w.rolledOut(t, 5) }),
			},
			Check: func(*terraform.State) error {
				run.inOrder(t, "change", "change", "change", "make", "make")
				return nil
			},
		},
		resource.TestStep{Config: with(grown, five...), ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{databaseIs("online")}},
	)
}

// rolledOut waits until that many members are online and run with the settings that they should.
func (w *world) rolledOut(t *testing.T, members int) error {
	t.Helper()
	_, err := await.Attempt(t.Context(), time.Minute, func(ctx context.Context) error {
		v, err := w.databaseView(ctx)
		if err != nil {
			return err
		}
		if v.Online != members || v.Rollout != nil {
			return fmt.Errorf("%d members are online, rollout %+v", v.Online, v.Rollout)
		}
		for node, m := range v.Members {
			if m.RestartNeeded {
				return fmt.Errorf("%s waits for its restart", node)
			}
		}
		return nil
	})
	return err
}
