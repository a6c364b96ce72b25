package clusterstatus_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/clusterstatus"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func TestANodeThatTheOthersDoNotKnowIsNoHealthyCluster(t *testing.T) {
	status := api.ClusterStatus{Seen: "hk1", Healthy: true, Nodes: map[string]api.NodeView{"hk1": {}}}
	for _, tt := range []struct {
		name    string
		nodes   []string
		healthy bool
	}{
		{"the one that answers", []string{"hk1"}, true},
		{"a half that never met it", []string{"hk1", "sg1"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := clusterstatus.Model{Nodes: map[string]clusterstatus.Source{}}
			for _, n := range tt.nodes {
				m.Nodes[n] = clusterstatus.Source{Name: types.StringValue(n)}
			}
			m.FromStatus(&status)
			if m.Healthy.ValueBool() != tt.healthy {
				t.Errorf("got healthy %s, want %t", m.Healthy, tt.healthy)
			}
			if told := strings.Contains(strings.Join(m.Reasons, "\n"), "does not know node sg1"); told == tt.healthy {
				t.Errorf("got reasons %q", m.Reasons)
			}
		})
	}
}

func TestDatabases(t *testing.T) {
	member := func(state spec.MemberState, primary, stale bool) api.DatabaseMemberView {
		return api.DatabaseMemberView{Role: spec.MemberVoter, State: state, Primary: primary, Stale: stale, Router: spec.RouterStatus{Running: true, Writable: true, Writer: "hk1"}}
	}
	var m clusterstatus.Model
	m.FromStatus(&api.ClusterStatus{Databases: map[string]api.DatabaseView{
		"app": {
			Primary: "hk1", Votes: 3, Online: 2, Incarnation: 1, Rollout: &api.RolloutView{Stopped: "hk2 is not back"},
			Members: map[string]api.DatabaseMemberView{"hk1": member(spec.MemberOnline, true, false), "hk2": member(spec.MemberOnline, false, true)},
		},
		"shop": {Votes: 3, Incarnation: 2, Outage: true}, "new": {Votes: 3},
	}})
	app := m.Databases["app"]
	if app.State != "degraded" || app.Primary.ValueString() != "hk1" || app.Rollout.ValueString() != "stopped: hk2 is not back" {
		t.Errorf("got %+v", app)
	}
	if hk1, hk2 := app.Members["hk1"], app.Members["hk2"]; hk1.Role != "primary" || hk1.State != "online" || !hk1.Writable ||
		hk2.Role != "secondary" || hk2.State != "unknown" || hk2.Writable || !hk2.Lag.IsNull() {
		t.Errorf("got %+v and %+v", hk1, hk2)
	}
	if m.Databases["shop"].State != "outage" || !m.Databases["shop"].Primary.IsNull() || m.Databases["new"].State != "new" {
		t.Errorf("got %+v", m.Databases)
	}
}

