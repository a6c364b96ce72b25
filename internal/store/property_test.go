package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// history draws what an operator and three nodes could have signed: changes, conflicting changes, removals, nodes made
// again under the same name with new tickets, late tickets, pins, reports. Two things depend on the order and are therefore
// not drawn: who of two living identities of one name is first, which the operator decides; and a pin that a later object
// of the same life takes back, which the provider never does.
func history(t *rapid.T, op operator) []store.Record {
	recs := []store.Record{op.cluster(at(1))}
	if rapid.Bool().Draw(t, "cluster changed") {
		recs = append(recs, op.cluster(at(2)))
	}
	for i := range 3 {
		name := nodeName(i)
		clock := rapid.IntRange(-5000, 0).Draw(t, "begin")
		lives := rapid.IntRange(1, 3).Draw(t, "lives")
		for life := range lives {
			clock += rapid.IntRange(1, 1000).Draw(t, "pause")
			issued := noon().Add(time.Duration(clock) * time.Millisecond)
			if late := rapid.IntRange(0, 3).Draw(t, "late") == 0; late && life == 0 {
				issued = issued.Add(-24 * time.Hour)
			}
			m := op.machine(name, issued)
			recs = append(recs, m.record())
			pin := trust.PublicKey{}
			for range rapid.IntRange(0, 2).Draw(t, "changes") {
				clock += rapid.IntRange(1, 1000).Draw(t, "pause")
				if rapid.Bool().Draw(t, "pinned") {
					pin = m.id.Public()
				}
				recs = append(recs, op.node(name, at(clock), rapid.SampledFrom([]string{"hk", "sg"}).Draw(t, "site"), pin))
				if rapid.IntRange(0, 4).Draw(t, "twice") == 0 {
					recs = append(recs, op.node(name, at(clock), "fra", pin))
				}
			}
			for sequence := range rapid.IntRange(0, 3).Draw(t, "reports") {
				recs = append(recs, op.status(m, uint64(sequence+1), fmt.Sprint(life)))
			}
			if life < lives-1 || rapid.Bool().Draw(t, "removed") {
				clock += rapid.IntRange(1, 1000).Draw(t, "pause")
				recs = append(recs, op.tombstone(spec.KindNode, name, at(clock)))
			}
		}
	}
	for range rapid.IntRange(0, 3).Draw(t, "links") {
		generation := at(rapid.IntRange(1, 3).Draw(t, "generation"))
		if rapid.IntRange(0, 2).Draw(t, "ended") == 0 {
			recs = append(recs, op.tombstone(spec.KindLink, "n0.n1", generation))
			continue
		}
		recs = append(recs, op.link("n0", "n1", generation, 1000+rapid.IntRange(0, 3).Draw(t, "mtu")))
	}
	return recs
}

// shuffled returns the records in an order that is drawn.
func shuffled(t *rapid.T, recs []store.Record) []store.Record {
	order := make([]int, len(recs))
	for i := range order {
		order[i] = i
	}
	out := make([]store.Record, len(recs))
	for i, j := range rapid.Permutation(order).Draw(t, "order") {
		out[i] = recs[j]
	}
	return out
}

// mergeShuffled merges the records in an order and in portions that are drawn.
func mergeShuffled(t *rapid.T, s *store.Store, recs []store.Record) {
	order := shuffled(t, recs)
	for len(order) > 0 {
		n := rapid.IntRange(1, len(order)).Draw(t, "portion")
		s.Merge(order[:n])
		order = order[n:]
	}
}

// exchange lets two stores compare digests once in each direction, as agents do, and tells whether anything moved.
func exchange(a, b *store.Store) bool {
	before := []store.Digest{a.Digest(), b.Digest()}
	newer, wanted := b.Newer(a.Digest())
	a.Merge(newer)
	b.Merge(a.Get(wanted))
	return !cmp.Equal(before, []store.Digest{a.Digest(), b.Digest()})
}

