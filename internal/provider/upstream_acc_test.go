package provider_test

import (
	"fmt"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
)

// TestUpstreamFunctions writes configurations for load balancers of one's own, and refuses what is wrong on the argument.
func TestUpstreamFunctions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := func(expression string) string {
		return fmt.Sprintf(`
locals {
  hk1  = { name = "hk1", mesh_address = "10.66.0.1", addresses = ["192.0.2.7", "192.0.2.8"], identity = "ed25519:x", linode = { user_data = sensitive("x") } }
  sg1  = { name = "sg1", mesh_address = null, addresses = ["fd00::2"] }
  both = { b = local.hk1, a = local.sg1 }
}
output "text" { value = %s }
`, expression)
	}
	good := map[string]string{
		`provider::atoll::nginx_upstream("web", local.both, { port = 80, node_settings = { a = { weight = 3 }, b = { enabled = false, port = 81 } } }).http`: "" +
			"upstream web {\n    ip_hash;\n    server 192.0.2.7:81 down; # hk1\n    server [fd00::2]:80 weight=3; # sg1\n    keepalive 100;\n}\n",
		`provider::atoll::nginx_upstream("web", { any = local.hk1 }, { port = 8080, method = "round_robin", keepalive = 8 }).http`: "" +
			"upstream web {\n    server 192.0.2.7:8080; # hk1\n    keepalive 8;\n}\n",
		`provider::atoll::nginx_upstream("web", { any = local.hk1 }, { port = 8080, network = "mesh", method = "least_conn", node_settings = null }).http`: "" +
			"upstream web {\n    least_conn;\n    server 10.66.0.1:8080; # hk1\n    keepalive 100;\n}\n",
		`provider::atoll::nginx_upstream("web", local.both, { port = 80, client_address = { header = "CF-Connecting-IP", from = toset(["192.0.2.0/24"]) } }).server`: "" +
			"set_real_ip_from 192.0.2.0/24;\nreal_ip_header CF-Connecting-IP;\nreal_ip_recursive on;\n",
		`provider::atoll::apache_balancer("web", { any = local.hk1 }, { port = 80, sticky_cookie = "SID", set_cookie = true, paths = ["/a"], except = null, node_settings = { any = { address = "hk1.example.com" } } })`: "" +
			"Header add Set-Cookie \"SID=.%{BALANCER_WORKER_ROUTE}e; Path=/; HttpOnly\" env=BALANCER_ROUTE_CHANGED\n" +
			"<Proxy balancer://web>\n    BalancerMember http://hk1.example.com:80 route=hk1 retry=10 connectiontimeout=2\n" +
			"    ProxySet lbmethod=byrequests stickysession=SID\n</Proxy>\n" +
			"ProxyPass /a balancer://web/a\nProxyPassReverse /a balancer://web/a\nProxyPreserveHost On\nRequestHeader set X-Forwarded-Proto expr=%{REQUEST_SCHEME}\n",
	}
	nginx := func(options string) string {
		return fmt.Sprintf(`provider::atoll::nginx_upstream("web", local.both, { port = 80, %s })`, options)
	}
	apache := func(options string) string {
		return fmt.Sprintf(`provider::atoll::apache_balancer("web", local.both, { port = 80, %s })`, options)
	}
	bad := map[string][]string{
		`provider::atoll::nginx_upstream("web server", local.both, { port = 80 })`:                                 {`"name"`, "is not a name"},
		`provider::atoll::nginx_upstream("web", [local.hk1], { port = 80 })`:                                       {`"nodes"`, "map of object required"},
		`provider::atoll::nginx_upstream("web", { a = { name = "a" } }, { port = 80 })`:                            {`"nodes"`, "are required"},
		`provider::atoll::nginx_upstream("web", { a = local.hk1, b = local.hk1 }, { port = 80 })`:                  {`"nodes"`, "two nodes are named"},
		`provider::atoll::nginx_upstream("web", local.both, { port = 80, network = "mesh" })`:                      {`"nodes"`, `node "a" has no mesh_address`},
		`provider::atoll::nginx_upstream("web", { a = merge(local.hk1, { addresses = [] }) }, { port = 80 })`:      {`"nodes"`, `node "a" has no addresses`},
		`provider::atoll::nginx_upstream("web", { a = merge(local.hk1, { addresses = ["a;b"] }) }, { port = 80 })`: {`"nodes"`, "neither an IP address nor a host name"},
		`provider::atoll::nginx_upstream("web", local.both, {})`:                                                   {`"options"`, `node "a" has no port`},
		`provider::atoll::apache_balancer("web", local.both, "none")`:                                              {`"options"`, "options is not an object"},
		nginx(`node_settings = { a = { port = 8.5 } }`):                                                            {`"options"`, `node_settings["a"].port is not a whole number`},
		nginx(`node_settings = { a = { wieght = 2 } }`):                                                            {`"options"`, `node_settings["a"] has no "wieght"`},
		nginx(`node_settings = { a = { enabled = "perhaps" } }`):                                                   {`"options"`, "neither true nor false"},
		nginx(`node_settings = { c = { weight = 2 } }`):                                                            {`"options"`, "is about no node"},
		nginx(`node_settings = { a = 2 }`):                                                                         {`"options"`, `node_settings["a"] is not an object`},
		nginx(`node_settings = 2`):                                                                                 {`"options"`, "options.node_settings is not an object"},
		nginx(`stiky = true`):                                                                                      {`"options"`, `options has no "stiky"`},
		nginx(`method = "fair"`):                                                                                   {`"options"`, "is no method"},
		nginx(`network = "lan"`):                                                                                   {`"options"`, "is no network"},
		nginx(`client_address = { header = "X-A" }`):                                                               {`"options"`, "needs both header and from"},
		nginx(`client_address = { header = "X-A", from = ["x"] }`):                                                 {`"options"`, "neither an address nor a network"},
		apache(`paths = "/"`):                                                                                      {`"options"`, "options.paths is not a list"},
		apache(`paths = [1]`):                                                                                      {`"options"`, "not a string"},
		apache(`paths = ["/a\nInclude /b"]`):                                                                       {`"options"`, "is no path"},
		apache(`sticky_cookie = 1`):                                                                                {`"options"`, "sticky_cookie is not a string"},
	}
	var steps []resource.TestStep
	for expression, want := range good {
		steps = append(steps, resource.TestStep{Config: call(expression), ConfigStateChecks: []statecheck.StateCheck{statecheck.ExpectKnownOutputValue("text", knownvalue.StringExact(want))}})
	}
	for expression, want := range bad {
		steps = append(steps, resource.TestStep{Config: call(expression), ExpectError: says(want...)})
	}
	w.test(t, steps...)
}

