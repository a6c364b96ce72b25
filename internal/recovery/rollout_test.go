package recovery_test

import (
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/recovery"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// rolling is what primary a of three knows; c is preferred to b, and all want other settings.
func rolling(change ...func(*recovery.RolloutEvidence)) recovery.RolloutEvidence {
	member := func() spec.DatabaseStatus {
		return spec.DatabaseStatus{
			State: spec.MemberOnline, Primary: "a", Rollout: spec.RolloutStatus{Generation: 7, Running: "old", Wanted: "new"},
			View: map[string]spec.MemberState{"a": spec.MemberOnline, "b": spec.MemberOnline, "c": spec.MemberOnline},
		}
	}
	e := recovery.RolloutEvidence{
		Self: "a", Votes: 3, Members: []recovery.Voter{{Node: "a", Weight: 80}, {Node: "b", Weight: 50}, {Node: "c", Weight: 60}},
		Own: member(), Heard: map[string]recovery.Report{"b": {DatabaseStatus: member()}, "c": {DatabaseStatus: member()}},
	}
	e.Own.Writable = true
	for _, c := range change {
		c(&e)
	}
	return e
}

func TestRollout(t *testing.T) {
	type evidence = recovery.RolloutEvidence
	is := func(node string, change func(*spec.DatabaseStatus)) func(*evidence) {
		return func(e *evidence) {
			r := e.Heard[node]
			change(&r.DatabaseStatus)
			e.Heard[node] = r
		}
	}
	done := func(s *spec.DatabaseStatus) { s.Rollout.Running = "new" }
	down := func(s *spec.DatabaseStatus) { s.State, s.Problem = spec.MemberDown, "no such variable" }
	turn := func(node string) func(*evidence) {
		return func(e *evidence) { e.Own.Rollout.Turn, e.Own.Rollout.TurnFor = node, "new" }
	}
	late := func(e *evidence) { e.Late = true }
	tests := []struct {
		name    string
		in      evidence
		turn    string
		over    string
		stopped string
	}{
		{"the least preferred goes first", rolling(), "b", "", ""},
		{"then the next", rolling(is("b", done)), "c", "", ""},
		{"then the primary hands over", rolling(is("b", done), is("c", done)), "", "c", ""},
		{"nothing to do", rolling(is("b", done), is("c", done), func(e *evidence) { done(&e.Own) }), "", "", ""},
		{"not while one is away", rolling(is("c", down)), "", "", ""},
		{"not while one is not heard", rolling(func(e *evidence) { delete(e.Heard, "c") }), "", "", ""},
		{"not while one is behind", rolling(is("c", func(s *spec.DatabaseStatus) { s.Lag = 60 })), "", "", ""},
		{"not while one does not know of the change", rolling(is("c", func(s *spec.DatabaseStatus) { s.Rollout.Generation = 6 })), "", "", ""},
		{"its turn lasts while it is away", rolling(turn("b"), is("b", down)), "b", "", ""},
		{"and until it is done", rolling(turn("b")), "b", "", ""},
		{"it is back", rolling(turn("b"), is("b", done)), "c", "", ""},
		{"it does not come back", rolling(turn("b"), is("b", down), late), "b", "", "b did not come back with the new settings in time (it is down: no such variable)"},
		{"it is not heard of", rolling(turn("b"), func(e *evidence) { delete(e.Heard, "b") }, late), "b", "", "nothing is heard of it"},
		{"the change is mended, and it is back", rolling(turn("b"), is("b", done), func(e *evidence) { e.Own.Rollout.Stopped = "b is gone" }), "c", "", ""},
		{
			"another change meanwhile", rolling(turn("c"), is("c", func(s *spec.DatabaseStatus) { s.Rollout.Wanted = "newer" })),
			"c", "", "",
		},
		{"its member is removed", rolling(turn("x")), "b", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := recovery.Rollout(tt.in)
			if got.Turn != tt.turn || got.SwitchOver != tt.over || !strings.Contains(got.Stopped, tt.stopped) || tt.stopped == "" && got.Stopped != "" {
				t.Errorf("next is %+v, want turn %q, switchover %q, stopped %q", got, tt.turn, tt.over, tt.stopped)
			}
		})
	}
}

func TestMayRestart(t *testing.T) {
	type evidence = recovery.RolloutEvidence
	// secondary is what b knows, whose turn it is.
	secondary := func(change ...func(*evidence)) evidence {
		e := rolling()
		primary := recovery.Report{DatabaseStatus: e.Own}
		primary.Rollout.Turn, primary.Rollout.TurnFor = "b", "new"
		e.Self, e.Own = "b", e.Heard["b"].DatabaseStatus
		e.Heard = map[string]recovery.Report{"a": primary, "c": e.Heard["c"]}
		for _, c := range change {
			c(&e)
		}
		return e
	}
	primary := func(change func(*recovery.Report)) func(*evidence) {
		return func(e *evidence) {
			r := e.Heard["a"]
			change(&r)
			e.Heard["a"] = r
		}
	}
	tests := []struct {
		name string
		in   evidence
		want bool
	}{
		{"its turn", secondary(), true},
		{"another one's turn", secondary(primary(func(r *recovery.Report) { r.Rollout.Turn = "c" })), false},
		{"for other settings", secondary(primary(func(r *recovery.Report) { r.Rollout.TurnFor = "older" })), false},
		{"said by one that is no primary any more", secondary(func(e *evidence) { e.Own.Primary = "c" }), false},
		{"the rollout has stopped", secondary(primary(func(r *recovery.Report) { r.Rollout.Stopped = "why" })), false},
		{"another one is away", secondary(func(e *evidence) { delete(e.Own.View, "c") }), false},
		{"nothing to restart for", secondary(func(e *evidence) { e.Own.Rollout.Running = "new" }), false},
		{"the primary is not heard", secondary(func(e *evidence) { delete(e.Heard, "a") }), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := recovery.MayRestart(tt.in); got != tt.want {
				t.Errorf("may restart: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestSuccessor(t *testing.T) {
	unfit := func(nodes ...string) recovery.RolloutEvidence {
		e := rolling()
		for _, n := range nodes {
			r := e.Heard[n]
			r.Unfit = "the disk is nearly full"
			e.Heard[n] = r
		}
		return e
	}
	for _, tt := range []struct {
		in   recovery.RolloutEvidence
		want string
	}{{unfit(), "c"}, {unfit("c"), "b"}, {unfit("b", "c"), ""}} {
		if got := recovery.Successor(tt.in); got != tt.want {
			t.Errorf("hands over to %q, want %q", got, tt.want)
		}
	}
}
