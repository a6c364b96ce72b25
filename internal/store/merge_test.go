package store_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

func TestGenerations(t *testing.T) {
	op := newOperator(t)
	s := op.memory()
	none := trust.PublicKey{}
	first := op.node("n1", at(5), "hk", none)
	merge(t, s, []store.Record{first}, store.Accepted)
	merge(t, s, []store.Record{first}, store.Unchanged)
	out := merge(t, s, []store.Record{op.node("n1", at(4), "sg", none)}, store.Older)
	if !strings.Contains(out[0].Message, "another run changed it") {
		t.Errorf("message %q does not say that another run changed it", out[0].Message)
	}
	if got := s.Snapshot().Nodes["n1"].Site; got != "hk" {
		t.Errorf("site = %q, want the newer one's", got)
	}
	merge(t, s, []store.Record{op.node("n1", at(6), "sg", none)}, store.Accepted)
	if got := s.Snapshot().Generations[ref(spec.KindNode, "n1")]; got != at(6) {
		t.Errorf("generation = %d, want %d", got, at(6))
	}
}

// TestTwoRunsAtOnce signs two contents with one generation: all stores keep the same one and say so until the operator
// signs again.
func TestTwoRunsAtOnce(t *testing.T) {
	op := newOperator(t)
	a, b := op.node("n1", at(5), "hk", trust.PublicKey{}), op.node("n1", at(5), "sg", trust.PublicKey{})
	var sites []string
	for _, order := range [][]store.Record{{a, b}, {b, a}} {
		dir := t.TempDir()
		s := op.open(t, dir)
		merge(t, s, order[:1], store.Accepted)
		out := merge(t, s, order[1:], store.Conflict)
		if !strings.Contains(out[0].Message, "two runs") {
			t.Errorf("message %q does not say what happened", out[0].Message)
		}
		merge(t, s, order[1:2])
		conflicts := s.Snapshot().Conflicts
		if len(conflicts) != 1 || conflicts[0].Ref != ref(spec.KindNode, "n1") || !conflicts[0].Since.Equal(noon()) {
			t.Errorf("conflicts = %+v, want one of node/n1 since noon", conflicts)
		}
		sites = append(sites, s.Snapshot().Nodes["n1"].Site)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = op.open(t, dir)
		if diff := cmp.Diff(conflicts, s.Snapshot().Conflicts); diff != "" {
			t.Errorf("conflicts after a restart (-want +got):\n%s", diff)
		}
		merge(t, s, []store.Record{op.node("n1", at(6), "hk", trust.PublicKey{})}, store.Accepted)
		if got := s.Snapshot().Conflicts; len(got) != 0 {
			t.Errorf("conflicts = %+v after the operator signed again, want none", got)
		}
	}
	if sites[0] != sites[1] {
		t.Errorf("the stores kept %q", sites)
	}
}

// TestOfferThatComesTooLate offers another content, a removal and a return under a generation that is taken: what was there
// stays, whichever digest is the larger one, and there is nothing to decide.
func TestOfferThatComesTooLate(t *testing.T) {
	op := newOperator(t)
	a, b := op.node("n1", at(5), "hk", trust.PublicKey{}), op.node("n1", at(5), "sg", trust.PublicKey{})
	tomb := op.tombstone(spec.KindNode, "n1", at(5))
	for _, order := range [][]store.Record{{a, b, tomb}, {b, tomb, a}, {tomb, a, b}} {
		s := op.memory()
		merge(t, s, order[:1], store.Accepted)
		before := s.Digest()
		for _, late := range order[1:] {
			if out := s.Offer([]store.Record{late}); out[0].Result != store.Conflict || !strings.Contains(out[0].Message, "another run was faster") {
				t.Errorf("offered too late: %+v, want a conflict that says so", out[0])
			}
		}
		if diff := cmp.Diff(before, s.Digest()); diff != "" || len(s.Snapshot().Conflicts) != 0 {
			t.Errorf("what came too late changed something (-want +got):\n%s\nconflicts: %+v", diff, s.Snapshot().Conflicts)
		}
		if out := s.Offer(order[:1]); out[0].Result != store.Unchanged {
			t.Errorf("the first one again: %+v, want Unchanged", out[0])
		}
		if out := s.Offer([]store.Record{op.node("n1", at(6), "sg", trust.PublicKey{})}); out[0].Result != store.Accepted {
			t.Errorf("a higher generation: %+v, want Accepted", out[0])
		}
		if out := s.Offer([]store.Record{op.node("n1", at(5), "fra", trust.PublicKey{})}); out[0].Result != store.Older {
			t.Errorf("one that is older by now: %+v, want Older", out[0])
		}
	}
}

