package api_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

func noon() time.Time { return time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC) }

// three returns a snapshot of three healthy nodes.
func three() *store.Snapshot {
	s := &store.Snapshot{
		ClusterName: clusterName, Cluster: &spec.Cluster{},
		Nodes: map[string]spec.Node{}, Links: map[string]spec.Link{}, Members: map[string]trust.Member{},
		Statuses: map[string]spec.Status{}, Received: map[string]time.Time{}, Generations: map[spec.Ref]uint64{},
	}
	names := []string{"a", "b", "c"}
	for i, name := range names {
		s.Nodes[name] = spec.Node{
			Provider: "lab", Site: "hk", MeshAddress: netip.AddrFrom4([4]byte{10, 66, 0, byte(i + 1)}), Addresses: []string{fmt.Sprintf("192.0.2.%d", i+1)},
		}
		s.Members[name] = trust.Member{Node: name, Identity: trust.PublicKey{byte(i + 1)}}
		status := spec.Status{
			Node: name, Version: "1.2.3", Peers: map[string]spec.PeerStatus{},
			Conditions: []spec.Condition{
				{Type: spec.ConditionApplied, Status: spec.ConditionTrue, Since: noon().Add(-2 * time.Hour)},
				{Type: spec.ConditionConflict, Status: spec.ConditionFalse, Since: noon().Add(-3 * time.Hour)},
			},
		}
		for _, peer := range names {
			if peer != name {
				status.Peers[peer] = spec.PeerStatus{Reachable: true, Direct: true, Since: noon().Add(-time.Hour), RTT: 12, Alive: true, AliveSince: noon().Add(-time.Hour)}
			}
		}
		s.Statuses[name] = status
		s.Received[name] = noon().Add(-5 * time.Second)
	}
	return s
}

func peer(s *store.Snapshot, from, to string, change func(*spec.PeerStatus)) {
	p := s.Statuses[from].Peers[to]
	change(&p)
	s.Statuses[from].Peers[to] = p
}

func condition(s *store.Snapshot, node string, c spec.Condition) {
	status := s.Statuses[node]
	status.Conditions = append(status.Conditions, c)
	s.Statuses[node] = status
}

