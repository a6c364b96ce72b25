//go:build unix

package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// rivals returns how many second identities a store reports.
func rivals(s *store.Store) int { return len(s.Snapshot().Conflicts) }

// TestRivalsSurviveARestart has a second identity knock once. It is a conflict until the operator decides, across restarts,
// and can be let in without knocking again.
func TestRivalsSurviveARestart(t *testing.T) {
	op := newOperator(t)
	dir := filepath.Join(t.TempDir(), "store")
	s := op.open(t, dir)
	ticket := op.ticket("n1", noon())
	first, second := op.use(ticket, noon()), op.use(ticket, noon())
	merge(t, s, []store.Record{op.cluster(at(1)), op.node("n1", at(1), "hk", trust.PublicKey{}), first.record()}, store.Accepted, store.Accepted, store.Accepted)
	merge(t, s, []store.Record{second.record()}, store.Refused)
	since := s.Snapshot().Conflicts
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = op.open(t, dir)
		if got := s.Snapshot().Conflicts; len(got) != 1 || got[0].Message != since[0].Message || !got[0].Since.Equal(since[0].Since) {
			t.Fatalf("after a restart the conflicts are %+v, before they were %+v", got, since)
		}
	}
	if len(s.Digest()) != 3 {
		t.Errorf("the store holds %v, want that a second identity is not spread", s.Digest())
	}
	merge(t, s, []store.Record{op.node("n1", at(2), "hk", second.id.Public())}, store.Accepted)
	if got := s.Snapshot().Members["n1"].Identity; got != second.id.Public() {
		t.Errorf("n1 is %s, want the identity that was pinned, %s", got, second.id.Public())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = op.open(t, dir)
	if rivals(s) != 0 || s.Snapshot().Members["n1"].Identity != second.id.Public() {
		t.Errorf("after the decision: conflicts %+v, members %v", s.Snapshot().Conflicts, s.Snapshot().Members)
	}
	merge(t, s, []store.Record{op.tombstone(spec.KindNode, "n1", at(3))}, store.Accepted)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s = op.open(t, dir); rivals(s) != 0 {
		t.Errorf("after the removal there are the conflicts %+v", s.Snapshot().Conflicts)
	}
}

// TestDamagedRivals has a note that cannot be read, and one of another cluster's. Neither keeps the store from opening.
func TestDamagedRivals(t *testing.T) {
	op := newOperator(t)
	for name, text := range map[string]string{"garbage": "{", "forged": `[{"proof":{},"rival":true}]`} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t, op)
			if err := os.WriteFile(filepath.Join(dir, "rivals"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			s := op.open(t, dir)
			if snap := s.Snapshot(); len(snap.Damaged) != 0 || len(snap.Conflicts) != 0 || len(snap.Nodes) == 0 {
				t.Errorf("got %+v", snap)
			}
		})
	}
}
