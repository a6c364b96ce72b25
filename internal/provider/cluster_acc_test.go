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

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// TestBadInput plans configurations with mistakes. Each is found at plan time, before anything is made, on the attribute.
func TestBadInput(t *testing.T) {
	t.Parallel()
	cluster := func(arguments string) string {
		return "resource \"atoll_cluster\" \"web\" {\n" + arguments + "\n}\n"
	}
	node := func(label, name, more string) string {
		return fmt.Sprintf(`
resource "atoll_node" %q {
  cluster = atoll_cluster.web
  name    = %q
  linode  = { region = "ap-south", type = "g6-nanode-1", image = "private/1" }
  %s
}
`, label, name, more)
	}
	const small = "name = \"web\"\nmesh_cidr = \"10.66.0.0/29\""
	full := cluster(small)
	for i := range 7 {
		full += node(fmt.Sprintf("n%d", i), fmt.Sprintf("n%d", i), "")
	}
	link := func(arguments string) string {
		return clusterConfig + node("a", "a", "") + node("b", "b", "") + "resource \"atoll_mesh_link\" \"l\" {\n" + arguments + "\n}\n"
	}
	tests := []struct {
		name, config string
		want         []string
	}{
		{"cluster name", cluster("name = \"Web\"\nmesh_cidr = \"10.66.0.0/16\""), []string{"name", `"Web" is not a name`}},
		{"public mesh_cidr", cluster("name = \"web\"\nmesh_cidr = \"8.8.0.0/16\""), []string{"mesh_cidr", "overlaps public addresses"}},
		{"mesh_cidr with host bits", cluster("name = \"web\"\nmesh_cidr = \"10.66.0.1/16\""), []string{"mesh_cidr", "Write 10.66.0.0/16"}},
		{"ping_timeout", cluster("name = \"web\"\nmesh_cidr = \"10.66.0.0/16\"\nmesh = { tinc = { ping_interval = 1, ping_timeout = 2 } }"), []string{"mesh.tinc.ping_timeout", "at most ping_interval"}},
		{"same port twice", cluster("name = \"web\"\nmesh_cidr = \"10.66.0.0/16\"\nports = { api = 655 }"), []string{"ports.api", "655 is also mesh.port"}},
		{"unknown driver", cluster("name = \"web\"\nmesh_cidr = \"10.66.0.0/16\"\nmesh = { driver = \"pigeon\" }"), []string{"mesh.driver", "tinc"}},
		{"timers of another driver", cluster("name = \"web\"\nmesh_cidr = \"10.66.0.0/16\"\nmesh = { driver = \"wireguard\", tinc = { ping_interval = 9 } }"), []string{"mesh.tinc", "those of driver"}},
		{
			"TCP over WireGuard",
			strings.Replace(link("from = atoll_node.a\nto = atoll_node.b\ntcp_only = true"), "mesh_cidr", "mesh = { driver = \"wireguard\" }\nmesh_cidr", 1),
			[]string{"tcp_only", "has no TCP"},
		},
		{"seed", cluster("name = \"web\"\nmesh_cidr = \"10.66.0.0/16\"\nseeds = [\"hk1\"]"), []string{"seeds", "host:port"}},
		{"node name", clusterConfig + node("a", "A", ""), []string{"name", `"A" is not a name`}},
		{"mesh address outside", clusterConfig + node("a", "a", `mesh_address = "10.67.0.1"`), []string{"mesh_address", "outside the cluster's mesh_cidr"}},
		{"mesh address is no address", clusterConfig + node("a", "a", `mesh_address = "here"`), []string{"mesh_address"}},
		{
			"mesh address twice",
			clusterConfig + node("a", "a", `mesh_address = "10.66.0.1"`) + node("b", "b", `mesh_address = "10.66.0.1"`),
			[]string{"mesh_address", "10.66.0.1 is also the mesh address of node"},
		},
		{"public address twice", clusterConfig + node("a", "a", `addresses = ["192.0.2.1"]`) + node("b", "b", `addresses = ["192.0.2.1"]`), []string{"192.0.2.1 is also a public address of node"}},
		{"mesh overlaps a public address", clusterConfig + node("a", "a", `addresses = ["10.66.1.1"]`), []string{"mesh_cidr", "10.66.0.0/16 contains 10.66.1.1"}},
		{"name twice", clusterConfig + node("a", "a", "") + node("b", "a", `addresses = ["192.0.2.1"]`), []string{"has the name a too"}},
		{"network is full", full, []string{"10.66.0.0/29 has room for 6 nodes"}},
		{"no machine", clusterConfig + "resource \"atoll_node\" \"a\" {\ncluster = atoll_cluster.web\nname = \"a\"\n}", []string{"linode", "ssh"}},
		{"machine without failure domain", clusterConfig + "resource \"atoll_node\" \"a\" {\ncluster = atoll_cluster.web\nname = \"a\"\nssh = { host = \"192.0.2.1\" }\n}", []string{"failure_domain", "hong-kong"}},
		{"link to itself", link("from = atoll_node.a\nto = atoll_node.a"), []string{"is the same node as from"}},
		{"mtu", link("from = atoll_node.a\nto = atoll_node.b\nmtu = 10"), []string{"mtu", "not between 576 and 9000"}},
		{"signing key", "provider \"atoll\" {\nsigning_key = \"nonsense\"\n}\n" + clusterConfig, []string{"signing_key", "atoll key new"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.test(t, resource.TestStep{Config: tt.config, PlanOnly: true, ExpectError: says(tt.want...)})
		})
	}
}

