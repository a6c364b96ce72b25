package api_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// replicated returns a snapshot of three healthy nodes with a database whose primary is a.
func replicated() *store.Snapshot {
	s := three()
	s.Databases = map[string]spec.Database{"app": {Engine: spec.DatabaseMySQL, Votes: 3}}
	s.DatabaseMembers = map[string]spec.Member{}
	for _, name := range []string{"a", "b", "c"} {
		s.DatabaseMembers["app."+name] = spec.Member{Database: "app", Node: name, Role: spec.MemberVoter, Weight: 50}
		says(s, name, func(d *spec.DatabaseStatus) {
			*d = spec.DatabaseStatus{State: spec.MemberOnline, Since: noon().Add(-time.Hour), Primary: "a", Writable: name == "a", Incarnation: 2}
		})
	}
	return s
}

func says(s *store.Snapshot, node string, change func(*spec.DatabaseStatus)) {
	status := s.Statuses[node]
	d := status.Databases["app"]
	change(&d)
	status.Databases = map[string]spec.DatabaseStatus{"app": d}
	s.Statuses[node] = status
}

func TestStatusOfDatabases(t *testing.T) {
	outage := func(d *spec.DatabaseStatus) {
		*d = spec.DatabaseStatus{State: spec.MemberStranded, Incarnation: 2, Position: "x:1-9", Outage: &spec.OutageStatus{ID: "1", Base: "x:1-5"}}
	}
	tests := []struct {
		name    string
		change  func(s *store.Snapshot)
		primary string
		online  int
		next    uint64
		outage  bool
		reasons []string
	}{
		{"all is well", func(*store.Snapshot) {}, "a", 3, 3, false, nil},
		{
			"one is down", func(s *store.Snapshot) {
				says(s, "c", func(d *spec.DatabaseStatus) { d.State = spec.MemberDown })
			},
			"a", 2, 3, false,
			[]string{"database app: 2 of 3 members are online; not c (down)"},
		},
		{
			"full outage, one has promised", func(s *store.Snapshot) {
				for _, n := range []string{"a", "b", "c"} {
					says(s, n, outage)
				}
				says(s, "b", func(d *spec.DatabaseStatus) {
					d.Outage.Promise = &spec.RecoveryProposal{Incarnation: 3, Leader: "a"}
				})
			},
			"", 0, 4, true,
			[]string{"database app: no member takes writes and none is online: a (stranded), b (stranded), c (stranded)"},
		},
		{
			"not begun", func(s *store.Snapshot) {
				for _, n := range []string{"a", "b", "c"} {
					says(s, n, func(d *spec.DatabaseStatus) { *d = spec.DatabaseStatus{State: spec.MemberPreparing} })
				}
			},
			"", 0, 2, false,
			[]string{
				"database app: it has not begun yet",
				"database app: 0 of 3 members are online; not a (preparing), b (preparing), c (preparing)",
			},
		},
		{
			"a member is not described", func(s *store.Snapshot) { delete(s.DatabaseMembers, "app.c") },
			"a", 2, 3, false,
			[]string{"database app: 2 voting members are described, and its votes are 3"},
		},
		{
			"the rollout has stopped", func(s *store.Snapshot) {
				says(s, "a", func(d *spec.DatabaseStatus) { d.Rollout.Turn, d.Rollout.Stopped = "c", "c is gone" })
			},
			"a", 3, 3, false,
			[]string{"database app: the rollout has stopped: c is gone"},
		},
		{
			"the operator has decided", func(s *store.Snapshot) {
				s.Recoveries = map[string]spec.Recovery{"app": {Incarnation: 7}}
			},
			"a", 3, 8, false, nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := replicated()
			tt.change(s)
			status := api.StatusOf("a", s, noon())
			v := status.Databases["app"]
			if v.Primary != tt.primary || v.Online != tt.online || v.NextIncarnation != tt.next || v.Outage != tt.outage {
				t.Errorf("primary %q, %d online, next life %d, outage %v; want %q, %d, %d, %v",
					v.Primary, v.Online, v.NextIncarnation, v.Outage, tt.primary, tt.online, tt.next, tt.outage)
			}
			if diff := cmp.Diff(tt.reasons, status.Reasons); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatusOfDatabaseMembers(t *testing.T) {
	s := replicated()
	s.DatabaseMembers["app.d"] = spec.Member{Database: "app", Node: "d", Role: spec.MemberClient}
	down(s, "b")
	says(s, "c", func(d *spec.DatabaseStatus) {
		d.Rollout = spec.RolloutStatus{Running: "1", Wanted: "2"}
		d.Findings = []spec.Finding{{Check: "disk", Message: "it turns"}}
	})
	v := api.StatusOf("a", s, noon()).Databases["app"]
	if b := v.Members["b"]; !b.Stale || b.State != spec.MemberOnline || b.Seen.IsZero() {
		t.Errorf("a member whose node is down: %+v", b)
	}
	if d := v.Members["d"]; d.State != api.MemberUnknown || d.Role != spec.MemberClient {
		t.Errorf("a member that has said nothing: %+v", d)
	}
	if diff := cmp.Diff(&api.RolloutView{Done: []string{"a", "b"}, Waiting: []string{"c"}}, v.Rollout); diff != "" {
		t.Errorf("rollout (-want +got):\n%s", diff)
	}
	if c := v.Members["c"]; len(c.Findings) != 1 {
		t.Errorf("findings of c: %+v", c.Findings)
	}
}
