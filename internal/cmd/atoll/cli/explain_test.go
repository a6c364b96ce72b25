package cli_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// knowing is an agent that has objects as well as a status that a test decides.
type knowing struct {
	agent
	store *store.Store
}

func (k *knowing) Records() []store.Record { return k.store.Records() }

// describing returns a store with the cluster's own object and those of its nodes.
func describing(t *testing.T, key *trust.SigningKey) *store.Store {
	t.Helper()
	held := store.New(trust.Root{Cluster: "web", Key: key.Public()}, store.Options{})
	keep(t, key, held, "web", spec.Cluster{MeshCIDR: netip.MustParsePrefix("10.99.0.0/24"), Mesh: spec.Mesh{Driver: spec.MeshTinc, Port: 1655}, Ports: spec.DefaultPorts()})
	for name, v := range cluster("hk1").Nodes {
		keep(t, key, held, name, spec.Node{Provider: v.Provider, Site: v.Site, MeshAddress: v.MeshAddress, Machine: spec.Machine{Variant: spec.MachineManual}})
	}
	return held
}

// sick is the cluster of which sg1 has trouble with everything that it has a part in.
func sick() api.ClusterStatus {
	s := cut()
	link := s.Links["hk2.sg1"]
	link.There.Loss = 0.07
	s.Links["hk2.sg1"] = link
	n := s.Nodes["sg1"]
	n.Addresses, n.Age, n.Message = []string{"203.0.113.7"}, 3, "MeshReady is False (Unreachable): hk1 does not answer"
	ref := spec.Ref{Kind: spec.KindLoadBalancer, Name: "www.example.com"}
	n.Applied = map[spec.Ref]uint64{ref: 4}
	s.Generations = map[spec.Ref]uint64{ref: 5}
	s.Nodes["sg1"] = n
	since := now.Add(-50 * time.Second)
	s.Databases = map[string]api.DatabaseView{"app": {
		Engine: spec.DatabaseMySQL, Primary: "hk1", Votes: 3, Online: 2, Incarnation: 1, Members: map[string]api.DatabaseMemberView{
			"hk1": {Role: spec.MemberVoter, State: spec.MemberOnline, Primary: true, Since: since, Router: spec.RouterStatus{Running: true, Writable: true, Writer: "hk1"}},
			"sg1": {
				Role: spec.MemberVoter, State: spec.MemberBlocked, Since: since, Problem: "it sees no majority", Router: spec.RouterStatus{Since: since},
				Findings: []spec.Finding{{Check: "disk", Message: "1.2 GB are left"}},
			},
		},
	}}
	s.Pairs = map[string]api.PairView{"uploads": {Leader: "hk1", Sides: map[string]api.PairSideView{
		"hk1": {Path: "/srv/uploads", PairStatus: spec.PairStatus{State: spec.PairDisconnected, Since: since}},
		"sg1": {Path: "/srv/uploads", PairStatus: spec.PairStatus{State: spec.PairDisconnected, Since: since}},
	}}}
	s.LoadBalancers = map[string]api.LoadBalancerView{"www.example.com": {Nodes: map[string]api.ServingView{
		"hk1": {State: api.ServingIn}, "sg1": {State: api.ServingOut, Since: since, Reason: "database: no way to a server"},
	}}}
	return s
}

func TestExplain(t *testing.T) {
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	o := newOperator(t)
	key := o.withKey(t)
	endpoint, identity := serveBackend(t, &knowing{agent{status: sick()}, describing(t, key)}, key, "hk1")
	write(t, "terraform.tfstate", stateWith(t, resource("atoll_node", node("hk1", endpoint, identity))))
	ill, well := o.run(t, "status", "--explain", "sg1"), o.run(t, "status", "--explain", "hk2")
	if ill.code != cli.Degraded || well.code != cli.Healthy {
		t.Errorf("exit codes %d and %d, want %d and %d: %s%s", ill.code, well.code, cli.Degraded, cli.Healthy, ill.stderr, well.stderr)
	}
	t.Chdir(home)
	golden(t, "explain-ill.golden", ill.stdout)
	golden(t, "explain-well.golden", well.stdout)
}