// TestMergeConverges: whatever the order and the portions in which stores see records, and whoever sees which, once they
// have exchanged what differs they hold the same, which is what one store holds that saw everything in a row; and nothing
// that any of them has seen changes them any more.
//
// A record that depends on another (a status on its node's proof, a late proof on its pin) is refused when it comes first,
// and comes again in practice as long as its author lives; here by merging everything three times into one of the stores.
func TestMergeConverges(t *testing.T) {
	op := newOperator(t)
	rapid.Check(t, func(t *rapid.T) {
		op := operator{t, op.key}
		recs := history(t, op)
		stores := []*store.Store{op.memory(), op.memory(), op.memory()}
		for _, s := range stores[1:] {
			part := shuffled(t, recs)
			mergeShuffled(t, s, part[:rapid.IntRange(0, len(part)).Draw(t, "seen")])
		}
		for range 3 {
			mergeShuffled(t, stores[0], recs)
		}
		settle(t, stores)
		for _, s := range stores[1:] {
			if diff := cmp.Diff(stores[0].Digest(), s.Digest()); diff != "" {
				t.Fatalf("the stores differ:\n%s", diff)
			}
		}
		reference := op.memory()
		for range 3 {
			reference.Merge(recs)
		}
		if diff := cmp.Diff(reference.Digest(), stores[0].Digest()); diff != "" {
			t.Fatalf("not what a store holds that saw all in a row (-want +got):\n%s", diff)
		}
		for _, s := range stores {
			mergeShuffled(t, s, recs)
			if diff := cmp.Diff(reference.Digest(), s.Digest()); diff != "" {
				t.Fatalf("merging the same again changed a store (-before +after):\n%s", diff)
			}
		}
	})
}

// settle lets every pair exchange until nothing moves.
func settle(t *rapid.T, stores []*store.Store) {
	for range 10 {
		moved := false
		for i, a := range stores {
			for _, b := range stores[i+1:] {
				moved = exchange(a, b) || moved
			}
		}
		if !moved {
			return
		}
	}
	t.Fatalf("the stores do not come to rest")
}

// TestObjectsCommute: for objects alone no exchange is needed: any order and any portions give the same store at once.
func TestObjectsCommute(t *testing.T) {
	op := newOperator(t)
	rapid.Check(t, func(t *rapid.T) {
		op := operator{t, op.key}
		var objects []store.Record
		for _, r := range history(t, op) {
			if r.Object != nil {
				objects = append(objects, r)
			}
		}
		a, b := op.memory(), op.memory()
		mergeShuffled(t, a, objects)
		mergeShuffled(t, b, objects)
		mergeShuffled(t, b, objects)
		if diff := cmp.Diff(a.Digest(), b.Digest()); diff != "" {
			t.Fatalf("the stores differ:\n%s", diff)
		}
		if diff := cmp.Diff(a.Snapshot().Generations, b.Snapshot().Generations); diff != "" {
			t.Fatalf("the snapshots differ:\n%s", diff)
		}
	})
}

// TestDiskIsTheSame: a store that is opened again holds what it held.
func TestDiskIsTheSame(t *testing.T) {
	op := newOperator(t)
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		op := operator{rt, op.key}
		run++
		path := fmt.Sprintf("%s/%d", dir, run)
		s, err := store.Open(path, op.root(), store.Options{Now: noon})
		if err != nil {
			rt.Fatalf("open: %v", err)
		}
		for range 2 {
			s.Merge(shuffled(rt, history(rt, op)))
		}
		want := s.Digest()
		if err := s.Close(); err != nil {
			rt.Fatalf("close: %v", err)
		}
		s, err = store.Open(path, op.root(), store.Options{Now: noon})
		if err != nil {
			rt.Fatalf("open again: %v", err)
		}
		defer func() { _ = s.Close() }()
		if diff := cmp.Diff(want, s.Digest()); diff != "" {
			rt.Fatalf("after opening again (-want +got):\n%s", diff)
		}
		if got := s.Snapshot().Damaged; len(got) != 0 {
			rt.Fatalf("damaged: %v", got)
		}
	})
}
