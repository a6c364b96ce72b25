package cli_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// heeder is what an agent answers out of a real store, of a cluster that is well.
type heeder struct {
	keeper
	// deaf is a node that puts nothing into effect, off one that is down; unfit are those that do not serve.
	deaf, off string
	unfit     []string
}

func (h heeder) Status() api.ClusterStatus {
	s := h.keeper.Status()
	s.LoadBalancers = map[string]api.LoadBalancerView{"www.example.com": {MinimumNodes: 1, Nodes: map[string]api.ServingView{}}}
	for name, v := range s.Nodes {
		v.State, v.Since = api.NodeReady, now.Add(-time.Hour)
		serving := api.ServingView{State: api.ServingIn, Since: now.Add(-time.Hour)}
		if name != h.deaf {
			v.Applied = s.Generations
		}
		if v.Maintenance != nil {
			serving = api.ServingView{State: api.ServingMaintenance, Since: v.Maintenance.Since, Reason: v.Maintenance.Reason}
		}
		for _, unfit := range h.unfit {
			if name == unfit {
				serving = api.ServingView{State: api.ServingOut, Reason: "application: answers 500"}
			}
		}
		if name == h.off {
			v.State, v.Applied = api.NodeDown, nil
		}
		s.Nodes[name], s.LoadBalancers["www.example.com"].Nodes[name] = v, serving
	}
	return s
}

// admitting lets everybody call.
type admitting struct{ heeder }

func (admitting) Admit(trust.Member) ([]store.Record, error) { return nil, nil }

// maintainedCluster is a cluster of nodes hk1 and sg1, asked by one of them.
type maintainedCluster struct {
	*operator
	key      *trust.SigningKey
	store    *store.Store
	endpoint string
}

func newMaintained(t *testing.T, change func(*heeder)) maintainedCluster {
	t.Helper()
	o := newOperator(t)
	key := o.withKey(t)
	held := store.New(trust.Root{Cluster: "web", Key: key.Public()}, store.Options{Now: func() time.Time { return now }})
	c := maintainedCluster{operator: o, key: key, store: held}
	for i, name := range []string{"hk1", "sg1"} {
		c.merge(t, name, 1, spec.Node{
			Provider: "lab", Site: "a", MeshAddress: netip.AddrFrom4([4]byte{10, 66, 0, byte(i + 1)}), Machine: spec.Machine{Variant: spec.MachineManual},
		})
	}
	h := heeder{keeper: keeper{api.StoreBackend{Store: held, Node: "hk1", Now: func() time.Time { return now }}}}
	if change != nil {
		change(&h)
	}
	c.endpoint, _ = serveBackend(t, admitting{h}, key, "hk1")
	return c
}

func (c maintainedCluster) merge(t *testing.T, name string, generation uint64, body spec.Body) {
	t.Helper()
	o, err := spec.NewObject("web", name, generation, generation, body)
	if err != nil {
		t.Fatal(err)
	}
	e, err := trust.SignObject(c.key, o)
	if err != nil {
		t.Fatal(err)
	}
	if out := c.store.Merge([]store.Record{store.ObjectRecord(e)}); out[0].Result != store.Accepted {
		t.Fatalf("%+v", out)
	}
}

func (c maintainedCluster) maintenance(t *testing.T, args ...string) result {
	t.Helper()
	return c.run(t, append([]string{"maintenance", args[0], "--cluster", "web", "--endpoint", c.endpoint}, args[1:]...)...)
}

