package cold_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
)

// What is written through links is brought over before its time, and nothing is moved. What dates do not tell is found where contents are compared.
func TestBring(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writeBoth(old+"/a", "one")
	w.writeBoth(old+"/b", "two")
	w.mustRound()
	w.checkMoved(old)
	w.writeBoth("2026/03/02/c", "not moved yet")
	w.sg1.write(t, old+"/late", "through the link")
	info, err := os.Stat(w.sg1.hot(old + "/b"))
	must(t, err)
	w.sg1.write(t, old+"/b", "rot")
	must(t, os.Chtimes(w.sg1.hot(old+"/b"), time.Time{}, info.ModTime()))
	for _, thorough := range []bool{false, true} {
		if r := cold.Bring(t.Context(), w.hk1, w.sg1, thorough); len(r.Problems) > 0 || r.Directories != 0 {
			t.Fatalf("thorough %t: %+v", thorough, r)
		}
		if got := w.hk1.read(t, old+"/late"); got != "through the link" {
			t.Errorf("thorough %t: got %q", thorough, got)
		}
		if equal := w.sum(w.hk1) == w.sum(w.sg1); equal != thorough {
			t.Errorf("thorough %t: the roots are equal: %t", thorough, equal)
		}
	}
	if w.hk1.linked("2026/03/02") || w.sg1.linked("2026/03/02") {
		t.Error("something is moved")
	}
	w.checkHas(map[string]bool{"one": true, "two": true, "rot": true})
}

// sum digests a root as a barrier does.
func (w *world) sum(n *node) digest.Sum {
	w.t.Helper()
	set, err := exclude.Parse(cold.Exclude())
	must(w.t, err)
	s, err := digest.New(n.cfg.Root, digest.Options{Permissions: 0o7777, Exclude: set}).Digest(w.t.Context(), nil)
	must(w.t, err)
	return s.Sum
}

func TestThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refused := func(root, says string) {
		t.Helper()
		var problem cold.Problem
		if err := cold.There(root, "uploads"); !errors.As(err, &problem) || !strings.Contains(string(problem), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	refused(w.hk1.cfg.Root, "was not used yet")
	refused(filepath.Join(w.hk1.cfg.Root, "gone"), "is not there")
	w.mustRound()
	if err := cold.There(w.hk1.cfg.Root, "uploads"); err != nil {
		t.Error(err)
	}
	must(t, cold.Release(w.hk1.cfg.Root))
	refused(w.hk1.cfg.Root, "is that of pair")
	for _, spoil := range []func(marker string) error{
		func(marker string) error { return os.Mkdir(marker, 0o700) },
		func(marker string) error { return os.Symlink("/etc/hostname", marker) },
	} {
		marker := filepath.Join(w.hk1.cfg.Root, cold.Dir, "pair")
		must(t, errors.Join(os.RemoveAll(marker), spoil(marker)))
		refused(w.hk1.cfg.Root, "is not what it was")
	}
}