// explained is what atoll status --explain --json prints.
type explained struct {
	Node, Seen     string
	Ready, Answers bool
	Findings       []struct {
		Wrong    bool
		What, Do string
	}
	State    api.NodeView
	Views    map[string]struct{ State api.NodeState }
	Links    map[string]struct{ To, From api.Direction }
	Behind   map[spec.Ref]struct{ Applied, Newest uint64 }
	Answered map[string]string `json:"unanswered"`
}

// says tells whether a finding has all of the words.
func (x explained) says(wrong bool, words ...string) bool {
	for _, f := range x.Findings {
		all := f.Wrong == wrong
		for _, word := range words {
			all = all && strings.Contains(f.What+" "+f.Do, word)
		}
		if all {
			return true
		}
	}
	return false
}

// explainAs asks agents, by name, for what they know of a node.
func explainAs(t *testing.T, node string, code int, views map[string]api.ClusterStatus, args ...string) explained {
	t.Helper()
	o := newOperator(t)
	key := o.withKey(t)
	held := describing(t, key)
	args = append([]string{"status", "--json", "--explain", node, "--cluster", "web"}, args...)
	for name, s := range views {
		s.Seen = name
		endpoint, _ := serveBackend(t, &knowing{agent{status: s}, held}, key, name)
		args = append(args, "--endpoint", endpoint)
	}
	r := o.run(t, args...)
	if r.code != code {
		t.Errorf("exit code %d, want %d: %s", r.code, code, r.stderr)
	}
	var x explained
	if err := json.Unmarshal([]byte(r.stdout), &x); err != nil {
		t.Fatalf("no JSON: %v\n%s", err, r.stdout)
	}
	return x
}

// with changes a copy of a status.
func with(s api.ClusterStatus, change func(*api.ClusterStatus)) api.ClusterStatus {
	change(&s)
	return s
}

// state sets how a node is.
func state(name string, to api.NodeState, message string) func(*api.ClusterStatus) {
	return func(s *api.ClusterStatus) {
		n := s.Nodes[name]
		n.State, n.Message, n.Since, n.Age = to, message, now.Add(-time.Minute), 60
		s.Nodes[name] = n
	}
}

// links sets both directions of a link.
func links(name string, there, back api.DirectionState) func(*api.ClusterStatus) {
	return func(s *api.ClusterStatus) {
		l := s.Links[name]
		l.There, l.Back = api.Direction{State: there, Via: "hk2", Since: now.Add(-time.Minute)}, api.Direction{State: back, Via: "hk2", Since: now.Add(-time.Minute)}
		s.Links[name] = l
	}
}

// reports sets what the ends of a link say of it.
func reports(name string, said ...api.LinkReport) func(*api.ClusterStatus) {
	return func(s *api.ClusterStatus) {
		l := s.Links[name]
		l.Reports, l.There.Measured = said, &api.Measured{Silent: said[0].Condition == spec.LinkOneWay, Loss: 0.2, RTT: 12}
		s.Links[name] = l
	}
}