func TestMaintenance(t *testing.T) {
	c := newMaintained(t, nil)
	r := c.maintenance(t, "enter", "sg1", "--reason", "new disk")
	if r.code != cli.Healthy || r.stdout != "node sg1 of cluster web is in maintenance since 2026-03-14T15:09:26Z\n" || r.stderr != "" {
		t.Fatalf("enter: exit code %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	want := spec.Maintenance{Reason: "new disk", Since: now}
	if got := c.store.Snapshot().Maintenance["sg1"]; got != want {
		t.Errorf("the store has %+v, want %+v", got, want)
	}
	generation := c.store.Snapshot().Generations[spec.Ref{Kind: spec.KindMaintenance, Name: "sg1"}]
	if r := c.maintenance(t, "enter", "sg1", "--reason", "new disk"); r.code != cli.Healthy || !strings.HasSuffix(r.stdout, ", as it was before\n") {
		t.Errorf("once more: exit code %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	if got := c.store.Snapshot().Generations[spec.Ref{Kind: spec.KindMaintenance, Name: "sg1"}]; got != generation {
		t.Errorf("generation %d, want %d: nothing has changed", got, generation)
	}
	if r := c.maintenance(t, "enter", "sg1", "--reason", "and a new fan"); r.code != cli.Healthy {
		t.Errorf("another reason: exit code %d, %q", r.code, r.stderr)
	}
	if got := c.store.Snapshot().Maintenance["sg1"].Reason; got != "and a new fan" {
		t.Errorf("reason %q", got)
	}
	r = c.run(t, "status", "--cluster", "web", "--endpoint", c.endpoint)
	for _, want := range []string{"sg1   lab a  10.66.0.2     ready, in maintenance", "www.example.com  sg1   maintenance  0s", "and a new fan"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("the screen lacks %q:\n%s", want, r.stdout)
		}
	}
	if r := c.maintenance(t, "leave", "sg1"); r.code != cli.Healthy || r.stdout != "node sg1 of cluster web is in service\n" {
		t.Errorf("leave: exit code %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	if len(c.store.Snapshot().Maintenance) != 0 {
		t.Error("the node is still in maintenance")
	}
	if r := c.maintenance(t, "leave", "sg1"); r.code != cli.Healthy || !strings.Contains(r.stdout, "as it was before") {
		t.Errorf("leave once more: exit code %d, %q", r.code, r.stdout)
	}
}

func TestMaintenanceJSON(t *testing.T) {
	c := newMaintained(t, nil)
	for _, step := range []struct {
		verb string
		away bool
	}{{"enter", true}, {"leave", false}} {
		r := c.maintenance(t, step.verb, "sg1", "--json")
		var got struct {
			Cluster, Node string
			Maintenance   *spec.Maintenance
			Changed       bool
			InEffect      bool `json:"in_effect"`
			Told          int
		}
		if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
			t.Fatalf("%s: %v\n%s%s", step.verb, err, r.stdout, r.stderr)
		}
		if got.Node != "sg1" || (got.Maintenance != nil) != step.away || !got.Changed || !got.InEffect || got.Told != 1 {
			t.Errorf("%s: %s", step.verb, r.stdout)
		}
	}
}

func TestMaintenanceOfAll(t *testing.T) {
	c := newMaintained(t, nil)
	if r := c.maintenance(t, "enter", "sg1", "--reason", "new disk"); r.code != cli.Healthy {
		t.Fatal(r.stderr)
	}
	r := c.maintenance(t, "enter", "--all", "--reason", "upgrade")
	want := "node hk1 of cluster web is in maintenance since 2026-03-14T15:09:26Z\nnode sg1 of cluster web is in maintenance since 2026-03-14T15:09:26Z\n"
	if r.code != cli.Healthy || r.stdout != want || r.stderr != "Warning: load balancer www.example.com has no node in service until some leave maintenance\n" {
		t.Errorf("enter: exit code %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	for node, m := range c.store.Snapshot().Maintenance {
		if m.Reason != "upgrade" {
			t.Errorf("node %s: %+v", node, m)
		}
	}
	if n := len(c.store.Snapshot().Maintenance); n != 2 {
		t.Errorf("%d nodes are in maintenance, want both", n)
	}
	r = c.maintenance(t, "leave", "--all", "--json")
	var got []struct {
		Node        string
		Maintenance *spec.Maintenance
		Changed     bool
		InEffect    bool `json:"in_effect"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatalf("%v\n%s%s", err, r.stdout, r.stderr)
	}
	if r.code != cli.Healthy || len(got) != 2 || got[0].Node != "hk1" || got[1].Maintenance != nil || !got[1].Changed || !got[1].InEffect || len(c.store.Snapshot().Maintenance) != 0 {
		t.Errorf("leave: exit code %d, %s", r.code, r.stdout)
	}
	if r := c.maintenance(t, "leave", "--all"); r.code != cli.Healthy || strings.Count(r.stdout, "in service, as it was before") != 2 {
		t.Errorf("leave once more: exit code %d, %q, %q", r.code, r.stdout, r.stderr)
	}
}

// TestMaintenanceOfAllWithTrouble: a node that does not heed keeps no other from being told and shown.
func TestMaintenanceOfAllWithTrouble(t *testing.T) {
	c := newMaintained(t, func(h *heeder) { h.deaf = "hk1" })
	r := c.maintenance(t, "enter", "--all", "--wait", "500ms")
	if r.code != cli.Failed || !strings.Contains(r.stderr, "node hk1 has not said within 500ms") || !strings.HasPrefix(r.stdout, "node sg1 of cluster web is in maintenance") {
		t.Errorf("exit code %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	if n := len(c.store.Snapshot().Maintenance); n != 2 {
		t.Errorf("%d nodes were told, want both", n)
	}
}

// TestMaintenanceOutlivesClocks: an operator whose clock is behind must not sign what counts as older than the node.
func TestMaintenanceOutlivesClocks(t *testing.T) {
	c := newMaintained(t, nil)
	ahead := uint64(now.Add(time.Hour).UnixMilli())
	e, err := trust.SignObject(c.key, spec.NewTombstone("web", spec.Ref{Kind: spec.KindNode, Name: "sg1"}, ahead, ahead))
	if err != nil {
		t.Fatal(err)
	}
	c.store.Merge([]store.Record{store.ObjectRecord(e)})
	c.merge(t, "sg1", ahead+1, spec.Node{Provider: "lab", Site: "a", MeshAddress: netip.MustParseAddr("10.66.0.2"), Machine: spec.Machine{Variant: spec.MachineManual}})
	if r := c.maintenance(t, "enter", "sg1"); r.code != cli.Healthy {
		t.Fatalf("exit code %d, %q", r.code, r.stderr)
	}
	if _, away := c.store.Snapshot().Maintenance["sg1"]; !away {
		t.Error("the order is void")
	}
}

func TestMaintenanceThatIsRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(*heeder)
		args   []string
		code   int
		want   string // on standard error
		away   bool   // afterwards
	}{
		{"a node that nobody knows", nil, []string{"enter", "sg9"}, cli.Failed, `cluster "web" has no node "sg9"; it has hk1, sg1`, false},
		{"no node", nil, []string{"enter"}, cli.Failed, "accepts 1 arg(s)", false},
		{"a node and all", nil, []string{"enter", "sg1", "--all"}, cli.Failed, "leave out sg1, or --all", false},
		{"a reason of two lines", nil, []string{"enter", "sg1", "--reason", "a\nb"}, cli.Failed, "reason: ", false},
		{
			"the last one in service", func(h *heeder) { h.unfit = []string{"hk1"} },
			[]string{"enter", "sg1"},
			cli.Failed, "node sg1 is still needed: load balancer www.example.com would have no node in service", false,
		},
		{
			"the last one in service, all the same", func(h *heeder) { h.unfit = []string{"hk1"} },
			[]string{"enter", "sg1", "--force"},
			cli.Healthy, "Warning: load balancer www.example.com would have no node in service", true,
		},
		{"one that does not serve anyway", func(h *heeder) { h.unfit = []string{"sg1"} }, []string{"enter", "sg1"}, cli.Healthy, "", true},
		{
			"a node that does not heed", func(h *heeder) { h.deaf = "sg1" },
			[]string{"enter", "sg1", "--wait", "1s"},
			cli.Failed, "1 of 1 nodes have taken the order, but node sg1 has not said within 1s", true,
		},
		{"without waiting", func(h *heeder) { h.deaf = "sg1" }, []string{"enter", "sg1", "--wait", "0"}, cli.Healthy, "", true},
		{
			"a node that is down", func(h *heeder) { h.off = "sg1" },
			[]string{"enter", "sg1"},
			cli.Healthy, "Warning: node sg1 is down; it hears of this from the others when it comes back", true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newMaintained(t, tt.change)
			r := c.maintenance(t, tt.args...)
			if r.code != tt.code || !strings.Contains(r.stderr, tt.want) || (tt.want == "" && r.stderr != "") {
				t.Errorf("exit code %d, %q; want %d, %q", r.code, r.stderr, tt.code, tt.want)
			}
			if _, away := c.store.Snapshot().Maintenance["sg1"]; away != tt.away {
				t.Errorf("in maintenance: %t, want %t", away, tt.away)
			}
		})
	}
}

func TestMaintenanceOfNobody(t *testing.T) {
	o := newOperator(t)
	if r := o.run(t, "maintenance", "enter", "sg1"); r.code != cli.Failed || !strings.Contains(r.stderr, "no signing key") {
		t.Errorf("without a signing key: exit code %d, %q", r.code, r.stderr)
	}
	o.withKey(t)
	if r := o.run(t, "maintenance", "leave", "sg1", "--cluster", "web", "--endpoint", closedEndpoint(t)); r.code != cli.Failed || !strings.Contains(r.stderr, "no node of the cluster could be asked") {
		t.Errorf("nobody answers: exit code %d, %q", r.code, r.stderr)
	}
	if r := o.run(t, "maintenance"); r.code != cli.Healthy || !strings.Contains(r.stdout, "enter") {
		t.Errorf("alone it explains itself: exit code %d, %q", r.code, r.stdout)
	}
}

func TestStatusOfLoadBalancers(t *testing.T) {
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	s := cluster("hk1")
	s.Healthy = false
	sick := s.Nodes["sg1"]
	sick.Maintenance = &spec.Maintenance{Reason: "new disk", Since: now.Add(-5 * time.Minute)}
	s.Nodes["sg1"] = sick
	s.LoadBalancers = map[string]api.LoadBalancerView{"www.example.com": {MinimumNodes: 1, Nodes: map[string]api.ServingView{
		"hk1": {State: api.ServingIn, Since: now.Add(-3 * time.Hour)},
		"hk2": {State: api.ServingOut, Since: now.Add(-20 * time.Second), Reason: "application: answers 500"},
		"sg1": {State: api.ServingMaintenance, Since: now.Add(-5 * time.Minute), Reason: "new disk"},
	}}}
	s.Reasons = []string{"load balancer www.example.com: node hk2 is out of service since 2026-03-14T15:09:06Z: application: answers 500"}
	s.Warnings = []string{"node sg1 is in maintenance since 2026-03-14T15:04:26Z: new disk"}
	o := newOperator(t)
	key := o.withKey(t)
	endpoint, _ := (&agent{status: s}).serve(t, key, "hk1")
	r := o.run(t, "status", "--cluster", "web", "--endpoint", endpoint)
	if r.code != cli.Degraded {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	t.Chdir(home)
	golden(t, "serving.golden", r.stdout)
}
