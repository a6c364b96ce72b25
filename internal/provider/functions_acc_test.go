package provider_test

import (
	"fmt"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
)

// TestDatabaseFunctions writes down how applications reach a database, in every form.
func TestDatabaseFunctions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := func(expression string) string {
		return fmt.Sprintf(`
locals {
  app = { name = "app", port = 3306, router = { driver = "mysqlrouter", write_port = 6446, read_port = 6447 } }
}
output "text" { value = %s }
`, expression)
	}
	const options = "?failOverReadOnly=false&connectTimeout=30000&socketTimeout=30000&autoReconnect=true&autoReconnectForPools=true"
	good := map[string]string{
		`provider::atoll::database_dsn(local.app, "url", "write", "shop", "bob")`:                                                       "mysql://bob@127.0.0.1:6446/shop",
		`provider::atoll::database_dsn(local.app, "url", "read", "shop", "bob", "p@ss")`:                                                "mysql://bob:p%40ss@127.0.0.1:6447/shop",
		`provider::atoll::database_dsn(local.app, "go", "write", "shop", "bob", "pw")`:                                                  "bob:pw@tcp(127.0.0.1:6446)/shop?parseTime=true&rejectReadOnly=true&timeout=5s&tls=preferred",
		`provider::atoll::database_dsn(local.app, "pdo", "write", "shop", "")`:                                                          "mysql:host=127.0.0.1;port=6446;dbname=shop;charset=utf8mb4",
		`provider::atoll::database_dsn(local.app, "jdbc", "write", "shop", "bob")`:                                                      "jdbc:mysql://127.0.0.1:6446/shop" + options + "&user=bob",
		`provider::atoll::database_jdbc_url(local.app, ["10.66.0.1", "10.66.0.2"], "shop", "bob", "pw")`:                                "jdbc:mysql://10.66.0.1:3306,10.66.0.2:3306/shop" + options + "&user=bob&password=pw",
		`provider::atoll::database_jdbc_url(merge(local.app, { port = 3307 }), ["fd00::1"], "shop", "")`:                                "jdbc:mysql://[fd00::1]:3307/shop" + options,
		`provider::atoll::database_dsn(merge(local.app, { router = { write_port = 7446, read_port = 7447 } }), "url", "write", "", "")`: "mysql://127.0.0.1:7446/",
	}
	bad := map[string]string{
		`provider::atoll::database_dsn(local.app, "odbc", "write", "shop", "bob")`:              "is no form",
		`provider::atoll::database_dsn(local.app, "url", "admin", "shop", "bob")`:               "is no access",
		`provider::atoll::database_dsn(local.app, "pdo", "write", "shop", "bob", "pw")`:         "no place for a password",
		`provider::atoll::database_dsn(local.app, "url", "write", "shop", "bob", "pw", "more")`: "one password",
		`provider::atoll::database_jdbc_url(local.app, [], "shop", "bob")`:                      "no host",
	}
	var steps []resource.TestStep
	for expression, want := range good {
		steps = append(steps, resource.TestStep{Config: call(expression), ConfigStateChecks: []statecheck.StateCheck{statecheck.ExpectKnownOutputValue("text", knownvalue.StringExact(want))}})
	}
	for expression, want := range bad {
		steps = append(steps, resource.TestStep{Config: call(expression), ExpectError: says(want)})
	}
	w.test(t, steps...)
}