// TestUpstreamFollowsMembers has texts made of nodes that do not exist when they are planned, and of one node more afterwards.
func TestUpstreamFollowsMembers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := func(names ...string) string {
		nodes := ""
		for _, name := range names {
			nodes += fmt.Sprintf("%[1]s = atoll_node.%[1]s, ", name)
		}
		return linodes(names...) + fmt.Sprintf(`
output "nginx" { value = provider::atoll::nginx_upstream("web", { %[1]s }, { port = 8080, network = "mesh", node_settings = { os1 = { weight = 2 } } }) }
output "apache" { value = provider::atoll::apache_balancer("web", { %[1]s }, { port = 8080, sticky_cookie = "SID" }) }
`, nodes)
	}
	holds := func(lines ...string) []statecheck.StateCheck {
		return []statecheck.StateCheck{
			statecheck.ExpectKnownOutputValueAtPath("nginx", tfjsonpath.New("http"), knownvalue.StringRegexp(says(lines...))),
			statecheck.ExpectKnownOutputValue("apache", knownvalue.StringRegexp(says("BalancerMember http://", ":8080 route=os1", "stickysession=SID"))),
		}
	}
	w.test(
		t,
		resource.TestStep{
			Config:            config("os1"),
			ConfigPlanChecks:  resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectUnknownOutputValue("apache")}},
			ConfigStateChecks: holds("ip_hash; server 10.66.", ":8080 weight=2; # os1 keepalive 100;"),
		},
		resource.TestStep{Config: config("os1", "sg1"), ConfigStateChecks: holds("server 10.66.", ":8080 weight=2; # os1 server 10.66.", ":8080; # sg1 keepalive")},
		resource.TestStep{Config: config("os1", "sg1"), ConfigPlanChecks: emptyPlan()},
	)
}
