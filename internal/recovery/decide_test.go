package recovery_test

import (
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/recovery"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// stranded is what a member says that is in no group.
func stranded(position string, change ...func(*recovery.Report)) recovery.Report {
	r := recovery.Report{Sequence: 5, Seen: "noon", DatabaseStatus: spec.DatabaseStatus{
		State: spec.MemberStranded, Position: position, Incarnation: 2, Outage: &spec.OutageStatus{ID: "id"},
	}}
	if position == "" {
		r.State, r.Incarnation = spec.MemberPreparing, 0
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func online(incarnation uint64, view ...string) recovery.Report {
	r := recovery.Report{Sequence: 5, DatabaseStatus: spec.DatabaseStatus{
		State: spec.MemberOnline, Incarnation: incarnation, Primary: "b", View: map[string]spec.MemberState{},
	}}
	for _, n := range view {
		r.View[n] = spec.MemberOnline
	}
	return r
}

// outage is what member a of three knows in a full outage in which it has the most data.
func outage(change ...func(*recovery.Evidence)) recovery.Evidence {
	e := recovery.Evidence{
		Database: "app", Self: "a", Votes: 3, Bootstrap: spec.Bootstrap{Node: "a", Epoch: 1},
		Members: []recovery.Voter{{Node: "a", Weight: 50}, {Node: "b", Weight: 50}, {Node: "c", Weight: 50}},
		Journal: recovery.Journal{Group: "g", Incarnation: 2, UsedEpoch: 1, Begun: true, Shared: true},
		Own:     recovery.Own{State: spec.MemberStranded, Position: "1,2,3", ID: "mine"},
		Heard:   map[string]recovery.Report{"b": stranded("1,2"), "c": stranded("1,2")},
		Known:   map[string]recovery.Report{}, Compare: compare,
	}
	for _, c := range change {
		c(&e)
	}
	return e
}

func proposal(leader string, incarnation uint64, position string) *spec.RecoveryProposal {
	p := &spec.RecoveryProposal{Incarnation: incarnation, Leader: leader, Position: position, Heard: map[string]string{"a": "mine", "b": "id", "c": "id"}}
	return p
}

func TestDecide(t *testing.T) {
	type evidence = recovery.Evidence
	accept := func(incarnation uint64, nodes ...string) func(*evidence) {
		return func(e *evidence) { e.Recovery = &spec.Recovery{Incarnation: incarnation, AcceptLossFrom: nodes} }
	}
	proposes := func(p *spec.RecoveryProposal) func(*recovery.Report) {
		return func(r *recovery.Report) { r.Outage.Proposal = p }
	}
	promises := func(p *spec.RecoveryProposal) func(*recovery.Report) {
		return func(r *recovery.Report) { r.Outage.Promise = p }
	}
	tests := []struct {
		name   string
		in     evidence
		want   recovery.Action
		reason recovery.Reason
		// says are in the message.
		says []string
	}{
		{"the one with the most data proposes", outage(), recovery.Propose, recovery.ReasonOutage, nil},
		{
			"and begins with all promises", outage(func(e *evidence) {
				e.Own.Proposal = proposal("a", 3, "1,2,3")
				e.Heard["b"], e.Heard["c"] = stranded("1,2", promises(e.Own.Proposal)), stranded("1,2", promises(e.Own.Proposal))
			}),
			recovery.Begin, "", nil,
		},
		{
			"not with one", outage(func(e *evidence) {
				e.Own.Proposal = proposal("a", 3, "1,2,3")
				e.Heard["b"] = stranded("1,2", promises(e.Own.Proposal))
			}),
			recovery.Wait, recovery.ReasonOutage,
			[]string{"once these have promised", "c ("},
		},
		{
			"a missing member", outage(func(e *evidence) { delete(e.Heard, "c"); e.Known["c"] = stranded("1,2,3,4") }),
			recovery.Wait, recovery.ReasonOutage,
			[]string{"c (stranded, position 1,2,3,4, last seen noon)", "a has 1,2,3", "b has 1,2", "atoll recover --database app --accept-loss-from c"},
		},
		{
			"a proposal is taken back when a member is missing", outage(func(e *evidence) { e.Own.Proposal = proposal("a", 3, "1,2,3"); delete(e.Heard, "c") }),
			recovery.Withdraw, "", nil,
		},
		{"diverged", outage(func(e *evidence) { e.Heard["b"] = stranded("1,2,9") }), recovery.Wait, recovery.ReasonDiverged, []string{"b has 1,2,9", "a has 1,2,3"}},
		{"another one has more", outage(func(e *evidence) { e.Heard["b"] = stranded("1,2,3,4") }), recovery.Wait, recovery.ReasonOutage, []string{"b has the most data"}},
		{
			"of equals the heavier", outage(func(e *evidence) { e.Heard["b"] = stranded("1,2,3"); e.Members[1].Weight = 80 }),
			recovery.Wait, recovery.ReasonOutage,
			[]string{"b has the most data"},
		},
		{"of equals the one that began", outage(func(e *evidence) { e.Heard["b"] = stranded("1,2,3"); e.Bootstrap.Node = "b" }), recovery.Wait, recovery.ReasonOutage, []string{"b has the most data"}},
		{"a member is not described", outage(func(e *evidence) { e.Members = e.Members[:2] }), recovery.Wait, recovery.ReasonOutage, []string{"2 of the 3 voting members are described"}},
		{
			"less than the newest life began with", outage(func(e *evidence) {
				e.Heard["b"] = stranded("1,2", func(r *recovery.Report) { r.Outage.Base = "1,2,3,4" })
			}),
			recovery.Wait, recovery.ReasonOutage,
			[]string{"began with more data", "1,2,3,4"},
		},
		{
			"a member has lost its data", outage(func(e *evidence) {
				e.Heard["c"] = stranded("", func(r *recovery.Report) { r.Incarnation = 2 })
			}),
			recovery.Wait, recovery.ReasonOutage,
			[]string{"its data is gone", "--accept-loss-from c"},
		},
		{"one without data that never had any", outage(func(e *evidence) { e.Heard["c"] = stranded("") }), recovery.Propose, recovery.ReasonOutage, nil},
		{
			"only one has data", outage(func(e *evidence) { e.Heard["b"], e.Heard["c"] = stranded(""), stranded("") }),
			recovery.Wait, recovery.ReasonOutage,
			[]string{"less than a majority of the members has any data", "--accept-loss-from b,c"},
		},
		{
			"only one has data, for it was alone", outage(func(e *evidence) {
				e.Heard["b"], e.Heard["c"] = stranded(""), stranded("")
				e.Journal.Shared = false
			}),
			recovery.Propose, recovery.ReasonOutage, nil,
		},
		{"its own data is lost", outage(func(e *evidence) { e.Own.Fresh, e.Own.Position = true, "" }), recovery.Wait, recovery.ReasonDataLost, []string{"--accept-loss-from a"}},
		{"its own data is lost and the group is there", outage(func(e *evidence) { e.Own.Fresh = true; e.Heard["b"] = online(2) }), recovery.Join, recovery.ReasonJoining, nil},
		{"the operator gives one up", outage(accept(3, "c"), func(e *evidence) { delete(e.Heard, "c") }), recovery.Propose, recovery.ReasonOutage, nil},
		{"for a life that was begun already", outage(accept(2, "c"), func(e *evidence) { delete(e.Heard, "c") }), recovery.Wait, recovery.ReasonOutage, []string{"Missing: c", "for life 2, which was begun or promised already: it says nothing of this outage"}},
		{
			"for a life that was promised already", outage(accept(3, "c"), func(e *evidence) {
				delete(e.Heard, "c")
				e.Journal.Promise = proposal("c", 3, "1,2,3")
			}),
			recovery.Wait, recovery.ReasonOutage,
			[]string{"promised to follow c"},
		},
		{
			"the leader is no member any more", outage(func(e *evidence) { e.Journal.Promise = proposal("x", 3, "1,2,3") }),
			recovery.Wait, recovery.ReasonOutage,
			[]string{"promised to follow x", "atoll recover --database app --accept-loss-from x"},
		},
		{
			"and is given up", outage(accept(4, "x"), func(e *evidence) { e.Journal.Promise = proposal("x", 3, "1,2,3") }),
			recovery.Propose, recovery.ReasonOutage, nil,
		},
		{
			"the next one frees of the promise", outage(accept(4, "c"), func(e *evidence) {
				delete(e.Heard, "c")
				e.Journal.Promise = proposal("c", 3, "1,2,3")
			}),
			recovery.Propose, recovery.ReasonOutage, nil,
		},
		{"the operator gives this one up", outage(accept(3, "a")), recovery.Wait, recovery.ReasonOutage, []string{"given up"}},
		{"promise", outage(func(e *evidence) { e.Heard["b"] = stranded("1,2,3,4", proposes(proposal("b", 3, "1,2,3,4"))) }), recovery.Promise, recovery.ReasonOutage, []string{"follow b into life 3"}},
		{
			"no promise to one with less", outage(func(e *evidence) { e.Heard["b"] = stranded("1,2", proposes(proposal("b", 3, "1,2"))) }),
			recovery.Propose, recovery.ReasonOutage, nil,
		},
		{
			"no promise by what was heard under another ID", outage(func(e *evidence) {
				p := proposal("b", 3, "1,2,3,4")
				p.Heard["a"] = "before"
				e.Heard["b"] = stranded("1,2,3,4", proposes(p))
			}),
			recovery.Wait, recovery.ReasonOutage,
			[]string{"b has the most data"},
		},
		{
			"no promise to one that has not heard all", outage(func(e *evidence) {
				p := proposal("b", 3, "1,2,3,4")
				delete(p.Heard, "c")
				e.Heard["b"] = stranded("1,2,3,4", proposes(p))
			}),
			recovery.Wait, recovery.ReasonOutage,
			[]string{"b has the most data"},
		},
		{
			"bound", outage(func(e *evidence) {
				e.Journal.Promise, e.Journal.PromiseSeen = proposal("c", 3, "1,2,3"), 5
				e.Heard["b"] = stranded("1,2,3,4", proposes(proposal("b", 4, "1,2,3,4")))
			}),
			recovery.Wait, recovery.ReasonOutage,
			[]string{"promised to follow c"},
		},
		{
			"free, for the leader has another ID", outage(func(e *evidence) {
				e.Journal.Promise, e.Journal.PromiseSeen = proposal("c", 3, "1,2"), 4
				e.Heard["c"] = stranded("1,2", func(r *recovery.Report) { r.Outage.ID = "later" })
			}),
			recovery.Propose, recovery.ReasonOutage, nil,
		},
		{
			"not free, for that was said before", outage(func(e *evidence) {
				e.Journal.Promise, e.Journal.PromiseSeen = proposal("c", 3, "1,2"), 6
				e.Heard["c"] = stranded("1,2", func(r *recovery.Report) { r.Outage.ID = "earlier" })
			}),
			recovery.Wait, recovery.ReasonOutage,
			[]string{"promised to follow c"},
		},
		{"the group is there", outage(func(e *evidence) { e.Heard["b"] = online(2) }), recovery.Join, recovery.ReasonJoining, nil},
		{
			"in a life that it has promised", outage(func(e *evidence) { e.Journal.Promise = proposal("b", 3, "1,2,3"); e.Heard["b"] = online(3) }),
			recovery.Join, recovery.ReasonJoining, nil,
		},
		{"in a life that it went to join", outage(func(e *evidence) { e.Journal.Joining = 3; e.Heard["b"] = online(3) }), recovery.Join, recovery.ReasonJoining, nil},
		{
			"in a life that has begun without it", outage(func(e *evidence) { e.Heard["b"] = online(3) }),
			recovery.Wait, recovery.ReasonDiverged,
			[]string{"has transactions of life 2 of the group, and life 3 began without this member", "move its data aside"},
		},
		{
			"in a life before the one that begins without it", outage(accept(3, "a"), func(e *evidence) { e.Heard["b"] = online(2) }),
			recovery.Wait, recovery.ReasonDiverged,
			[]string{"life 3 began without this member"},
		},
		{"long after it was given up and made again", outage(accept(2, "a"), func(e *evidence) { e.Heard["b"] = online(2) }), recovery.Join, recovery.ReasonJoining, nil},
		{
			"in a later life than it has promised", outage(func(e *evidence) { e.Journal.Promise = proposal("b", 3, "1,2,3"); e.Heard["b"] = online(4) }),
			recovery.Wait, recovery.ReasonDiverged,
			[]string{"life 4 began without this member"},
		},
		{
			"in a life that has begun without its data", outage(func(e *evidence) { e.Own.Fresh, e.Own.Position = true, ""; e.Heard["b"] = online(3) }),
			recovery.Join, recovery.ReasonJoining, nil,
		},
		{"in its first life, without a journal", outage(func(e *evidence) { e.Journal = recovery.Journal{Group: "g"}; e.Heard["b"] = online(1) }), recovery.Join, recovery.ReasonJoining, nil},
		{"in another life, without a journal", outage(func(e *evidence) { e.Journal = recovery.Journal{Group: "g"}; e.Heard["b"] = online(2) }), recovery.Wait, recovery.ReasonDiverged, nil},
		{
			"an outage of a life that began without it", outage(func(e *evidence) {
				for _, n := range []string{"b", "c"} {
					r := e.Heard[n]
					r.Incarnation = 3
					e.Heard[n] = r
				}
			}),
			recovery.Wait, recovery.ReasonDiverged,
			[]string{"life 3 began without this member"},
		},
		{
			"an outage of a life that it was on its way into", outage(func(e *evidence) {
				e.Journal.Joining = 3
				for _, n := range []string{"b", "c"} {
					r := e.Heard[n]
					r.Incarnation = 3
					e.Heard[n] = r
				}
			}),
			recovery.Propose, recovery.ReasonOutage, nil,
		},
		{
			"an outage of a life that began without another one", outage(func(e *evidence) { e.Journal.Incarnation = 3; r := e.Heard["b"]; r.Incarnation = 3; e.Heard["b"] = r }),
			recovery.Wait, recovery.ReasonOutage,
			[]string{"Missing: c (stranded, position 1,2, its data is of life 2", "--accept-loss-from c"},
		},
		{"an older life is there", outage(func(e *evidence) { e.Heard["b"] = online(1) }), recovery.Wait, recovery.ReasonWaiting, []string{"older life"}},
		{
			"blocked, the others are out", outage(func(e *evidence) { e.Own.State, e.Own.ID = spec.MemberBlocked, "" }),
			recovery.Leave, "", nil,
		},
		{
			"blocked, one is missing", outage(func(e *evidence) { e.Own.State, e.Own.ID = spec.MemberBlocked, ""; delete(e.Heard, "c") }),
			recovery.Wait, recovery.ReasonBlocked,
			[]string{"c (never heard of)"},
		},
		{
			"blocked, the group goes on without", outage(func(e *evidence) {
				e.Own.State, e.Own.ID = spec.MemberBlocked, ""
				e.Heard["b"], e.Heard["c"] = online(2, "b", "c"), online(2, "b", "c")
			}),
			recovery.Leave, "", nil,
		},
		{
			"in an old life", outage(func(e *evidence) {
				e.Own = recovery.Own{State: spec.MemberOnline, View: map[string]spec.MemberState{"a": spec.MemberOnline}}
				e.Heard["b"] = online(3, "b", "c")
			}),
			recovery.Leave, recovery.ReasonDiverged,
			[]string{"newer life"},
		},
		{"the server does not answer", outage(func(e *evidence) { e.Own = recovery.Own{State: spec.MemberDown} }), recovery.Wait, recovery.ReasonServerDown, nil},
		{
			"positions that nobody understands", outage(func(e *evidence) { e.Own.Position = "?" }),
			recovery.Wait, recovery.ReasonOutage,
			[]string{"compare the data"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := recovery.Decide(tt.in)
			if d.Action != tt.want || d.Reason != tt.reason {
				t.Errorf("decided %s (%s: %s), want %s (%s)", d.Action, d.Reason, d.Message, tt.want, tt.reason)
			}
			for _, text := range tt.says {
				if !strings.Contains(d.Message, text) {
					t.Errorf("says %q, not %q", d.Message, text)
				}
			}
		})
	}
}

func TestFirstBegin(t *testing.T) {
	type evidence = recovery.Evidence
	first := func(change ...func(*evidence)) evidence {
		return outage(append([]func(*evidence){func(e *evidence) {
			e.Journal = recovery.Journal{Group: "g"}
			e.Own.Fresh, e.Own.Position = true, ""
			e.Heard["b"], e.Heard["c"] = stranded(""), stranded("")
		}}, change...)...)
	}
	promised := func(incarnation uint64) func(*evidence) {
		return func(e *evidence) {
			e.Own.Proposal = proposal("a", incarnation, "")
			for _, n := range []string{"b", "c"} {
				e.Heard[n] = stranded("", func(r *recovery.Report) { r.Outage.Promise = e.Own.Proposal })
			}
		}
	}
	tests := []struct {
		name string
		in   evidence
		want recovery.Action
		says string
	}{
		{"all are ready", first(), recovery.Propose, ""},
		{"all have promised", first(promised(1)), recovery.Bootstrap, ""},
		{"one has not", first(promised(1), func(e *evidence) { e.Heard["c"] = stranded("") }), recovery.Wait, "once these have promised to follow: c"},
		{
			"promise to the one that is permitted", first(func(e *evidence) {
				e.Bootstrap.Node = "b"
				e.Heard["b"] = stranded("", func(r *recovery.Report) { r.Outage.Proposal = proposal("b", 1, "") })
			}),
			recovery.Promise, "follow b",
		},
		{
			"no promise to another one", first(func(e *evidence) {
				e.Bootstrap.Node = "c"
				e.Heard["b"] = stranded("", func(r *recovery.Report) { r.Outage.Proposal = proposal("b", 1, "") })
			}),
			recovery.Wait, "waits for c",
		},
		{"another one begins", first(func(e *evidence) { e.Bootstrap.Node = "b" }), recovery.Wait, "waits for b"},
		{"one is not heard", first(func(e *evidence) { delete(e.Heard, "c") }), recovery.Wait, "c (never heard of)"},
		{"one is not described", first(func(e *evidence) { e.Members = e.Members[:2] }), recovery.Wait, "2 are"},
		{"unfinished", first(func(e *evidence) { e.Journal.UsedEpoch, e.Journal.Incarnation = 1, 1 }), recovery.Propose, ""},
		{"begun, and the data is gone", first(func(e *evidence) { e.Journal = recovery.Journal{UsedEpoch: 1, Incarnation: 1, Begun: true} }), recovery.Wait, "has lost its data"},
		{
			"begun, the data of all is gone, and another permission", first(func(e *evidence) {
				e.Journal, e.Bootstrap.Epoch = recovery.Journal{UsedEpoch: 1, Incarnation: 1, Begun: true}, 2
			}),
			recovery.Propose, "",
		},
		{
			"another permission while there is data", first(func(e *evidence) {
				e.Journal, e.Bootstrap.Epoch = recovery.Journal{UsedEpoch: 1, Incarnation: 1, Begun: true}, 2
				e.Heard["c"] = stranded("1")
			}),
			recovery.Wait, "has lost its data",
		},
		{"made again while the others have data", first(func(e *evidence) { e.Heard["b"], e.Heard["c"] = stranded("1"), stranded("1") }), recovery.Wait, "no member of it is online"},
		{"data from nowhere", first(func(e *evidence) { e.Own.Fresh, e.Own.Position = false, "7" }), recovery.Wait, "nothing of it is touched"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := recovery.Decide(tt.in)
			if d.Action != tt.want || !strings.Contains(d.Message, tt.says) {
				t.Errorf("decided %s: %q, want %s: %q", d.Action, d.Message, tt.want, tt.says)
			}
			if used := d.Journal.UsedEpoch == tt.in.Bootstrap.Epoch; d.Action == recovery.Bootstrap && !used {
				t.Errorf("begins without having written down that permission %d is used", tt.in.Bootstrap.Epoch)
			}
		})
	}
}