// TestConflictWakesOnce has the loser of a conflict come again and again: that is no news.
func TestConflictWakesOnce(t *testing.T) {
	op := newOperator(t)
	s := op.memory()
	a, b := op.node("n1", at(5), "hk", trust.PublicKey{}), op.node("n1", at(5), "sg", trust.PublicKey{})
	tomb := op.tombstone(spec.KindNode, "n1", at(5))
	ticket := op.ticket("n2", noon())
	merge(t, s, []store.Record{a, b, tomb, op.use(ticket, noon()).record()})
	loser := op.use(ticket, noon())
	merge(t, s, []store.Record{a, b, tomb, loser.record()})
	changed := s.Changed()
	for range 3 {
		merge(t, s, []store.Record{a, b, tomb, loser.record()})
	}
	select {
	case <-changed:
		t.Error("merging the same again counts as a change")
	default:
	}
}

func TestRemovalAndReturn(t *testing.T) {
	op := newOperator(t)
	dir := t.TempDir()
	s := op.open(t, dir)
	none := trust.PublicKey{}
	old := op.machine("n1", noon().Add(-time.Minute))
	merge(t, s, []store.Record{op.node("n1", at(-60000), "hk", none), old.record(), op.status(old, 1, "1")},
		store.Accepted, store.Accepted, store.Accepted)

	merge(t, s, []store.Record{op.tombstone(spec.KindNode, "n1", at(0))}, store.Accepted)
	snap := s.Snapshot()
	if len(snap.Nodes)+len(snap.Members)+len(snap.Statuses) != 0 {
		t.Errorf("something of the removed node is left: %+v", snap)
	}
	if got := snap.Tombstones[ref(spec.KindNode, "n1")].Generation; got != at(0) {
		t.Errorf("tombstone's generation = %d, want %d", got, at(0))
	}
	out := merge(t, s, []store.Record{old.record(), op.node("n1", at(-1), "hk", none), op.status(old, 2, "1")}, store.Refused, store.Older, store.Refused)
	if out[0].Reason != trust.ReasonRevoked || out[2].Reason != trust.ReasonUnknownMember {
		t.Errorf("reasons = %q, %q, want Revoked and UnknownMember", out[0].Reason, out[2].Reason)
	}
	if !strings.Contains(out[1].Message, "removed") {
		t.Errorf("message %q does not say that the node was removed", out[1].Message)
	}

	again := op.machine("n1", noon().Add(time.Minute))
	merge(t, s, []store.Record{op.node("n1", at(60000), "sg", none), again.record(), op.status(again, 1, "1")},
		store.Accepted, store.Accepted, store.Accepted)
	out = merge(t, s, []store.Record{old.record(), op.tombstone(spec.KindNode, "n1", at(0))}, store.Refused, store.Unchanged)
	if out[0].Reason != trust.ReasonReplayed || !strings.Contains(out[0].Message, "new first-boot data") {
		t.Errorf("the old ticket: %+v, want Replayed with the remedy", out[0])
	}
	want := s.Digest()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = op.open(t, dir)
	if diff := cmp.Diff(want, s.Digest()); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	if got := s.Snapshot().Members["n1"].Identity; got != again.id.Public() {
		t.Errorf("member = %s, want the new identity", got)
	}
	if got := s.Snapshot().Tombstones; len(got) != 0 {
		t.Errorf("tombstones = %v, want none while the node lives", got)
	}
}

// TestRemovalBeatsAFastClock issues the ticket with a clock that is five minutes fast and removes the node with one that is
// right: the tombstone, signed before the ticket by the clocks, revokes it all the same.
func TestRemovalBeatsAFastClock(t *testing.T) {
	op := newOperator(t)
	s := op.memory()
	fast := noon().Add(5 * time.Minute)
	m := op.machine("n1", fast)
	merge(t, s, []store.Record{op.node("n1", uint64(fast.UnixMilli()), "hk", trust.PublicKey{}), m.record()}, store.Accepted, store.Accepted)
	tomb := spec.NewTombstone(clusterName, ref(spec.KindNode, "n1"), uint64(fast.UnixMilli())+1, at(1000))
	merge(t, s, []store.Record{op.sign(tomb)}, store.Accepted)
	if out := merge(t, s, []store.Record{m.record()}, store.Refused); out[0].Reason != trust.ReasonRevoked {
		t.Errorf("outcome = %+v, want Revoked", out[0])
	}
}