func TestExplainFindings(t *testing.T) {
	one := func(changes ...func(*api.ClusterStatus)) map[string]api.ClusterStatus {
		s := cluster("hk1")
		for _, change := range changes {
			change(&s)
		}
		return map[string]api.ClusterStatus{"hk1": s}
	}
	condition := func(c spec.Condition) func(*api.ClusterStatus) {
		return func(s *api.ClusterStatus) {
			n := s.Nodes["sg1"]
			n.State, n.Conditions = api.NodeNotReady, []spec.Condition{c}
			s.Nodes["sg1"] = n
		}
	}
	tests := []struct {
		name  string
		views map[string]api.ClusterStatus
		code  int
		wrong bool
		words []string
		// never are words of no finding.
		never string
	}{
		{"joining", one(state("sg1", api.NodeJoining, "no machine has joined under this name yet")), cli.Degraded, true, []string{"first-boot data", "ticket"}, "does not reach"},
		{"down", one(state("sg1", api.NodeDown, "no other node reaches its agent"), links("hk1.sg1", api.Down, api.UnknownLink)), cli.Degraded, true, []string{"no other node reaches", "journalctl"}, "does not reach"},
		{"cut one way", one(links("hk1.sg1", api.Down, api.UpDirect)), cli.Degraded, true, []string{"one-way: hk1 does not reach sg1", "open 1655/tcp and 1655/udp at sg1 for hk1"}, ""},
		{"cut the other way", one(links("hk1.sg1", api.UpDirect, api.Down)), cli.Degraded, true, []string{"one-way: sg1 does not reach hk1", "open 1655/tcp and 1655/udp at hk1 for sg1"}, ""},
		{"half known", one(links("hk1.sg1", api.Down, api.UnknownLink)), cli.Degraded, true, []string{"hk1 does not reach sg1; whether sg1 reaches hk1 is not known"}, "one-way"},
		{"cut", one(links("hk1.sg1", api.Down, api.Down)), cli.Degraded, true, []string{"sg1 and hk1 do not reach each other", "it reaches 1 of its 1 other peers", "at both"}, ""},
		{"a detour", one(links("hk1.sg1", api.UpIndirect, api.UpIndirect)), cli.Degraded, true, []string{"no direct path between sg1 and hk1:", "as long as hk2 does"}, ""},
		{"a detour one way", one(links("hk1.sg1", api.UpIndirect, api.UpDirect)), cli.Degraded, true, []string{"no direct path between sg1 and hk1 from hk1 to sg1: traffic goes by hk2"}, ""},
		{"a detour on purpose", one(links("hk1.sg1", api.UpIndirect, api.UpIndirect), reports("hk1.sg1", api.LinkReport{
			Node: "hk1", Condition: spec.LinkLossy, Message: "hk1 -> sg1 loses 20 %", Steering: &spec.LinkSteering{Away: true, Via: "hk2", Why: "lossy", Hold: 30},
		})), cli.Healthy, false, []string{"hk1 leaves the direct link between sg1 and hk1 alone (lossy): traffic goes by hk2"}, "no direct path"},
		{"a firewall that lets in answers only", one(reports("hk1.sg1",
			api.LinkReport{Node: "hk1", Condition: spec.LinkOneWay, Message: "packets of hk1 do not arrive at UDP port 655 of sg1"},
			api.LinkReport{Node: "sg1", Condition: spec.LinkOneWay, Message: "the same from the other end"},
		)), cli.Healthy, false, []string{"measured by hk1: packets of hk1 do not arrive at UDP port 655 of sg1", "mend it before it matters"}, "the other end"},
		{"a peer is down", one(state("hk1", api.NodeDown, "gone"), links("hk1.sg1", api.Down, api.Down)), cli.Healthy, false, nil, "reach"},
		{"a lossy line", one(func(s *api.ClusterStatus) {
			l := s.Links["hk2.sg1"]
			l.Back.Loss, l.Back.Since = 0.2, now.Add(-time.Hour)
			s.Links["hk2.sg1"] = l
		}), cli.Healthy, false, []string{"sg1 -> hk2 loses 20 %"}, ""},
		{"maintenance", one(func(s *api.ClusterStatus) {
			n := s.Nodes["sg1"]
			n.Maintenance = &spec.Maintenance{Reason: "new disks", Since: now}
			s.Nodes["sg1"] = n
		}), cli.Healthy, false, []string{"new disks", "atoll maintenance leave sg1"}, ""},
		{"a clock", one(condition(spec.Condition{Type: spec.ConditionClockSane, Status: spec.ConditionFalse, Reason: "Apart", Message: "5 min ahead"})), cli.Degraded, true, []string{"ClockSane is False (Apart): 5 min ahead", "timedatectl"}, ""},
		{"a conflict", one(condition(spec.Condition{Type: spec.ConditionConflict, Status: spec.ConditionTrue, Reason: "Conflict"})), cli.Degraded, true, []string{"atoll pin sg1"}, ""},
		{"a step", one(condition(spec.Condition{Type: spec.ConditionApplied, Status: spec.ConditionFalse, Reason: "StepFailed", Message: "firewall: no nft"})), cli.Degraded, true, []string{"firewall: no nft", "tries again"}, ""},
		// sg1 itself answers, and says what its own side of the link is: the others have no news of it.
		{"apart but answering", map[string]api.ClusterStatus{
			"hk1": with(cluster("hk1"), func(s *api.ClusterStatus) {
				state("sg1", api.NodeSilent, "its last report is 2m old")(s)
				links("hk1.sg1", api.Down, api.UnknownLink)(s)
			}),
			"sg1": with(cluster("sg1"), func(s *api.ClusterStatus) {
				state("hk1", api.NodeDown, "gone")(s)
				state("hk2", api.NodeDown, "gone")(s)
				links("hk1.sg1", api.UnknownLink, api.UpDirect)(s)
			}),
		}, cli.Degraded, true, []string{"hk1 hears nothing of it", "but it answers from here"}, "journalctl"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := explainAs(t, "sg1", tt.code, tt.views)
			if len(tt.words) > 0 && !x.says(tt.wrong, tt.words...) {
				t.Errorf("no finding says %q: %+v", tt.words, x.Findings)
			}
			if tt.never != "" && (x.says(true, tt.never) || x.says(false, tt.never)) {
				t.Errorf("a finding says %q: %+v", tt.never, x.Findings)
			}
			if x.Ready != !slices.ContainsFunc(x.Findings, func(f struct {
				Wrong    bool
				What, Do string
			},
			) bool {
				return f.Wrong
			}) {
				t.Errorf("ready %t with %+v", x.Ready, x.Findings)
			}
		})
	}
	apart := explainAs(t, "sg1", cli.Degraded, tests[len(tests)-1].views)
	if !apart.Answers || len(apart.Views) != 2 || apart.Seen != "hk1" || apart.Links["hk1"].To.State != api.UpDirect || !apart.says(true, "one-way: hk1 does not reach sg1") {
		t.Errorf("each side of a link is asked for its own direction: %+v", apart)
	}
}

