package provider_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	emulated "github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
)

// TestPortsFunction writes the table of ports of a cluster with a database and load balancers, and refuses what does not fit.
func TestPortsFunction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := func(arguments, expression string) string {
		return fmt.Sprintf(`
locals {
  web = {
    name = "web", mesh = { driver = "tinc", port = 655, tinc = { ping_interval = 2 } }, ports = { api = 7443, health = 7480, gossip = 7946, map = null }
    signed_object = sensitive("x")
  }
  nodes = {
    a  = { name = "hk1", cluster = { name = "web" }, public_ports = { tcp = [25, 22], udp = null }, linode = { user_data = sensitive("x") } }
    b  = { name = "hk2", cluster = { name = "web" }, public_ports = null }
    sg = { name = "sg1", cluster = { name = "web" }, public_ports = null }
  }
  app     = { name = "app", engine = "mysql", port = 3306, router = { driver = "haproxy", write_port = 6446, read_port = 6447 }, votes = 3 }
  members = {
    one = { database = { name = "app" }, node = { name = "hk1" }, role = "voter" }
    two = { database = { name = "app" }, node = { name = "sg1" }, role = "client" }
  }
  www = {
    hostname      = "www.example.com", port = 8080, node_settings = { b = { port = 8081 } }
    nodes         = { a = local.nodes.a, b = local.nodes.b, c = { name = "us1", cluster = { name = "other" } } }
    application_check = { type = "http", port = null, path = "/up" }
    quick_removal = { api_token = sensitive("x"), api_token_version = 1 }
    local_proxy   = { driver = "haproxy", port = 80, tls = { port = 443, validity_days = 90 } }
  }
  bare  = { hostname = "bare.example.com", port = null, nodes = { sg = local.nodes.sg }, node_settings = null, application_check = null, quick_removal = null, local_proxy = null }
  ports = provider::atoll::ports(%s)
}
output "text" {
  value = %s
}
`, arguments, expression)
	}
	const everything = `local.web, local.nodes, { app = local.app }, local.members, { w = local.www, b = local.bare }`
	lines := func(node string) string {
		return fmt.Sprintf(`join("\n", [for p in local.ports[%q] : "${p.port}/${p.protocol} ${p.service} ${p.open_to} ${join(",", p.nodes)} ${p.operator} ${p.anybody} ${join(",", p.objects)}"])`, node)
	}
	good := []struct{ arguments, expression, want string }{
		{everything, lines("hk1"), `22/tcp application public  false true node/hk1
25/tcp application public  false true node/hk1
80/tcp proxy public  false true loadbalancer/www.example.com
443/tcp proxy public  false true loadbalancer/www.example.com
655/tcp mesh public hk2,sg1 false false ` + `
655/udp mesh public hk2,sg1 false false ` + `
7443/tcp api public hk2,sg1 true false ` + `
7480/tcp health public hk2 false true ` + `
22/tcp ssh operator  true false ` + `
655/udp probe mesh hk2,sg1 false false ` + `
3306/tcp database mesh sg1 false false database/app
7481/tcp role-check mesh sg1 false false database/app
7946/tcp gossip mesh hk2,sg1 false false ` + `
7946/udp gossip mesh hk2,sg1 false false ` + `
8080/tcp application mesh hk2 false false loadbalancer/www.example.com
6446/tcp router node  false false database/app
6447/tcp router node  false false database/app`},
		{everything, `join(" ", [for p in local.ports["hk2"] : p.port if p.service == "application"])`, "8081"},
		{everything, `join(" ", [for p in local.ports["sg1"] : p.port if p.open_to == "public"])`, "655 655 7443 7480"},
		{`local.web, { a = local.nodes.a }, {}, {}, {}`, `join(" ", [for p in local.ports["hk1"] : p.port if p.service != "application"])`, "655 655 7443 7480 22 655 7946 7946"},
		{`local.web, { a = local.nodes.a }, {}, {}, {}`, `local.ports["hk1"][0].purpose`, "application, by public_ports of the node"},
		{`local.web, {}, {}, {}, {}`, `length(local.ports)`, "0"},
	}
	bad := map[string][]string{
		`local.web, local.nodes, {}, local.members, {}`:                                        {`"members"`, `database "app"`, "none of databases"},
		`local.web, { b = local.nodes.b }, { app = local.app }, local.members, {}`:             {`"members"`, `node "hk1"`, "none of nodes"},
		`local.web, { b = local.nodes.b }, {}, {}, { w = local.www }`:                          {`"load_balancers"`, `node "hk1"`, "none of nodes"},
		`local.web, { a = local.nodes.a, b = local.nodes.a }, {}, {}, {}`:                      {`"nodes"`, `two nodes are named "hk1"`},
		`merge(local.web, { name = "lab" }), local.nodes, {}, {}, {}`:                          {`"nodes"`, `of cluster "web", not of "lab"`},
		`local.web, { a = { name = "hk1" } }, {}, {}, {}`:                                      {`"nodes"`, "are required"},
		`{ name = "web" }, local.nodes, {}, {}, {}`:                                            {`"cluster"`, "are required"},
		`local.web, local.nodes, {}, null, {}`:                                                 {`"members"`, "not be null"},
		`local.web, local.nodes, local.app, {}, {}`:                                            {`"databases"`},
		`local.web, local.nodes, {}, {}, { w = merge(local.www, { local_proxy = "haproxy" })}`: {`"load_balancers"`},
	}
	var steps []resource.TestStep
	for _, g := range good {
		steps = append(steps, resource.TestStep{
			Config:            call(g.arguments, fmt.Sprintf("tostring(%s)", g.expression)),
			ConfigStateChecks: []statecheck.StateCheck{statecheck.ExpectKnownOutputValue("text", knownvalue.StringExact(g.want))},
		})
	}
	for arguments, want := range bad {
		steps = append(steps, resource.TestStep{Config: call(arguments, "length(local.ports)"), ExpectError: says(want...)})
	}
	w.test(t, steps...)
}

