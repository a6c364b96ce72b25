package api_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// paired returns a snapshot of three healthy nodes with a pair of a and b that is in sync.
func paired() *store.Snapshot {
	s := three()
	s.Pairs = map[string]spec.Pair{"uploads": {
		Driver: spec.ReplicationUnison, Leader: "a", Objective: 5,
		Ends: map[string]spec.PairEnd{"a": {Path: "/srv/uploads"}, "b": {Path: "/var/www/data"}},
	}}
	for _, node := range []string{"a", "b"} {
		ofPair(s, node, func(p *spec.PairStatus) {
			*p = spec.PairStatus{State: spec.PairSynced, Since: noon().Add(-time.Hour), Synced: noon().Add(-time.Minute), Propagation: 0.1, Measured: noon().Add(-time.Minute)}
		})
	}
	return s
}

func ofPair(s *store.Snapshot, node string, change func(*spec.PairStatus)) {
	status := s.Statuses[node]
	p := status.Pairs["uploads"]
	change(&p)
	status.Pairs = map[string]spec.PairStatus{"uploads": p}
	s.Statuses[node] = status
}

func TestStatusOfPairs(t *testing.T) {
	t.Parallel()
	minute := noon().Add(-time.Minute)
	state := func(to spec.PairState, problem string) func(*spec.PairStatus) {
		return func(p *spec.PairStatus) { p.State, p.Since, p.Problem = to, minute, problem }
	}
	silent := func(s *store.Snapshot) { s.Received["b"] = noon().Add(-2 * time.Minute) }
	tests := []struct {
		name     string
		change   func(s *store.Snapshot)
		state    spec.PairState
		since    time.Time
		reasons  []string
		warnings []string
	}{
		{"in sync", func(*store.Snapshot) {}, spec.PairSynced, noon().Add(-time.Hour), nil, nil},
		{"changes on their way", func(s *store.Snapshot) { ofPair(s, "b", state(spec.PairSyncing, "")) }, spec.PairSyncing, minute, nil, nil},
		{
			"both stand by", func(s *store.Snapshot) {
				ofPair(s, "a", state(spec.PairStandingBy, ""))
				ofPair(s, "b", state(spec.PairStandingBy, ""))
			},
			spec.PairStandingBy, minute, nil, nil,
		},
		{
			"one stands by, and does not reach the other", func(s *store.Snapshot) {
				ofPair(s, "a", state(spec.PairDisconnected, ""))
				ofPair(s, "b", state(spec.PairStandingBy, ""))
			},
			spec.PairDisconnected, minute,
			[]string{"pair uploads: the nodes do not reach each other since 2026-03-01T11:59:00Z; changes wait on the side where they were made"},
			nil,
		},
		{
			"stands in", func(s *store.Snapshot) {
				p := s.Pairs["uploads"]
				p.Standby = &spec.PairStandby{For: "c", After: 30}
				s.Pairs["uploads"] = p
				ofPair(s, "b", func(p *spec.PairStatus) { p.StandsIn = minute })
			},
			spec.PairSynced, noon().Add(-time.Hour), nil,
			[]string{"pair uploads stands in for c since 2026-03-01T11:59:00Z"},
		},
		{
			"starting", func(s *store.Snapshot) {
				ofPair(s, "a", state(spec.PairStarting, ""))
				ofPair(s, "b", state(spec.PairSyncing, ""))
			},
			spec.PairStarting, minute,
			[]string{"pair uploads: its sides have not been found equal since 2026-03-01T11:59:00Z, when programs of it started, or a node came back"},
			nil,
		},
		{
			"failed", func(s *store.Snapshot) {
				ofPair(s, "b", state(spec.PairFailed, "the disk of /var/www/data is full: make room"))
			},
			spec.PairFailed, minute,
			[]string{"pair uploads: its sides are not kept equal since 2026-03-01T11:59:00Z; b: the disk of /var/www/data is full: make room"},
			nil,
		},
		{
			"a file that cannot be read", func(s *store.Snapshot) {
				ofPair(s, "b", state(spec.PairSynced, "1 file cannot be read"))
			},
			spec.PairSynced, minute,
			[]string{"pair uploads: something in its trees is not kept equal; b: 1 file cannot be read"},
			nil,
		},
		{
			"cut off", func(s *store.Snapshot) {
				ofPair(s, "a", state(spec.PairDisconnected, ""))
				silent(s)
			},
			spec.PairDisconnected, minute,
			[]string{
				"node b is silent since 2026-03-01T11:58:00Z: its last report is 2m0s old",
				"pair uploads: the nodes do not reach each other since 2026-03-01T11:59:00Z; changes wait on the side where they were made; b is silent",
			},
			nil,
		},
		{
			"nothing said yet", func(s *store.Snapshot) {
				status := s.Statuses["b"]
				status.Pairs = nil
				s.Statuses["b"] = status
			},
			api.PairUnknown,
			time.Time{},
			[]string{"pair uploads: not both of its sides are known; b says nothing of it"},
			nil,
		},
		{
			"a node that is not in the cluster", func(s *store.Snapshot) { delete(s.Nodes, "b") },
			api.PairUnknown, noon().Add(-time.Hour),
			[]string{"pair uploads: not both of its sides are known; b is not in the cluster"},
			nil,
		},
		{
			"maintenance", func(s *store.Snapshot) {
				s.Maintenance = map[string]spec.Maintenance{"b": {Since: minute}}
				ofPair(s, "a", state(spec.PairDisconnected, ""))
			},
			spec.PairDisconnected, minute, nil,
			[]string{
				"node b is in maintenance since 2026-03-01T11:59:00Z",
				"pair uploads: the nodes do not reach each other since 2026-03-01T11:59:00Z; changes wait on the side where they were made",
			},
		},
		{
			"slow, with conflicts", func(s *store.Snapshot) {
				ofPair(s, "b", func(p *spec.PairStatus) {
					p.Propagation, p.Conflicts = 7.25, 2
					p.ConflictPaths = []string{"a (conflict)\n.txt"}
				})
			},
			spec.PairSynced, noon().Add(-time.Hour), nil,
			[]string{
				"pair uploads: a change took 7.2 s to the other node, more than its objective of 5 s",
				`pair uploads: 2 kept copies of conflicting changes: look at them and remove what is not needed: "a (conflict)\n.txt", and 1 more`,
			},
		},
		{
			"short of memory and of room", func(s *store.Snapshot) {
				ofPair(s, "a", func(p *spec.PairStatus) { p.Full = true })
				ofPair(s, "b", func(p *spec.PairStatus) { p.Warning = "its programs are slowed down" })
			},
			spec.PairSynced, noon().Add(-time.Hour), nil,
			[]string{
				"pair uploads: a has hardly any room left for /srv/uploads, in bytes or inodes: remove files, or enlarge the file system",
				"pair uploads: b: its programs are slowed down",
			},
		},
		{
			"a state of a newer agent", func(s *store.Snapshot) { ofPair(s, "b", state("resting", "")) },
			api.PairUnknown, minute,
			[]string{"pair uploads: not both of its sides are known; b says nothing of it"},
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := paired()
			tt.change(s)
			got := api.StatusOf("a", s, noon())
			p := got.Pairs["uploads"]
			if p.State != tt.state || !p.Since.Equal(tt.since) || p.Leader != "a" || p.Sides["b"].Path != "/var/www/data" {
				t.Errorf("got %+v", p)
			}
			if diff := cmp.Diff(tt.reasons, got.Reasons); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.warnings, got.Warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

// A side that was never heard of does not hide what is known of the pair.
func TestPairOfASilentNode(t *testing.T) {
	t.Parallel()
	s := paired()
	ofPair(s, "b", func(p *spec.PairStatus) { p.Propagation, p.Conflicts = 99, 4 })
	s.Received["b"] = noon().Add(-time.Hour)
	p := api.StatusOf("a", s, noon()).Pairs["uploads"]
	if p.State != api.PairUnknown || p.Propagation != 0.1 || p.Conflicts != 0 || !p.Synced.Equal(noon().Add(-time.Minute)) {
		t.Errorf("got %+v", p)
	}
	if side := p.Sides["b"]; !side.Stale || side.State != api.PairUnknown || side.Conflicts != 4 {
		t.Errorf("b: got %+v", side)
	}
}
