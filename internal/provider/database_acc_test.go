package provider_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/inproc"
)

const appDatabase = "atoll_database.app"

// replicated is three Linodes with a database, and a member on each of the given nodes.
func replicated(more string, members ...string) string {
	var b strings.Builder
	b.WriteString(linodes(crewNames()...))
	fmt.Fprintf(&b, `
resource "atoll_database" "app" {
  cluster           = atoll_cluster.web
  name              = "app"
  preferred_primary = atoll_node.a1
  accept            = { provider_majority = ["linode"], site_majority = ["ap-south"] }
  timeouts          = { create = "60s", update = "60s" }
  %s
}
`, more)
	for _, node := range members {
		fmt.Fprintf(&b, `
resource "atoll_database_member" %[1]q {
  database = atoll_database.app
  node     = atoll_node.%[1]s
  timeouts = { create = "60s", update = "60s", delete = "60s" }
}
`, node)
	}
	return b.String()
}

const databasePassword = "database-password-of-the-acceptance-tests"

// withUser are a schema and a user of it.
func withUser(password string, version int) string {
	return fmt.Sprintf(`
  databases = ["shop"]
  users     = { bob = { password = %q, password_version = %d } }
`, password, version)
}

// addressOf returns the address of a node's machine.
func (w *world) addressOf(t *testing.T, node string) string {
	t.Helper()
	var list struct {
		Data []struct {
			Label string   `json:"label"`
			IPv4  []string `json:"ipv4"`
		} `json:"data"`
	}
	if err := json.Unmarshal(w.call(t, http.MethodGet, "/v4/linode/instances"), &list); err != nil {
		t.Fatal(err)
	}
	for _, one := range list.Data {
		if one.Label == node || strings.HasSuffix(one.Label, "-"+node) {
			return one.IPv4[0]
		}
	}
	t.Fatalf("no machine is %s: %v", node, w.instances(t))
	return ""
}

// machineOf returns the machine of a node.
func (w *world) machineOf(t *testing.T, node string) *inproc.Machine {
	t.Helper()
	address := w.addressOf(t, node)
	for _, m := range w.machines.Machines() {
		if m.Address.String() == address {
			return m
		}
	}
	t.Fatalf("no machine has the address %s of %s", address, node)
	return nil
}

// TestDatabase makes a database on real agents, changes it, lets its primary fail, and removes it.
func TestDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	value := func(at tfjsonpath.Path, v knownvalue.Check) statecheck.StateCheck {
		return statecheck.ExpectKnownValue(appDatabase, at, v)
	}
	state := func(want string) statecheck.StateCheck {
		return value(tfjsonpath.New("state"), knownvalue.StringExact(want))
	}
	primary := func(want string) statecheck.StateCheck {
		return value(tfjsonpath.New("primary"), knownvalue.StringExact(want))
	}
	knows := func(password string) statecheck.StateCheck {
		return checkState(func() error {
			for _, n := range crewNames() {
				if got, _ := w.machineOf(t, n).DatabaseUsers(); got["bob"] != password {
					return fmt.Errorf("%s has the users %v", n, got)
				}
			}
			return nil
		})
	}
	all := crewNames()
	full := func(more string) string { return replicated(withUser(databasePassword, 1)+more, all...) }
	w.test(t,
		// A database without members, then two of three: it has not begun, and nobody waits for it.
		resource.TestStep{Config: replicated(""), ConfigStateChecks: []statecheck.StateCheck{state("new")}},
		resource.TestStep{Config: replicated("", "b1", "c1"), ConfigStateChecks: []statecheck.StateCheck{state("new")}},
		// Who is missing is not waited for, whatever changes meanwhile.
		resource.TestStep{Config: replicated(`settings = { max_connections = "200" }`, "b1", "c1"), ConfigPlanChecks: changesInPlace(appDatabase)},
		resource.TestStep{Config: replicated("", all...)},
		resource.TestStep{Config: replicated("", all...), ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{
			state("online"), primary("a1"),
			value(tfjsonpath.New("members").AtMapKey("a1").AtMapKey("role"), knownvalue.StringExact("primary")),
			statecheck.ExpectKnownValue("atoll_database_member.a1", tfjsonpath.New("weight"), knownvalue.Int64Exact(80)),
			statecheck.ExpectKnownValue("atoll_database_member.b1", tfjsonpath.New("weight"), knownvalue.Int64Exact(50)),
			statecheck.ExpectKnownValue("atoll_database_member.b1", tfjsonpath.New("current_role"), knownvalue.StringExact("secondary")),
		}},
		// Users.
		resource.TestStep{Config: full(""), ConfigPlanChecks: changesInPlace(appDatabase), ConfigStateChecks: []statecheck.StateCheck{knows(databasePassword)}},
		resource.TestStep{Config: full(""), ConfigPlanChecks: emptyPlan()},
		resource.TestStep{
			Config: replicated(withUser(databasePassword+"-2", 2), all...), ConfigPlanChecks: changesInPlace(appDatabase),
			ConfigStateChecks: []statecheck.StateCheck{knows(databasePassword + "-2")},
		},
		// A setting that takes restarts.
		resource.TestStep{
			Config: replicated(withUser(databasePassword+"-2", 2)+`settings = { max_connections = "300" }`, all...), ConfigPlanChecks: changesInPlace(appDatabase),
			// Who is asked after the apply may hear a moment later than who was waited for that all are back.
			ConfigStateChecks: []statecheck.StateCheck{databaseIsOneOf("online", "degraded"), checkState(func() error { return w.rolledOut(t, 3) })},
		},
		resource.TestStep{
			PreConfig: func() { w.awaitOnline(t, 3) },
			Config:    replicated(withUser(databasePassword+"-2", 2)+`settings = { max_connections = "300" }`, all...), ConfigPlanChecks: emptyPlan(),
			ConfigStateChecks: []statecheck.StateCheck{state("online")},
		},
		// Import.
		resource.TestStep{
			ResourceName: appDatabase, ImportState: true, ImportStateVerify: true,
			ImportStateVerifyIgnore: []string{"timeouts", "state", "primary", "incarnation", "members", "preferred_primary"},
			ImportStateIdFunc:       fromEndpoint("atoll_node.a1", "web/app"),
		},
		resource.TestStep{
			ResourceName: "atoll_database_member.b1", ImportState: true, ImportStateVerify: true,
			ImportStateVerifyIgnore: []string{"timeouts", "state", "current_role", "lag", "version", "problem", "router", "node"},
			ImportStateIdFunc:       fromEndpoint("atoll_node.a1", "web/app/b1"),
		},
	)
}
