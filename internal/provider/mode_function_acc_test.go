package provider_test

import (
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
)

// TestReplicationModeFunction asks which mode is for a tree, with little and with all that can be known of it, and with what cannot be.
func TestReplicationModeFunction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := func(tree, expression string) string {
		return "locals {\n  advice = provider::atoll::replication_mode(" + tree + ")\n}\noutput \"text\" {\n  value = tostring(" + expression + ")\n}\n"
	}
	const uploads = `{ kind = "data", writers = "many", files = 470000, average_bytes = 15000, changes_per_minute = 20, nodes = 3, rtt_ms = 35.5, dated = true, locks = false, acls = null }`
	good := []struct{ tree, expression, want string }{
		{`{ kind = "data", writers = "one" }`, `local.advice.mode`, "pair"},
		{uploads, `local.advice.mode`, "pair-cold"},
		{uploads, `length(local.advice.alternatives)`, "8"},
		{uploads, `local.advice.alternatives["nfs"].durability.grade`, "poor"},
		{uploads, `local.advice.alternatives["nfs"].against`, "each file that is opened waits 35.5 ms, and for ever when the line is cut"},
		{`{ kind = "code", writers = "none" }`, `join(" ", [local.advice.mode, local.advice.title])`, "deploy Deploy to each node"},
		{`{ kind = "code", writers = "none" }`, `length(local.advice.cautions)`, "0"},
	}
	bad := map[string][]string{
		`{ kind = "photos", writers = "one" }`:              {`kind is "photos"`, "data, code"},
		`{ kind = "data" }`:                                 {"writers is missing"},
		`{ kind = "data", writers = null }`:                 {"writers is missing"},
		`{ kind = "data", writers = "one", size = 1 }`:      {`tree has "size"`, "average_bytes"},
		`{ kind = "data", writers = "one", files = "many"}`: {"files is no number"},
		`{ kind = "data", writers = "one", files = -1 }`:    {"files is less than nothing"},
		`{ kind = "data", writers = "one", locks = "x" }`:   {"locks is neither true nor false"},
		`"data"`: {"tree is no object"},
	}
	var steps []resource.TestStep
	for _, g := range good {
		steps = append(steps, resource.TestStep{
			Config:            config(g.tree, g.expression),
			ConfigStateChecks: []statecheck.StateCheck{statecheck.ExpectKnownOutputValue("text", knownvalue.StringExact(g.want))},
		})
	}
	for tree, want := range bad {
		steps = append(steps, resource.TestStep{Config: config(tree, "local.advice.mode"), ExpectError: says(want...)})
	}
	// What is known at apply only. It comes last, since what the last step has made is removed by its configuration.
	steps = append(steps, resource.TestStep{
		Config: `resource "terraform_data" "later" {
  input = 3
}
` + config(`{ kind = "data", writers = "many", nodes = terraform_data.later.output }`, `local.advice.mode`),
		ConfigStateChecks: []statecheck.StateCheck{statecheck.ExpectKnownOutputValue("text", knownvalue.StringExact("pair"))},
	})
	w.test(t, steps...)
}
