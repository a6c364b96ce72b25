package provider_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
)

// placed is a node by its failure domain, as a reference that needs no machine.
func placed(name, provider, site string) string {
	return fmt.Sprintf(`{
    cluster = { name = "web" }, name = %q, endpoints = ["192.0.2.9:7443"], identity = "ed25519:x"
    failure_domain = { provider = %q, site = %q }
  }`, name, provider, site)
}

// aDatabase is a configuration of a database that begins at hk1, with more arguments.
func aDatabase(more string) string {
	return clusterConfig + fmt.Sprintf(`
resource "atoll_database" "app" {
  cluster           = atoll_cluster.web
  name              = "app"
  preferred_primary = %s
  %s
}
`, placed("hk1", "colo", "hong-kong"), more)
}

// aMember is a configuration of a member of that database.
func aMember(label, node, more string) string {
	return fmt.Sprintf(`
resource "atoll_database_member" %q {
  database = atoll_database.app
  node     = %s
  %s
}
`, label, node, more)
}

// TestDatabaseRefuses gives configurations that lose data or writes, and ones that cannot be carried out.
func TestDatabaseRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hk1, hk2 := placed("hk1", "colo", "hong-kong"), placed("hk2", "vps", "hong-kong")
	sg1, tk1, de1 := placed("sg1", "linode", "singapore"), placed("tk1", "linode", "tokyo"), placed("de1", "other", "berlin")
	members := func(nodes ...string) string {
		var b strings.Builder
		for i, n := range nodes {
			b.WriteString(aMember(fmt.Sprintf("m%d", i), n, ""))
		}
		return b.String()
	}
	second := strings.NewReplacer(`"app" {`, `"shop" {`, `"app"`, `"shop"`).Replace(strings.TrimPrefix(aDatabase(""), clusterConfig))
	tests := []struct{ config, says string }{
		{aDatabase("votes = 2"), "two members cannot tell a dead peer from a cut line"},
		{aDatabase("votes = 4"), "survive no more losses than 3"},
		{aDatabase("votes = 11"), "votes is 11"},
		{aDatabase(`engine = "ndb"`), `value must be one of`},
		{aDatabase(`version = "9"`), "is none"},
		{aDatabase(`bootstrap_epoch = 0`), "at least 1"},
		{aDatabase(`databases = ["mysql"]`), "the server's own"},
		{aDatabase(`databases = ["a-b"]`), "cannot be the name of a schema"},
		{aDatabase(`users = { root = { password = "x" } }`), "is not for applications"},
		{aDatabase(`users = { app = { password = "" } }`), "string length must be at least 1"},
		{aDatabase(`users = { app = { password = "x", databases = ["other"] } }`), "none of the database's schemas"},
		{aDatabase(`settings = { sync_binlog = "0" }`), "forget what it has acknowledged"},
		{aDatabase(`settings = { server_id = "7" }`), "each member has its own value"},
		{aDatabase(`settings = { group_replication_single_primary_mode = "OFF" }`), "one member takes writes"},
		{aDatabase(`settings = { transaction_isolation = "READ-UNCOMMITTED" }`), "what a failover takes back"},
		{aDatabase(`settings = { max-connections = "500" }`), "not the name of a system variable"},
		{aDatabase(`router = { driver = "proxysql" }`), "value must be one of"},
		{aDatabase(`router = { write_port = 6447 }`), "is also write_port"},
		{aDatabase(`port = 6446`), "the port of the members themselves"},
		{strings.Replace(aDatabase(""), `{ name = "web" }`, `{ name = "other" }`, 1), `preferred_primary is a node of cluster "other"`},
		{strings.Replace(aDatabase(""), `"app"`+"\n", `"App"`+"\n", 1), "App"},
		{aDatabase("") + strings.Replace(strings.TrimPrefix(aDatabase(""), clusterConfig), `"app" {`, `"app2" {`, 1), `is named "app" in cluster "web" too`},
		// Members among each other.
		{aDatabase("") + members(hk1, hk2), `Site "hong-kong" has 2 of the 3 votes`},
		{aDatabase("") + members(sg1, hk1, tk1), `Provider "linode" has 2 of the 3 votes`},
		{aDatabase(`accept = { provider_majority = ["colo"] }`) + members(sg1, tk1), `Provider "linode"`},
		{aDatabase(`accept = { site_majority = ["hong-kong"] }`) + members(hk1, hk2, sg1, de1), "3 votes and 4 voters"},
		{aDatabase("") + aMember("m", hk1, `role = "client"`), "has no data as a client"},
		{aDatabase("") + members(hk1) + aMember("again", hk1, ""), "part in database \"app\" too"},
		{aDatabase("") + second + members(de1) + strings.ReplaceAll(aMember("s", de1, ""), "atoll_database.app", "atoll_database.shop"), "is taken on node"},
		{aDatabase("") + aMember("m", hk1, `weight = 101`), "between 0 and 100"},
		{aDatabase("") + aMember("m", hk1, `role = "arbiter"`), "value must be one of"},
		{aDatabase("") + aMember("m", strings.Replace(hk1, `"web"`, `"other"`, 1), ""), `node a node of cluster "other"`},
	}
	var steps []resource.TestStep
	for _, tt := range tests {
		steps = append(steps, resource.TestStep{Config: tt.config, PlanOnly: true, ExpectError: says(tt.says)})
	}
	steps = append(
		steps,
		// Three of five in one place are a majority, two are none; what is accepted is fine.
		resource.TestStep{Config: aDatabase("votes = 5") + members(hk1, hk2, sg1, tk1, de1), PlanOnly: true, ExpectNonEmptyPlan: true},
		resource.TestStep{Config: aDatabase(`accept = { site_majority = ["hong-kong"] }`) + members(hk1, hk2, sg1), PlanOnly: true, ExpectNonEmptyPlan: true},
		resource.TestStep{Config: aDatabase("") + members(hk1, sg1, de1) + aMember("client", hk2, `role = "client"`), PlanOnly: true, ExpectNonEmptyPlan: true},
	)
	w.test(t, steps...)
}

// TestDatabaseWithoutNodes asks for a database whose node is not there.
func TestDatabaseWithoutNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.test(t, resource.TestStep{
		Config:      strings.ReplaceAll(aDatabase(""), "192.0.2.9", "127.0.0.1"),
		ExpectError: says("Nobody can be told of database", "Bring the node back and apply again; nothing was made"),
	})
}