func TestPairs(t *testing.T) {
	since := time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	var m clusterstatus.Model
	m.FromStatus(&api.ClusterStatus{Pairs: map[string]api.PairView{
		"new": {State: api.PairUnknown, Leader: "hk1", Sides: map[string]api.PairSideView{"hk1": {Path: "/srv/x", PairStatus: spec.PairStatus{State: api.PairUnknown}}}},
		"uploads": {State: spec.PairSyncing, Leader: "hk1", Propagation: 0.25, Conflicts: 2, ConflictPaths: []string{"a (conflict)"}, Sides: map[string]api.PairSideView{
			"sg1": {Path: "/srv/y", PairStatus: spec.PairStatus{
				State: spec.PairSyncing, Pending: 7, Problem: "slow",
				Lately:  &spec.PairPropagation{P50: 0.1, P99: 0.4, Max: 0.5, Canaries: 12, From: since},
				After:   &spec.AfterStatus{State: spec.AfterFailed, Last: since, Problem: "exit code 3"},
				Carried: &spec.PairCarried{From: since, SentBytes: 1, ReceivedBytes: 2, Files: 3},
			}},
		}},
		"backup": {State: spec.PairSynced, Leader: "hk2", StandsInFor: "hk1", StandsIn: since},
		"rests":  {State: spec.PairStandingBy, Leader: "hk2", StandsInFor: "hk1"},
	}})
	if p := m.Pairs["backup"]; p.StandsInFor.ValueString() != "hk1" || p.StandsInSince.ValueString() != "2026-03-14T15:09:26Z" || p.LeadsNow.ValueString() != "hk2" {
		t.Errorf("got %+v", p)
	}
	if p := m.Pairs["rests"]; p.StandsInFor.ValueString() != "hk1" || !p.StandsInSince.IsNull() || !p.LeadsNow.IsNull() {
		t.Errorf("got %+v", p)
	}
	if p := m.Pairs["uploads"]; !p.StandsInFor.IsNull() || p.LeadsNow.ValueString() != "hk1" {
		t.Errorf("got %+v", p)
	}
	side := m.Pairs["uploads"].Sides["sg1"]
	if l := side.Lately; l == nil || l.P50 != 0.1 || l.P99 != 0.4 || l.Max != 0.5 || l.Canaries != 12 || l.Since != "2026-03-14T15:09:26Z" {
		t.Errorf("got %+v", l)
	}
	if c := side.Carried; c == nil || c.Sent != 1 || c.Received != 2 || c.Files != 3 || m.Pairs["new"].Sides["hk1"].Carried != nil {
		t.Errorf("got %+v", c)
	}
	if a := side.After; a == nil || *a != (clusterstatus.PairAfter{State: "failed", Last: "2026-03-14T15:09:26Z", Problem: "exit code 3"}) || m.Pairs["new"].Sides["hk1"].After != nil {
		t.Errorf("got %+v", a)
	}
	if p := m.Pairs["new"]; p.State != "unknown" || !p.Propagation.IsNull() || p.Synced != "" || p.ConflictPaths == nil || p.Sides["hk1"].Path != "/srv/x" {
		t.Errorf("got %+v", p)
	}
	p := m.Pairs["uploads"]
	if side := p.Sides["sg1"]; p.State != "syncing" || p.Propagation.ValueFloat64() != 0.25 || p.Conflicts != 2 || len(p.ConflictPaths) != 1 || side.Pending != 7 || side.Problem != "slow" {
		t.Errorf("got %+v", p)
	}
}

func TestMeasuredLinks(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	var m clusterstatus.Model
	m.FromStatus(&api.ClusterStatus{Links: map[string]api.LinkView{
		"hk1.sg1": {
			From: "hk1", To: "sg1", There: api.Direction{State: api.UpIndirect, Via: "os1", Measured: &api.Measured{Silent: true, Loss: 1}},
			Back: api.Direction{State: api.UpIndirect, Via: "os1", RTT: 80, Measured: &api.Measured{Loss: 0.25, MTU: 1500, RTT: 33}},
			Reports: []api.LinkReport{{
				Node: "hk1", Condition: spec.LinkOneWay, Cause: spec.CauseFilteredPort, Since: since, Message: "open 655/udp at sg1 for hk1",
				Steering: &spec.LinkSteering{Away: true, Via: "os1"},
			}, {Node: "sg1", Condition: spec.LinkDirect, Since: since, Steering: &spec.LinkSteering{Via: "os1"}}},
		},
		"hk1.hk2": {From: "hk1", To: "hk2", There: api.Direction{State: api.UpDirect}, Back: api.Direction{State: api.UnknownLink}},
	}})
	bad, plain := m.Links["hk1.sg1"], m.Links["hk1.hk2"]
	there, back := bad.There.Measured, bad.Back.Measured
	if there == nil || !there.Silent || there.Loss != 1 || !there.RTT.IsNull() || !there.MTU.IsNull() {
		t.Errorf("got %+v", there)
	}
	if back == nil || back.Silent || back.Loss != 0.25 || back.RTT.ValueFloat64() != 33 || back.MTU.ValueInt64() != 1500 || bad.Back.RTT != 80 {
		t.Errorf("got %+v", back)
	}
	if r := bad.Reports["hk1"]; r.Condition != "one-way" || r.Cause.ValueString() != "filtered-port" || r.Since != "2026-03-14T15:09:26Z" ||
		r.Message != "open 655/udp at sg1 for hk1" || !r.Left || r.Via.ValueString() != "os1" {
		t.Errorf("got %+v", r)
	}
	if r := bad.Reports["sg1"]; r.Condition != "direct" || !r.Cause.IsNull() || r.Left || !r.Via.IsNull() {
		t.Errorf("got %+v", r)
	}
	if plain.There.Measured != nil || plain.Reports == nil || len(plain.Reports) != 0 {
		t.Errorf("got %+v of a link that is not measured", plain)
	}
}