// TestPlanWithoutCredentials plans everything with no credential at all: only an apply needs them.
func TestPlanWithoutCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env = map[string]string{}
	w.test(t, resource.TestStep{Config: linodes("sg1", "os1"), PlanOnly: true, ExpectNonEmptyPlan: true})
}

// TestAnotherSigningKey goes on with another signing key than the cluster was made with.
func TestAnotherSigningKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	right := w.env["ATOLL_SIGNING_KEY"]
	w.test(t,
		resource.TestStep{Config: clusterConfig},
		resource.TestStep{
			PreConfig: func() { w.env["ATOLL_SIGNING_KEY"] = newKey(t) },
			Config:    clusterConfig, ExpectError: says("Another signing key", "the key that the cluster was made with"),
		},
		resource.TestStep{PreConfig: func() { w.env["ATOLL_SIGNING_KEY"] = right }, Config: clusterConfig},
	)
}

func newKey(t *testing.T) string {
	t.Helper()
	key, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	pem, err := key.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	return string(pem)
}

// TestTwoRuns lets another run change a node after this one's plan was made, which the apply must notice.
func TestTwoRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const address = `addresses = ["%s"]`
	var endpoint string
	w.runSteps(t,
		resource.TestStep{Config: linodeNode("sg1", ""), ConfigStateChecks: []statecheck.StateCheck{
			readString("atoll_node.sg1", tfjsonpath.New("endpoints").AtSliceIndex(0), &endpoint),
		}},
		resource.TestStep{
			// The plan check runs between plan and apply, as another run would.
			Config: linodeNode("sg1", fmt.Sprintf(address, "sg1.example.net")),
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
				do(func() error { return w.renew(t, endpoint, "sg1") }),
			}},
			ExpectError: says("Changed by another run", "apply again"),
		},
	)
}

// TestSecondState makes a node that exists in the cluster, but in another state. It is neither taken nor harmed.
func TestSecondState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := linodeNode("sg1", "")
	w.test(t,
		resource.TestStep{Config: config},
		resource.TestStep{
			PreConfig: func() {
				w.runSteps(t, resource.TestStep{Config: config, ExpectError: says("Node exists already", "terraform import ADDRESS 'web/sg1@")})
			},
			Config: config, ConfigPlanChecks: emptyPlan(),
		},
	)
}

// renew signs a node's object again, as another run does that changes the node.
func (w *world) renew(t *testing.T, endpoint, node string) error {
	t.Helper()
	client := api.NewOperatorClient(w.key, api.Target{Cluster: "web", Node: node, Endpoints: []string{endpoint}})
	defer client.Close()
	records, err := client.Records(t.Context())
	if err != nil {
		return err
	}
	root := trust.Root{Cluster: "web", Key: w.key.Public()}
	for _, r := range records {
		if r.Object == nil {
			continue
		}
		o, err := root.VerifyObject(*r.Object)
		if err != nil {
			return err
		}
		if o.Ref() != (spec.Ref{Kind: spec.KindNode, Name: node}) {
			continue
		}
		o.Generation++
		e, err := trust.SignObject(w.key, o)
		if err != nil {
			return err
		}
		out, err := client.Push(t.Context(), []store.Record{store.ObjectRecord(e)})
		if err != nil || out[0].Result != store.Accepted {
			return fmt.Errorf("push: %v: %w", out, err)
		}
		return nil
	}
	return fmt.Errorf("node %q is not there", node)
}

