//go:build unix

package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// TestDamagedFiles spoils one file in every way; the others are loaded, and the spoiled one is kept aside and reported.
func TestDamagedFiles(t *testing.T) {
	op, stranger := newOperator(t), newOperator(t)
	foreign, err := os.ReadFile(filepath.Join(filled(t, stranger), "node.n1.json"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		spoil func(data []byte) []byte
		says  string
	}{
		{"empty", func([]byte) []byte { return nil }, "cannot be read"},
		{"cut short", func(data []byte) []byte { return data[:len(data)/2] }, "cannot be read"},
		{"zeros", func(data []byte) []byte { return make([]byte, len(data)) }, "cannot be read"},
		{"a bit changed", func(data []byte) []byte {
			return []byte(strings.Replace(string(data), `"payload":"ey`, `"payload":"ez`, 1))
		}, "signature"},
		{"another cluster's", func([]byte) []byte { return foreign }, "key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filled(t, op)
			path := filepath.Join(dir, "node.n1.json")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			spoiled := tt.spoil(data)
			if err := os.WriteFile(path, spoiled, 0o600); err != nil {
				t.Fatal(err)
			}
			look, err := store.Open(dir, op.root(), store.Options{Now: noon, ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			s := op.open(t, dir)
			for _, snap := range []*store.Snapshot{look.Snapshot(), s.Snapshot()} {
				if len(snap.Damaged) != 1 || !strings.HasPrefix(snap.Damaged[0], "node.n1.json: ") || !strings.Contains(snap.Damaged[0], tt.says) {
					t.Errorf("damaged = %q, want node.n1.json with %q", snap.Damaged, tt.says)
				}
				if _, ok := snap.Nodes["n2"]; !ok || len(snap.Nodes) != 1 {
					t.Errorf("nodes = %v, want n2 alone", snap.Nodes)
				}
			}
			kept, err := os.ReadFile(filepath.Join(dir, "quarantine", "node.n1.json"))
			if err != nil || string(kept) != string(spoiled) {
				t.Errorf("the file in quarantine differs from the damaged one (%v)", err)
			}
			merge(t, s, []store.Record{op.node("n1", at(1), "hk", trust.PublicKey{})}, store.Accepted)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if got := op.open(t, dir).Snapshot(); len(got.Damaged) != 0 || len(got.Nodes) != 2 {
				t.Errorf("after repair: damaged %q, nodes %v", got.Damaged, got.Nodes)
			}
		})
	}
}

// TestRenamedFile has a file under the name of another record, as a careless restore would leave it.
func TestRenamedFile(t *testing.T) {
	op := newOperator(t)
	dir := filled(t, op)
	if err := os.Rename(filepath.Join(dir, "node.n1.json"), filepath.Join(dir, "node.n7.json")); err != nil {
		t.Fatal(err)
	}
	s := op.open(t, dir)
	if got := s.Snapshot().Damaged; len(got) != 1 || !strings.Contains(got[0], "belongs into node.n1.json") {
		t.Errorf("damaged = %q, want one that says where it belongs", got)
	}
}

// TestQuarantineKeepsAll damages the same file twice.
func TestQuarantineKeepsAll(t *testing.T) {
	op := newOperator(t)
	dir := filled(t, op)
	for range 2 {
		if err := os.WriteFile(filepath.Join(dir, "node.n1.json"), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := op.open(t, dir).Close(); err != nil {
			t.Fatal(err)
		}
	}
	found, err := os.ReadDir(filepath.Join(dir, "quarantine"))
	if err != nil || len(found) != 2 {
		t.Errorf("quarantine holds %v (%v), want both", found, err)
	}
}

func TestOneWriter(t *testing.T) {
	op := newOperator(t)
	dir := filled(t, op)
	s := op.open(t, dir)
	if _, err := store.Open(dir, op.root(), store.Options{}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("error = %v, want one about the other process", err)
	}
	look, err := store.Open(dir, op.root(), store.Options{ReadOnly: true})
	if err != nil {
		t.Fatalf("open for reading beside the writer: %v", err)
	}
	if diff := cmp.Diff(s.Digest(), look.Digest()); diff != "" {
		t.Errorf("the reader sees something else (-writer +reader):\n%s", diff)
	}
	if out := merge(t, look, []store.Record{op.cluster(at(9))}, store.Refused); out[0].Reason != trust.ReasonStorage {
		t.Errorf("outcome = %+v, want Storage", out[0])
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	op.open(t, dir)
}

func TestReadOnlyNeedsNothing(t *testing.T) {
	op := newOperator(t)
	dir := filepath.Join(t.TempDir(), "none")
	s, err := store.Open(dir, op.root(), store.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Digest()) != 0 {
		t.Error("an absent store is not empty")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("reading made the directory (%v)", err)
	}
}

func TestOnlyTheOwnerReads(t *testing.T) {
	op := newOperator(t)
	dir := filled(t, op)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if path != dir && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestHalfWrittenFiles leaves what a process that died left: a temporary file, and a record that its tombstone supersedes.
func TestHalfWrittenFiles(t *testing.T) {
	op := newOperator(t)
	dir := filled(t, op)
	old, err := os.ReadFile(filepath.Join(dir, "node.n1.json"))
	if err != nil {
		t.Fatal(err)
	}
	s := op.open(t, dir)
	merge(t, s, []store.Record{op.tombstone(spec.KindNode, "n1", at(5))}, store.Accepted)
	want := s.Digest()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"node.n1.json", ".node.n2.json123456"} {
		if err := os.WriteFile(filepath.Join(dir, name), old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = op.open(t, dir)
	if diff := cmp.Diff(want, s.Digest()); diff != "" || len(s.Snapshot().Damaged) != 0 {
		t.Errorf("digest (-want +got):\n%s\ndamaged: %q", diff, s.Snapshot().Damaged)
	}
	for _, name := range []string{"node.n1.json", ".node.n2.json123456"} {
		if _, err := os.Stat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is still there (%v)", name, err)
		}
	}
}

// TestFullDisk takes the directory away under the store: nothing is accepted, and nothing shows that is not on disk.
func TestFullDisk(t *testing.T) {
	op := newOperator(t)
	dir := filled(t, op)
	s := op.open(t, dir)
	before := s.Digest()
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	out := merge(t, s, []store.Record{op.node("n3", at(1), "hk", trust.PublicKey{})}, store.Refused)
	if out[0].Reason != trust.ReasonStorage {
		t.Errorf("outcome = %+v, want Storage", out[0])
	}
	if diff := cmp.Diff(before, s.Digest()); diff != "" {
		t.Errorf("the store shows what is not on disk:\n%s", diff)
	}
	if err := os.Rename(dir+".gone", dir); err != nil {
		t.Fatal(err)
	}
	merge(t, s, []store.Record{op.node("n3", at(1), "hk", trust.PublicKey{})}, store.Accepted)
}

// TestChangedLosesNothing has one writer, and readers who wait for changes as the agent does: each must see the last.
func TestChangedLosesNothing(t *testing.T) {
	const changes = 200
	op := newOperator(t)
	s := op.memory()
	var recs []store.Record
	for i := range changes {
		recs = append(recs, op.cluster(at(i+1)))
	}
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				changed := s.Changed()
				if s.Snapshot().Generations[ref(spec.KindCluster, clusterName)] == at(changes) {
					return
				}
				select {
				case <-changed:
				case <-t.Context().Done():
					t.Error("a change was lost")
					return
				}
			}
		})
	}
	for _, r := range recs {
		s.Merge([]store.Record{r})
	}
	readers.Wait()
}

// filled returns the directory of a closed store with two nodes, one of which has joined and reported.
func filled(t *testing.T, op operator) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	s, err := store.Open(dir, op.root(), store.Options{Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	m := op.machine("n2", noon())
	recs := []store.Record{
		op.node("n1", at(1), "hk", trust.PublicKey{}), op.node("n2", at(1), "sg", trust.PublicKey{}),
		m.record(), op.status(m, 1, "1"),
	}
	for i, o := range s.Merge(recs) {
		if o.Result != store.Accepted {
			t.Fatalf("record %d: %+v", i, o)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func BenchmarkMerge(b *testing.B) {
	op := newOperator(b)
	var recs []store.Record
	for i := range 1000 {
		recs = append(recs, op.link(fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i), at(1), 1400))
	}
	b.Run("memory", func(b *testing.B) {
		for b.Loop() {
			op.memory().Merge(recs)
		}
	})
	b.Run("disk", func(b *testing.B) {
		dir, run := b.TempDir(), 0
		for b.Loop() {
			run++
			s, err := store.Open(filepath.Join(dir, fmt.Sprint(run)), op.root(), store.Options{Now: noon})
			if err != nil {
				b.Fatal(err)
			}
			s.Merge(recs)
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		s := op.memory()
		s.Merge(recs)
		for b.Loop() {
			s.Merge(recs)
		}
	})
	b.Run("one of 1000", func(b *testing.B) {
		s := op.memory()
		s.Merge(recs)
		generation := 2
		for b.Loop() {
			b.StopTimer()
			r := op.link("a1", "b1", at(generation), 1400)
			generation++
			b.StartTimer()
			s.Merge([]store.Record{r})
			s.Snapshot()
		}
	})
}