// TestPortsFunctionFollowsResources makes the table of resources that do not exist yet. What it follows from is written in the
// configuration, so that the table is there at plan time, for firewalls that are made beside the nodes; and it is not sensitive,
// although some attributes of the resources are.
func TestPortsFunctionFollowsResources(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := func(ports string) string {
		return linodeNode("sg1", fmt.Sprintf("public_ports = { tcp = [%s] }", ports)) + `
output "open" {
  value = join(" ", [for p in provider::atoll::ports(atoll_cluster.web, { sg1 = atoll_node.sg1 }, {}, {}, {})["sg1"] : p.port if p.open_to == "public" && p.protocol == "tcp"])
}
`
	}
	opens := func(want string) resource.TestStep {
		value := knownvalue.StringExact(want)
		return resource.TestStep{
			ConfigPlanChecks:  resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectKnownOutputValue("open", value)}},
			ConfigStateChecks: []statecheck.StateCheck{statecheck.ExpectKnownOutputValue("open", value)},
		}
	}
	first, second := opens("80 655 7443 7480"), opens("80 443 655 7443 7480")
	first.Config, second.Config = config("80"), config("443, 80")
	w.test(t, first, second, resource.TestStep{Config: config("443, 80"), ConfigPlanChecks: emptyPlan()})
}

// TestPortsFunctionTakesLoadBalancers gives a load balancer's resource to the function, with everything that has ports, and compares
// with what the nodes open.
func TestPortsFunctionTakesLoadBalancers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.edge.Tokens = map[string]emulated.Token{removalToken: {Permissions: []string{emulated.MonitorsAndPoolsWrite, emulated.LoadBalancersWrite}}}
	config := crew(`
  port              = 8080
  node_settings     = { b1 = { port = 8081 } }
  application_check = { type = "tcp", port = 8090 }
  local_proxy       = { port = 80 }
`+removal(removalToken, 1)) + `
locals {
  nodes = { a1 = atoll_node.a1, b1 = atoll_node.b1, c1 = atoll_node.c1 }
  ports = provider::atoll::ports(atoll_cluster.web, local.nodes, {}, {}, { www = atoll_load_balancer.www })
}
output "inside" {
  value = join(" ", [for p in local.ports["b1"] : "${p.port}-${p.service}-${p.open_to}-${join("+", p.nodes)}" if contains(["proxy", "application", "health"], p.service)])
}
output "tcp" {
  value = join(" ", [for p in local.ports["b1"] : p.port if p.open_to == "public" && p.protocol == "tcp"])
}
`
	inside := knownvalue.StringExact("80-proxy-public- 7480-health-public-a1+c1 8081-application-mesh-a1+c1 8090-application-mesh-a1+c1")
	const tcp = "80 655 7443 7480"
	var address string
	w.test(t, resource.TestStep{
		Config: config, ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectKnownOutputValue("inside", inside)}},
		ConfigStateChecks: []statecheck.StateCheck{
			statecheck.ExpectKnownOutputValue("tcp", knownvalue.StringExact(tcp)),
			readString("atoll_node.b1", tfjsonpath.New("addresses").AtSliceIndex(0), &address),
			checkState(func() error {
				open, _, err := w.machines.OpenPorts(netip.MustParseAddr(address))
				if err != nil {
					return err
				}
				if got := strings.Trim(fmt.Sprint(open), "[]"); got != tcp {
					return fmt.Errorf("the node opens %s, the function says %s", got, tcp)
				}
				return nil
			}),
		},
	}, resource.TestStep{Config: config, ConfigPlanChecks: emptyPlan()})
}
