package provider_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/inproc"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// primaryIs demands who takes writes.
func primaryIs(node string) statecheck.StateCheck {
	return statecheck.ExpectKnownValue(appDatabase, tfjsonpath.New("primary"), knownvalue.StringExact(node))
}

// databaseIs demands a state of the database.
func databaseIs(state string) statecheck.StateCheck {
	return statecheck.ExpectKnownValue(appDatabase, tfjsonpath.New("state"), knownvalue.StringExact(state))
}

// TestDatabaseFailover: nobody plans anything because the primary has failed, and what is changed meanwhile reaches the others.
func TestDatabaseFailover(t *testing.T) {
	t.Parallel()
	w, run := newWorld(t), &applies{}
	config := replicated("", crewNames()...)
	changed := replicated(`settings = { max_connections = "300" }`, crewNames()...)
	var dead *inproc.Machine
	stop := func(node string) func() {
		return func() {
			dead = w.machineOf(t, node)
			if err := dead.Stop(); err != nil {
				t.Fatal(err)
			}
			w.awaitPrimary(t, "b1")
		}
	}
	run.test(t, w,
		resource.TestStep{Config: config},
		resource.TestStep{
			PreConfig: stop("a1"), Config: config, ConfigPlanChecks: emptyPlan(),
			ConfigStateChecks: []statecheck.StateCheck{primaryIs("b1"), databaseIs("degraded")},
		},
		// The one that is away is not waited for, and nobody restarts without it.
		resource.TestStep{Config: changed, ConfigPlanChecks: changesInPlace(appDatabase), ConfigStateChecks: []statecheck.StateCheck{
			primaryIs("b1"), run.says("a1 is unknown. What is new is known to the member and takes effect by itself when all are back."),
		}},
		resource.TestStep{
			PreConfig: func() {
				dead.Start()
				if err := w.rolledOut(t, 3); err != nil {
					t.Fatal(err)
				}
			},
			Config: changed, ConfigPlanChecks: emptyPlan(),
			ConfigStateChecks: []statecheck.StateCheck{databaseIs("online")},
		},
	)
}

// TestDatabaseMembersComeAndGo removes the primary, adds it again, and makes a node again.
func TestDatabaseMembersComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	three, two := replicated("", crewNames()...), replicated("", "b1", "c1")
	w.test(t,
		resource.TestStep{Config: three, ConfigStateChecks: []statecheck.StateCheck{databaseIsOneOf("new", "online")}},
		resource.TestStep{Config: two, ConfigStateChecks: []statecheck.StateCheck{
			checkState(func() error {
				if _, aside := w.machineOf(t, "a1").DatabaseUsers(); aside != 1 {
					return fmt.Errorf("data was kept aside %d times", aside)
				}
				return nil
			}),
		}},
		resource.TestStep{Config: two, ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{databaseIs("degraded"), primaryIs("b1")}},
		// With a member too few nobody restarts, and nobody waits for that.
		resource.TestStep{Config: replicated(`settings = { max_connections = "300" }`, "b1", "c1"), ConfigPlanChecks: changesInPlace(appDatabase)},
		resource.TestStep{Config: three},
		resource.TestStep{Config: three, ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{databaseIs("online")}},
		// A node that is made again has another identity and no data: its member is told anew, in place.
		resource.TestStep{Config: three, Taint: []string{"atoll_node.c1"}, ConfigPlanChecks: resource.ConfigPlanChecks{
			PreApply: []plancheck.PlanCheck{
				plancheck.ExpectResourceAction("atoll_database_member.c1", plancheck.ResourceActionUpdate),
				plancheck.ExpectResourceAction(appDatabase, plancheck.ResourceActionNoop),
			},
		}},
		resource.TestStep{Config: three, ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{databaseIs("online")}},
		// All nodes are gone when everything is destroyed.
		resource.TestStep{
			Config: three, ConfigPlanChecks: emptyPlan(),
			ConfigStateChecks: []statecheck.StateCheck{checkState(func() error {
				for _, n := range crewNames() {
					if err := w.machineOf(t, n).Stop(); err != nil {
						return err
					}
				}
				return nil
			})},
		},
	)
}

// databaseIsOneOf demands one of several states.
func databaseIsOneOf(states ...string) statecheck.StateCheck {
	checks := make([]knownvalue.Check, len(states))
	for i, s := range states {
		checks[i] = knownvalue.StringExact(s)
	}
	return statecheck.ExpectKnownValue(appDatabase, tfjsonpath.New("state"), anyOf(checks))
}

// anyOf is a check that one of several passes.
type anyOf []knownvalue.Check

// CheckValue implements knownvalue.Check.
func (a anyOf) CheckValue(v any) error {
	var err error
	for _, c := range a {
		if err = c.CheckValue(v); err == nil {
			return nil
		}
	}
	return err
}

// String implements knownvalue.Check.
func (a anyOf) String() string { return fmt.Sprint([]knownvalue.Check(a)) }

// databaseView returns the database as the first node that answers sees it.
func (w *world) databaseView(ctx context.Context) (api.DatabaseView, error) {
	op := operator.New(operator.Config{
		SigningKey: func() (*trust.SigningKey, error) { return w.key, nil }, Patience: operator.Patience{Dial: time.Second},
	})
	var errs []error
	for _, m := range w.machines.Machines() {
		status, err := op.Status(ctx, "web", operator.Peer{Endpoints: []string{m.Address.String() + ":7443"}})
		if err == nil {
			return status.Databases["app"], nil
		}
		errs = append(errs, err)
	}
	return api.DatabaseView{}, errors.Join(errs...)
}

// awaitOnline waits until that many voting members are online.
func (w *world) awaitOnline(t *testing.T, members int) {
	t.Helper()
	await.NoError(t, "members are online", time.Minute, func(ctx context.Context) error {
		v, err := w.databaseView(ctx)
		if err == nil && v.Online != members {
			err = fmt.Errorf("%d members are online: %+v", v.Online, v)
		}
		return err
	})
}

// awaitPrimary waits until a node takes writes and its former primary is missed.
func (w *world) awaitPrimary(t *testing.T, node string) {
	t.Helper()
	await.NoError(t, node+" takes writes", time.Minute, func(ctx context.Context) error {
		v, err := w.databaseView(ctx)
		if err == nil && (v.Primary != node || v.Online != 2) {
			err = fmt.Errorf("%q takes writes, %d members are online", v.Primary, v.Online)
		}
		return err
	})
}
