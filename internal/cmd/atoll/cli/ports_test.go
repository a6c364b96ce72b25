package cli_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// openCluster is a real store with a cluster of five nodes, asked by hk1.
type openCluster struct {
	*operator
	store              *store.Store
	endpoint, identity string
}

// keep signs an object and puts it into a store.
func keep(t *testing.T, key *trust.SigningKey, held *store.Store, name string, body spec.Body) {
	t.Helper()
	object, err := spec.NewObject("web", name, 1, 1, body)
	if err != nil {
		t.Fatal(err)
	}
	e, err := trust.SignObject(key, object)
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range held.Merge([]store.Record{store.ObjectRecord(e)}) {
		if !out.Settled() {
			t.Fatalf("%s: %+v", name, out)
		}
	}
}

func newOpenCluster(t *testing.T) openCluster {
	t.Helper()
	o := newOperator(t)
	key := o.withKey(t)
	held := store.New(trust.Root{Cluster: "web", Key: key.Public()}, store.Options{})
	keep(t, key, held, "web", spec.Cluster{MeshCIDR: netip.MustParsePrefix("10.66.0.0/16"), Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()})
	for i, name := range []string{"hk1", "hk2", "sg1", "fr1", "us1"} {
		keep(t, key, held, name, spec.Node{
			Provider: "lab", Site: name[:2], MeshAddress: netip.AddrFrom4([4]byte{10, 66, 0, byte(i + 1)}), Machine: spec.Machine{Variant: spec.MachineManual},
			PublicPorts: map[string]spec.PublicPorts{"us1": {TCP: []int{25}}}[name],
		})
	}
	serving := map[string]spec.ServingNode{"hk1": {Enabled: true, Port: 8080}, "sg1": {Enabled: true, Port: 8080}}
	keep(t, key, held, "www.example.com", spec.LoadBalancer{Nodes: serving, Proxy: &spec.Proxy{Driver: spec.ProxyHAProxy, Port: 80}})
	keep(t, key, held, "app", spec.Database{
		Engine: spec.DatabaseMySQL, Group: "4f6f8c1e-1111-4222-8333-444455556666", Votes: 3, Bootstrap: spec.Bootstrap{Node: "hk1", Epoch: 1}, Port: 3306,
		Router: spec.DatabaseRouter{Driver: spec.RouterHAProxy, WritePort: 6446, ReadPort: 6447}, Key: "key",
	})
	for _, name := range []string{"hk1", "hk2", "sg1"} {
		keep(t, key, held, spec.MemberName("app", name), spec.Member{Database: "app", Node: name, Role: spec.MemberVoter, Weight: 50, Key: "key"})
	}
	c := openCluster{operator: o, store: held}
	c.endpoint, c.identity = serveBackend(t, admitting{heeder{keeper: keeper{api.StoreBackend{Store: held, Node: "hk1"}}}}, key, "hk1")
	return c
}

func TestPorts(t *testing.T) {
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	c := newOpenCluster(t)
	write(t, "terraform.tfstate", stateWith(t, resource("atoll_node", node("hk1", c.endpoint, c.identity))))
	all, one := c.must(t, "ports"), c.must(t, "ports", "sg1")
	t.Chdir(home)
	golden(t, "ports.golden", all.stdout)
	golden(t, "ports-sg1.golden", one.stdout)
}

func TestPortsJSON(t *testing.T) {
	c := newOpenCluster(t)
	r := c.must(t, "ports", "sg1", "--json", "--endpoint", c.endpoint, "--endpoint", closedEndpoint(t), "--cluster", "web")
	var got struct {
		Cluster string
		Nodes   map[string]struct{ Opens, Uses []topology.Port }
		// Unanswered has the endpoint at which nothing listens.
		Unanswered map[string]string
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatalf("no JSON: %v\n%s", err, r.stdout)
	}
	has := func(ports []topology.Port, node string, number int, service topology.Service) bool {
		return slices.ContainsFunc(ports, func(p topology.Port) bool { return p.Node == node && p.Number == number && p.Service == service })
	}
	sg1 := got.Nodes["sg1"]
	if got.Cluster != "web" || len(got.Nodes) != 1 || len(got.Unanswered) != 1 ||
		!has(sg1.Opens, "sg1", 80, topology.ServiceProxy) || !has(sg1.Uses, "hk2", 3306, topology.ServiceDatabase) || has(sg1.Uses, "sg1", 3306, topology.ServiceDatabase) {
		t.Errorf("got %+v", got)
	}
}

// TestPortsTakesSignedObjectsOnly asks a node that adds a node of its own making.
func TestPortsTakesSignedObjectsOnly(t *testing.T) {
	c := newOpenCluster(t)
	foreign, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	object, err := spec.NewObject("web", "evil", 1, 1, spec.Node{
		Provider: "x", Site: "x", MeshAddress: netip.MustParseAddr("10.66.0.99"), Machine: spec.Machine{Variant: spec.MachineManual},
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := trust.SignObject(foreign, object)
	if err != nil {
		t.Fatal(err)
	}
	key, err := trust.SigningKeyFromEnvironment(func(name string) string { return c.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	liar := lying{admitting{heeder{keeper: keeper{api.StoreBackend{Store: c.store, Node: "hk1"}}}}, []store.Record{store.ObjectRecord(e)}}
	endpoint, _ := serveBackend(t, liar, key, "hk1")
	r := c.must(t, "ports", "--endpoint", endpoint, "--cluster", "web")
	if strings.Contains(r.stdout, "evil") || !strings.Contains(r.stdout, "us1") {
		t.Errorf("got\n%s", r.stdout)
	}
}

// lying is an agent that sends more than it has.
type lying struct {
	admitting
	more []store.Record
}

func (l lying) Records() []store.Record { return append(l.admitting.Records(), l.more...) }

func TestPortsCannotTell(t *testing.T) {
	c := newOpenCluster(t)
	key, err := trust.SigningKeyFromEnvironment(func(name string) string { return c.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	empty := store.New(trust.Root{Cluster: "web", Key: key.Public()}, store.Options{})
	bare, _ := serveBackend(t, admitting{heeder{keeper: keeper{api.StoreBackend{Store: empty, Node: "hk1"}}}}, key, "hk1")
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no such node", []string{"--endpoint", c.endpoint, "sg9"}, `no node "sg9"; it has fr1, hk1, hk2, sg1, us1`},
		{"nobody answers", []string{"--endpoint", closedEndpoint(t)}, "no node of the cluster could be asked"},
		{"nothing described yet", []string{"--endpoint", bare}, "terraform apply"},
		{"two nodes", []string{"--endpoint", c.endpoint, "sg1", "hk1"}, "at most 1 arg"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if r := c.run(t, append([]string{"ports", "--cluster", "web"}, tt.args...)...); r.code != cli.Failed || !strings.Contains(r.stderr, tt.want) || r.stdout != "" {
				t.Errorf("exit code %d, %q, want an error with %q", r.code, fmt.Sprint(r.stdout, r.stderr), tt.want)
			}
		})
	}
	c.env = map[string]string{}
	if r := c.run(t, "ports", "--endpoint", c.endpoint, "--cluster", "web"); r.code != cli.Failed || !strings.Contains(r.stderr, "no signing key") {
		t.Errorf("without a key: exit code %d, %q", r.code, r.stderr)
	}
}
