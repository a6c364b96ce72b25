package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// handClock is a clock that a test moves.
type handClock struct{ at time.Time }

func newHandClock() *handClock {
	return &handClock{time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
}

func (c *handClock) now() time.Time { return c.at }

func (c *handClock) tick() time.Time {
	c.at = c.at.Add(time.Minute)
	return c.at
}

func TestConditionSinceChangesOnlyWithStatus(t *testing.T) {
	t.Parallel()
	dir, clock := t.TempDir(), newHandClock()
	k := agent.OpenKeeper(dir, clock.now)
	k.Set(spec.ConditionMeshReady, spec.ConditionTrue, "Ready")
	began := clock.at

	clock.tick()
	if k.Urgent(func() { k.Set(spec.ConditionMeshReady, spec.ConditionTrue, "StillReady") }) {
		t.Error("another reason alone was urgent")
	}
	if c := k.Get(spec.ConditionMeshReady); !c.Since.Equal(began) || c.Reason != "StillReady" {
		t.Errorf("another reason: got %+v, want since %s", c, began)
	}

	clock.tick()
	k = agent.OpenKeeper(dir, clock.now)
	k.Set(spec.ConditionMeshReady, spec.ConditionTrue, "Ready")
	if c := k.Get(spec.ConditionMeshReady); !c.Since.Equal(began) {
		t.Errorf("after a restart: since %s, want %s", c.Since, began)
	}

	changed := clock.tick()
	if !k.Urgent(func() { k.Set(spec.ConditionMeshReady, spec.ConditionFalse, "PeersUnreachable") }) {
		t.Error("another status was not urgent")
	}
	if c := k.Get(spec.ConditionMeshReady); !c.Since.Equal(changed) {
		t.Errorf("another status: since %s, want %s", c.Since, changed)
	}
}

func TestPeerSince(t *testing.T) {
	t.Parallel()
	dir, clock := t.TempDir(), newHandClock()
	k := agent.OpenKeeper(dir, clock.now)
	up := spec.PeerStatus{Reachable: true, Direct: true, Alive: true, RTT: 10}
	k.SetPeers(map[string]spec.PeerStatus{"sg1": up})
	began := clock.at

	clock.tick()
	k = agent.OpenKeeper(dir, clock.now)
	detour := up
	detour.Direct, detour.NextHop = false, "hk2"
	got := k.SetPeers(map[string]spec.PeerStatus{"sg1": detour})["sg1"]
	if !got.Since.Equal(clock.at) || !got.AliveSince.Equal(began) {
		t.Errorf("a detour: since %s and alive since %s, want %s and %s", got.Since, got.AliveSince, clock.at, began)
	}
	turned := clock.at

	clock.tick()
	before := k.Version()
	noisy := detour
	noisy.RTT = 10.2
	got = k.SetPeers(map[string]spec.PeerStatus{"sg1": noisy})["sg1"]
	if !got.Since.Equal(turned) || k.Version() != before {
		t.Errorf("noise: since %s and version %d, want %s and %d", got.Since, k.Version(), turned, before)
	}
	noisy.RTT = 20
	k.SetPeers(map[string]spec.PeerStatus{"sg1": noisy})
	if k.Version() == before {
		t.Error("a round-trip time twice as long was taken for noise")
	}
	if got := k.SetPeers(nil); len(got) != 0 {
		t.Errorf("peers that are gone are kept: %v", got)
	}
}

func TestDamagedObservationsOnlyLoseDates(t *testing.T) {
	t.Parallel()
	dir, clock := t.TempDir(), newHandClock()
	if err := os.WriteFile(filepath.Join(dir, "observed.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := agent.OpenKeeper(dir, clock.now)
	k.Set(spec.ConditionJoined, spec.ConditionTrue, "Joined")
	if c := k.Get(spec.ConditionJoined); !c.Since.Equal(clock.at) {
		t.Errorf("got %+v", c)
	}
}

func TestSequenceNeverGoesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var last uint64
	for restart := range 4 {
		atLeast := uint64(0)
		if restart == 3 {
			// The file is lost, the last status is not.
			if err := os.Remove(filepath.Join(dir, "sequence.json")); err != nil {
				t.Fatal(err)
			}
			atLeast = last
		}
		next := agent.OpenSequence(dir, atLeast)
		for range 1500 {
			n, err := next()
			if err != nil {
				t.Fatal(err)
			}
			if n <= last {
				t.Fatalf("restart %d: got %d after %d", restart, n, last)
			}
			last = n
		}
	}
}

func TestClockJudge(t *testing.T) {
	t.Parallel()
	type status struct {
		peer     string
		sequence uint64
		// ahead is the peer's clock minus ours, late how long the status took.
		ahead, late time.Duration
	}
	tests := []struct {
		name   string
		heard  []status
		want   spec.ConditionStatus
		reason string
		text   string
	}{
		{"nobody", nil, spec.ConditionTrue, "NothingToCompare", ""},
		{"one status of unknown age", []status{{"a", 1, -time.Hour, 0}}, spec.ConditionTrue, "NothingToCompare", ""},
		{"in step", []status{{"a", 1, 0, 0}, {"a", 2, time.Second, 0}}, spec.ConditionTrue, "InStep", ""},
		{"a late status", []status{{"a", 1, 0, 0}, {"a", 2, 0, 100 * time.Second}, {"a", 3, 0, 0}}, spec.ConditionTrue, "InStep", ""},
		{"behind one", []status{{"a", 1, 0, 0}, {"a", 2, 5 * time.Minute, 0}}, spec.ConditionFalse, "OutOfStep", "5m0s behind that of the one other node"},
		{
			"one wrong peer of two",
			[]status{{"a", 1, 0, 0}, {"b", 1, 0, 0}, {"a", 2, 0, 0}, {"b", 2, 5 * time.Minute, 0}},
			spec.ConditionTrue, "InStep", "",
		},
		{
			"one wrong peer of two, the other way",
			[]status{{"a", 1, 0, 0}, {"b", 1, 0, 0}, {"a", 2, 0, 0}, {"b", 2, -5 * time.Minute, 0}},
			spec.ConditionTrue, "InStep", "",
		},
		{
			"ahead of both",
			[]status{{"a", 1, 0, 0}, {"b", 1, 0, 0}, {"a", 2, -5 * time.Minute, 0}, {"b", 2, -5 * time.Minute, time.Second}},
			spec.ConditionFalse, "OutOfStep", "ahead of that of the 2 other nodes",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c agent.Clock
			now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
			for _, h := range tt.heard {
				c.Hear(h.peer, h.sequence, now.Add(h.ahead-h.late), now)
			}
			status, reason, message := c.Judge()
			if status != tt.want || reason != tt.reason || !strings.Contains(message, tt.text) {
				t.Errorf("got %s %s %q, want %s %s with %q", status, reason, message, tt.want, tt.reason, tt.text)
			}
		})
	}
}
