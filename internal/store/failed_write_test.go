//go:build unix

package store_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// TestFailedWrite lets a merge fail after each number of its files. Nothing of it may be acknowledged or visible; after a
// restart everything acknowledged before is there, or what supersedes it; and sending it again leads to the same store as if
// nothing had failed.
func TestFailedWrite(t *testing.T) {
	op := newOperator(t)
	n3 := op.machine("n3", noon())
	earlier := []store.Record{op.cluster(at(1)), op.node("n3", at(1), "hk", trust.PublicKey{})}
	change := []store.Record{
		op.tombstone(spec.KindNode, "n2", at(5)),
		op.cluster(at(6)),
		op.node("n1", at(7), "sg", trust.PublicKey{}),
		n3.record(), op.status(n3, 4, "4"),
		// Superseded by a record of the same merge, and told twice: neither may be taken for settled without the other.
		op.cluster(at(4)),
		op.node("n1", at(7), "sg", trust.PublicKey{}),
		// Known already, whatever happens.
		earlier[1],
	}
	open := func(dir string) *store.Store {
		s := op.open(t, dir)
		merge(t, s, earlier)
		return s
	}
	// The machine of n2 has a key of its own in each directory, so what is made once is copied by merging.
	seed := op.open(t, filled(t, op)).Records()
	fill := func() (dir string, s *store.Store) {
		dir = filepath.Join(t.TempDir(), "store")
		s = op.open(t, dir)
		merge(t, s, seed)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return dir, open(dir)
	}
	_, good := fill()
	before := good.Digest()
	merge(t, good, change)
	want := good.Digest()
	if len(before) == 0 || cmp.Equal(before, want) {
		t.Fatal("the merge changes nothing, so the test says nothing")
	}
	for n := range len(change) {
		dir, s := fill()
		s.FailNextSave(n)
		out := s.Merge(change)
		for i, o := range out {
			wanted := store.Refused
			if i == len(out)-1 {
				wanted = store.Unchanged
			}
			if o.Result != wanted {
				t.Errorf("%d files: record %d: %+v, want %s", n, i, o, wanted)
			}
		}
		if diff := cmp.Diff(before, s.Digest()); diff != "" {
			t.Errorf("%d files: the store shows what failed (-want +got):\n%s", n, diff)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = op.open(t, dir)
		for key, version := range before {
			now, there := s.Digest()[key]
			_, stays := want[key]
			if (there && version.Newer(now)) || (!there && stays) {
				t.Errorf("%d files: %s was acknowledged as %v, after the restart it is %v", n, key, version, now)
			}
		}
		if damaged := s.Snapshot().Damaged; len(damaged) > 0 {
			t.Errorf("%d files: damaged: %q", n, damaged)
		}
		for _, o := range s.Merge(change) {
			if !o.Settled() {
				t.Errorf("%d files: sent again: %+v", n, o)
			}
		}
		for range 2 {
			if diff := cmp.Diff(want, s.Digest()); diff != "" {
				t.Errorf("%d files: sent again (-want +got):\n%s", n, diff)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = op.open(t, dir)
		}
	}
}