func TestExplainJSON(t *testing.T) {
	x := explainAs(t, "sg1", cli.Degraded, map[string]api.ClusterStatus{"hk1": sick()}, "--endpoint", closedEndpoint(t))
	if x.Node != "sg1" || x.Ready || x.State.MeshAddress.String() != "10.99.0.13" || x.Links["hk1"].From.Via != "hk2" || len(x.Answered) != 1 {
		t.Errorf("got %+v", x)
	}
	if b := x.Behind[spec.Ref{Kind: spec.KindLoadBalancer, Name: "www.example.com"}]; b.Applied != 4 || b.Newest != 5 {
		t.Errorf("behind: %+v", x.Behind)
	}
}

func TestExplainCannotTell(t *testing.T) {
	o := newOperator(t)
	key := o.withKey(t)
	endpoint, _ := serveBackend(t, &knowing{agent{status: cluster("hk1")}, describing(t, key)}, key, "hk1")
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no such node":   {[]string{"--explain", "sg9", "--endpoint", endpoint}, `no node "sg9"; it has hk1, hk2, sg1`},
		"nobody answers": {[]string{"--explain", "sg1", "--endpoint", closedEndpoint(t)}, "no node of the cluster could be asked"},
	} {
		if r := o.run(t, append([]string{"status", "--cluster", "web"}, tt.args...)...); r.code != cli.Failed || !strings.Contains(r.stderr, tt.want) || r.stdout != "" {
			t.Errorf("%s: exit code %d, %q, want an error with %q", name, r.code, r.stderr, tt.want)
		}
	}
}