func TestStatusOf(t *testing.T) {
	minute := noon().Add(-time.Minute)
	tests := []struct {
		name     string
		change   func(s *store.Snapshot)
		states   map[string]api.NodeState
		reasons  []string
		warnings []string
	}{
		{"all is well", func(*store.Snapshot) {}, nil, nil, nil},
		{
			"a bad condition", func(s *store.Snapshot) {
				condition(s, "b", spec.Condition{Type: spec.ConditionApplied, Status: spec.ConditionFalse, Reason: "TincFailed", Message: "tincd does not start", Since: minute})
			},
			map[string]api.NodeState{"b": api.NodeNotReady},
			[]string{"node b is not-ready since 2026-03-01T11:59:00Z: Applied is False (TincFailed): tincd does not start"},
			nil,
		},
		{
			"a conflict condition", func(s *store.Snapshot) {
				condition(s, "b", spec.Condition{Type: spec.ConditionConflict, Status: spec.ConditionTrue, Reason: "TwoContents", Since: minute})
			},
			map[string]api.NodeState{"b": api.NodeNotReady},
			[]string{"node b is not-ready since 2026-03-01T11:59:00Z: Conflict is True (TwoContents)"},
			nil,
		},
		{
			"a node is out of service at the vendor", func(s *store.Snapshot) {
				for _, n := range []string{"a", "b"} {
					condition(s, n, spec.Condition{
						Type: spec.ConditionEdgeReady, Status: spec.ConditionTrue, Reason: spec.ReasonRemoved, Message: "www.example.com: c is out of service", Since: minute,
					})
				}
				condition(s, "c", spec.Condition{Type: spec.ConditionEdgeReady, Status: spec.ConditionTrue, Reason: "Ready", Since: minute})
			},
			nil, nil,
			[]string{"load balancer www.example.com: c is out of service"},
		},
		{
			"not joined", func(s *store.Snapshot) { delete(s.Members, "b"); delete(s.Statuses, "b") },
			map[string]api.NodeState{"b": api.NodeJoining},
			[]string{"node b is joining: no machine has joined"},
			nil,
		},
		{
			"joined and not reported", func(s *store.Snapshot) { delete(s.Statuses, "b"); delete(s.Received, "b") },
			map[string]api.NodeState{"b": api.NodeSilent},
			[]string{"node b is silent: it has joined and not reported yet"},
			nil,
		},
		{
			"silent", func(s *store.Snapshot) { s.Received["b"] = noon().Add(-2 * time.Minute) },
			map[string]api.NodeState{"b": api.NodeSilent},
			[]string{"node b is silent since 2026-03-01T11:58:00Z: its last report is 2m0s old"},
			nil,
		},
		{
			"reported before the clock went back", func(s *store.Snapshot) { s.Received["b"] = noon().Add(5 * time.Minute) },
			map[string]api.NodeState{"b": api.NodeSilent},
			[]string{"node b is silent since 2026-03-01T12:00:00Z: its last report arrived before the clock of the answering node was set back"},
			nil,
		},
		{
			"reported while being asked for", func(s *store.Snapshot) { s.Received["b"] = noon().Add(time.Second) },
			nil, nil, nil,
		},
		{
			"dated by clocks that are ahead", func(s *store.Snapshot) {
				future := noon().Add(5 * time.Minute)
				condition(s, "b", spec.Condition{Type: spec.ConditionApplied, Status: spec.ConditionFalse, Reason: "TincFailed", Since: future})
				peer(s, "a", "c", func(p *spec.PeerStatus) { p.Reachable, p.Since = false, future })
			},
			map[string]api.NodeState{"b": api.NodeNotReady},
			[]string{
				"node b is not-ready since 2026-03-01T12:00:00Z: Applied is False (TincFailed)",
				"link a -> c is down since 2026-03-01T12:00:00Z",
			},
			nil,
		},
		{
			"dead for everybody", func(s *store.Snapshot) {
				for i, from := range []string{"a", "c"} {
					peer(s, from, "b", func(p *spec.PeerStatus) {
						p.Alive, p.Reachable, p.AliveSince = false, false, minute.Add(time.Duration(i)*time.Second)
					})
				}
				s.Received["b"] = minute.Add(2 * time.Second)
			},
			map[string]api.NodeState{"b": api.NodeDown},
			[]string{"node b is down since 2026-03-01T11:59:01Z: no other node reaches its agent"},
			nil,
		},
		{
			"cut off from the mesh only", func(s *store.Snapshot) {
				for _, from := range []string{"a", "c"} {
					peer(s, from, "b", func(p *spec.PeerStatus) { p.Alive, p.AliveSince = false, minute })
				}
				condition(s, "b", spec.Condition{Type: spec.ConditionGossipReady, Status: spec.ConditionFalse, Reason: "Silent", Since: minute})
			},
			map[string]api.NodeState{"b": api.NodeNotReady},
			[]string{"node b is not-ready since 2026-03-01T11:59:00Z: GossipReady is False (Silent)"},
			nil,
		},
		{
			"dead for one only", func(s *store.Snapshot) {
				peer(s, "a", "b", func(p *spec.PeerStatus) { p.Alive = false })
			},
			nil, nil, nil,
		},
		{
			"round a cut link", func(s *store.Snapshot) {
				for _, pair := range [][2]string{{"a", "c"}, {"c", "a"}} {
					peer(s, pair[0], pair[1], func(p *spec.PeerStatus) { p.Direct, p.NextHop, p.Since = false, "b", minute })
				}
			},
			nil,
			[]string{
				"link a -> c has no direct path since 2026-03-01T11:59:00Z, it goes by b",
				"link c -> a has no direct path since 2026-03-01T11:59:00Z, it goes by b",
			},
			nil,
		},
		{
			"no link between two that nobody can call", func(s *store.Snapshot) {
				for _, pair := range [][2]string{{"a", "c"}, {"c", "a"}} {
					n := s.Nodes[pair[0]]
					n.Addresses = nil
					s.Nodes[pair[0]] = n
					peer(s, pair[0], pair[1], func(p *spec.PeerStatus) { p.Direct, p.NextHop, p.Since = false, "b", minute })
				}
			},
			nil, nil, nil,
		},
		{
			"one way down", func(s *store.Snapshot) {
				peer(s, "c", "a", func(p *spec.PeerStatus) { p.Reachable, p.Since = false, minute })
			},
			nil,
			[]string{"link c -> a is down since 2026-03-01T11:59:00Z"},
			nil,
		},
		{
			"a lossy link", func(s *store.Snapshot) { peer(s, "a", "c", func(p *spec.PeerStatus) { p.Loss = 0.3 }) },
			nil, nil,
			[]string{"link a -> c loses 30 % of its packets"},
		},
		{
			"a link that came up just now and lost one of its few probes", func(s *store.Snapshot) {
				peer(s, "a", "c", func(p *spec.PeerStatus) { p.Loss, p.Since = 0.5, noon().Add(-5*time.Second) })
			},
			nil, nil, nil,
		},
		{
			"not measured", func(s *store.Snapshot) { delete(s.Statuses["a"].Peers, "b") },
			nil,
			[]string{"link a -> b is not measured yet"},
			nil,
		},
		{
			"no cluster object", func(s *store.Snapshot) { s.Cluster = nil },
			nil,
			[]string{`the description of cluster "web" has not arrived at node "a"`},
			nil,
		},
		{
			"a conflict", func(s *store.Snapshot) {
				s.Conflicts = []store.ConflictInfo{{Ref: spec.Ref{Kind: spec.KindNode, Name: "b"}, Message: "two want to be b", Since: minute}}
			},
			nil,
			[]string{"conflict since 2026-03-01T11:59:00Z: two want to be b"},
			nil,
		},
		{
			"a damaged record", func(s *store.Snapshot) { s.Damaged = []string{"node.b.json: cut short"} },
			nil, nil,
			[]string{"node a could not read a stored record: node.b.json: cut short"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := three()
			tt.change(s)
			got := api.StatusOf("a", s, noon())
			if got.Healthy != (len(tt.reasons) == 0) {
				t.Errorf("healthy = %t", got.Healthy)
			}
			begins(t, "reasons", tt.reasons, got.Reasons)
			begins(t, "warnings", tt.warnings, got.Warnings)
			for name, v := range got.Nodes {
				want := api.NodeReady
				if w, ok := tt.states[name]; ok {
					want = w
				}
				if v.State != want {
					t.Errorf("node %s is %s (%s), want %s", name, v.State, v.Message, want)
				}
			}
		})
	}
}