// TestMeshAddresses lets the provider choose addresses in a network that has just room enough.
func TestMeshAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := "resource \"atoll_cluster\" \"web\" {\n  name = \"web\"\n  mesh_cidr = \"10.66.0.0/29\"\n}\n"
	var addresses []string
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		config += strings.TrimPrefix(linodeNode(name, ""), clusterConfig)
		addresses = append(addresses, "atoll_node."+name+".mesh_address")
	}
	config += "output \"addresses\" {\n  value = [" + strings.Join(addresses, ", ") + "]\n}\n"
	w.test(t, resource.TestStep{Config: config, ConfigStateChecks: []statecheck.StateCheck{
		statecheck.ExpectKnownOutputValue("addresses", sixAddresses{meshOfSix()}),
	}})
}

// meshOfSix is the network that six nodes fill.
func meshOfSix() netip.Prefix { return netip.MustParsePrefix("10.66.0.0/29") }

// sixAddresses wants six different hosts of a network.
type sixAddresses struct{ network netip.Prefix }

// CheckValue implements knownvalue.Check.
func (c sixAddresses) CheckValue(v any) error {
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("got %T, want a list", v)
	}
	seen := map[netip.Addr]bool{}
	for _, e := range list {
		a, err := netip.ParseAddr(fmt.Sprint(e))
		if err != nil {
			return err
		}
		if !c.network.Contains(a) {
			return fmt.Errorf("%s is not in %s", a, c.network)
		}
		seen[a] = true
	}
	if len(seen) != 6 {
		return fmt.Errorf("got %v, want six different ones", list)
	}
	return nil
}

// String implements knownvalue.Check.
func (c sixAddresses) String() string { return "six different hosts of " + c.network.String() }

// TestDataSources reads a cluster's status, with all nodes up and with all down.
func TestDataSources(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := linodes("sg1", "os1") + `
data "atoll_cluster_status" "web" {
  cluster    = atoll_cluster.web
  nodes      = { sg1 = atoll_node.sg1, os1 = atoll_node.os1 }
  depends_on = [atoll_mesh_link.sg1-os1]
}
data "atoll_node" "os1" {
  cluster = atoll_cluster.web
  name    = "os1"
  from    = atoll_node.sg1.endpoints
  depends_on = [atoll_mesh_link.sg1-os1]
}
`
	status := "data.atoll_cluster_status.web"
	w.test(t,
		resource.TestStep{Config: config, ConfigStateChecks: []statecheck.StateCheck{
			statecheck.ExpectKnownValue(status, tfjsonpath.New("seen_by"), knownvalue.StringExact("os1")),
			statecheck.ExpectKnownValue(status, tfjsonpath.New("links").AtMapKey("os1.sg1").AtMapKey("there").AtMapKey("state"), knownvalue.StringExact("up-direct")),
			statecheck.CompareValuePairs("data.atoll_node.os1", tfjsonpath.New("mesh_address"), "atoll_node.os1", tfjsonpath.New("mesh_address"), same{}),
			statecheck.CompareValuePairs("data.atoll_node.os1", tfjsonpath.New("identity"), "atoll_node.os1", tfjsonpath.New("identity"), same{}),
		}},
		resource.TestStep{
			PreConfig: func() {
				if err := w.machines.Close(); err != nil {
					t.Error(err)
				}
			},
			Config: linodes("sg1", "os1") + `
data "atoll_cluster_status" "web" {
  cluster = atoll_cluster.web
  nodes   = { sg1 = atoll_node.sg1, os1 = atoll_node.os1 }
}`,
			ConfigStateChecks: []statecheck.StateCheck{
				statecheck.ExpectKnownValue(status, tfjsonpath.New("healthy"), knownvalue.Bool(false)),
				statecheck.ExpectKnownValue(status, tfjsonpath.New("seen_by"), knownvalue.Null()),
			},
		},
	)
}

// TestMeshDriver makes a cluster with a mesh of WireGuard, which it keeps.
func TestMeshDriver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wireguard := strings.Replace(clusterConfig, "mesh_cidr", "mesh = { driver = \"wireguard\", port = 51820 }\n  mesh_cidr", 1)
	driver := statecheck.ExpectKnownValue("atoll_cluster.web", tfjsonpath.New("mesh").AtMapKey("driver"), knownvalue.StringExact("wireguard"))
	w.test(t,
		resource.TestStep{Config: wireguard, ConfigStateChecks: []statecheck.StateCheck{driver}},
		resource.TestStep{Config: wireguard, PlanOnly: true},
		resource.TestStep{Config: clusterConfig, ExpectError: says("has a mesh of driver", "mesh.driver", "node by node")},
		resource.TestStep{Config: strings.Replace(clusterConfig, "= \"web\"", "= \"other\"", 1), PlanOnly: true, ExpectNonEmptyPlan: true},
	)
}