func TestLinksEnd(t *testing.T) {
	op := newOperator(t)
	s := op.memory()
	merge(t, s, []store.Record{op.link("n1", "n2", at(1), 1400)}, store.Accepted)
	merge(t, s, []store.Record{op.tombstone(spec.KindLink, "n1.n2", at(2))}, store.Accepted)
	if got := s.Snapshot().Links; len(got) != 0 {
		t.Errorf("links = %v, want none", got)
	}
	merge(t, s, []store.Record{op.link("n1", "n2", at(1), 1400)}, store.Older)
	merge(t, s, []store.Record{op.link("n2", "n1", at(3), 1300)}, store.Accepted)
	if got := s.Snapshot().Links["n1.n2"].Settings.MTU; got != 1300 {
		t.Errorf("MTU = %d, want 1300", got)
	}
}

func TestStatuses(t *testing.T) {
	op := newOperator(t)
	s := op.memory()
	m, other := op.machine("n1", noon()), op.machine("n2", noon())
	out := merge(t, s, []store.Record{op.status(m, 1, "1")}, store.Refused)
	if out[0].Reason != trust.ReasonUnknownMember {
		t.Errorf("reason = %q, want UnknownMember", out[0].Reason)
	}
	// In one merge the proof counts first, whatever the order.
	merge(t, s, []store.Record{op.status(m, 2, "2"), m.record()}, store.Accepted, store.Accepted)
	merge(t, s, []store.Record{op.status(m, 1, "1")}, store.Older)
	merge(t, s, []store.Record{op.status(m, 2, "2")}, store.Unchanged)
	forged := op.status(machine{name: "n1", id: other.id}, 9, "9")
	if out := merge(t, s, []store.Record{forged}, store.Refused); out[0].Reason != trust.ReasonBadSignature {
		t.Errorf("reason = %q, want BadSignature", out[0].Reason)
	}
	if got := s.Snapshot(); got.Statuses["n1"].Version != "2" || !got.Received["n1"].Equal(noon()) {
		t.Errorf("status = %+v received %s, want version 2 at noon", got.Statuses["n1"], got.Received["n1"])
	}
}

func TestRefusedRecords(t *testing.T) {
	op, stranger := newOperator(t), newOperator(t)
	newer, err := trust.SignStatus(op.machine("n1", noon()).id, spec.Status{Cluster: clusterName, Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	newer.Payload = base64.StdEncoding.EncodeToString([]byte(`{"wire":2,"node":"n1","flavour":"new"}`))
	s := op.memory()
	good := op.node("n1", at(1), "hk", trust.PublicKey{})
	m := op.machine("n1", noon())
	tests := []struct {
		name   string
		record store.Record
		want   trust.Reason
	}{
		{"empty", store.Record{}, trust.ReasonMalformed},
		{"two at once", store.Record{Object: good.Object, Proof: &m.proof}, trust.ReasonMalformed},
		{"another signing key", stranger.node("n1", at(1), "hk", trust.PublicKey{}), trust.ReasonBadSignature},
		{"a proof as object", store.Record{Object: &m.proof.Ticket}, trust.ReasonMalformed},
		{"of a newer Atoll", store.StatusRecord(newer), trust.ReasonUnknownWireVersion},
		{"a status that is none", store.Record{Status: good.Object}, trust.ReasonMalformed},
		{"an expired proof", op.machine("n1", noon().Add(-24*time.Hour)).record(), trust.ReasonExpired},
		{"a proof from the future", op.machine("n1", noon().Add(24*time.Hour)).record(), trust.ReasonNotYetValid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := merge(t, s, []store.Record{tt.record}, store.Refused)
			if out[0].Reason != tt.want || out[0].Message == "" {
				t.Errorf("outcome = %+v, want reason %q and a message", out[0], tt.want)
			}
		})
	}
	if got := len(s.Digest()); got != 0 {
		t.Errorf("%d records were taken", got)
	}
}