func TestNodeView(t *testing.T) {
	got := api.StatusOf("a", three(), noon()).Nodes["b"]
	want := api.NodeView{
		Provider: "lab", Site: "hk", MeshAddress: netip.MustParseAddr("10.66.0.2"), State: api.NodeReady,
		Addresses: []string{"192.0.2.2"},
		Since:     noon().Add(-2 * time.Hour), Identity: trust.PublicKey{2}, Version: "1.2.3", Received: noon().Add(-5 * time.Second), Age: 5,
		Conditions: three().Statuses["b"].Conditions,
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("node (-want +got):\n%s", diff)
	}
	if c, ok := got.Condition(spec.ConditionApplied); !ok || c.Status != spec.ConditionTrue {
		t.Errorf("condition = %+v, %t", c, ok)
	}
}

func TestLinks(t *testing.T) {
	s := three()
	s.Links["a.c"] = spec.Link{From: "c", To: "a", Settings: spec.LinkSettings{MTU: 1400}}
	peer(s, "c", "a", func(p *spec.PeerStatus) { p.Reachable = false })
	got := api.StatusOf("a", s, noon()).Links
	up := api.Direction{State: api.UpDirect, Since: noon().Add(-time.Hour), RTT: 12}
	want := map[string]api.LinkView{
		"a.b": {From: "a", To: "b", There: up, Back: up},
		"b.c": {From: "b", To: "c", There: up, Back: up},
		"a.c": {
			From: "c", To: "a", Named: true, Settings: spec.LinkSettings{MTU: 1400},
			There: api.Direction{State: api.Down, Since: noon().Add(-time.Hour)}, Back: up,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
}

func TestStatusSurvivesJSON(t *testing.T) {
	want := api.StatusOf("a", three(), noon())
	want.Generations = map[spec.Ref]uint64{{Kind: spec.KindNode, Name: "a"}: 7}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got api.ClusterStatus
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

// begins compares texts, each by its beginning.
func begins(t *testing.T, what string, want, got []string) {
	t.Helper()
	ok := len(want) == len(got)
	for i := range want {
		ok = ok && i < len(got) && strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		t.Errorf("%s = %q, want %q", what, got, want)
	}
}
