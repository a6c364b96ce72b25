package provider_test

import (
	"fmt"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/inproc"
)

// TestDatabaseSettingsThatFail: a setting that the server refuses restarts nobody, one that a member does not start with stops the
// rollout there, and a correct one mends both.
func TestDatabaseSettingsThatFail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	with := func(name, value string) string {
		return replicated(fmt.Sprintf("settings = { max_connections = \"300\", %s = %q }", name, value), crewNames()...)
	}
	good := replicated(`settings = { max_connections = "400" }`, crewNames()...)
	w.test(t,
		resource.TestStep{Config: replicated("", crewNames()...)},
		resource.TestStep{Config: with(inproc.RefusedSetting, "1"), ExpectError: says("Settings are refused", "no_such_variable", "all go on as before")},
		resource.TestStep{Config: good},
		resource.TestStep{Config: good, ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{databaseIs("online")}},
		resource.TestStep{Config: with(inproc.BrokenSetting, "b1"), ExpectError: says("The rollout has stopped, and no further member restarts", "b1")},
		resource.TestStep{
			Config:             with(inproc.BrokenSetting, "b1"),
			PlanOnly:           true,
			ExpectNonEmptyPlan: true,
		},
		resource.TestStep{Config: good},
		resource.TestStep{Config: good, ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{databaseIs("online")}},
	)
}
