package cold_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
)

func TestMove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writeBoth(old+"/a", "one")
	w.writeBoth(old+"/deep/er/b", "two")
	w.writeBoth(newer+"/c", "three")
	r := w.mustRound()
	if r.Directories != 1 || r.Bytes != 6 || len(r.Busy) > 0 {
		t.Errorf("a round: %+v", r)
	}
	w.checkMoved(old)
	for _, n := range w.nodes() {
		if got := n.read(t, old+"/a") + n.read(t, old+"/deep/er/b") + n.read(t, newer+"/c"); got != "onetwothree" {
			t.Errorf("%s: %q", n.name, got)
		}
		if n.linked(newer) {
			t.Errorf("%s: a new directory is moved", n.name)
		}
		s, err := n.State(t.Context())
		if err != nil || len(s.Linked) != 1 || string(s.Linked[0]) != old || len(s.Plain) != 1 || len(s.Due) != 0 || s.Kept != 0 {
			t.Errorf("%s: %+v, %v", n.name, s, err)
		}
	}
	w.steps = nil
	if r := w.mustRound(); r.Directories != 0 || len(w.steps) > 0 {
		t.Errorf("once more: %+v, %q", r, w.steps)
	}
}

// TestKilled kills one node's program, or both, before each step of a move in turn, while files are changed, and looks whether all of them are
// there in the end.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, variant := range []string{"one", "both", "power"} {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			seen := map[string]bool{}
			for at := 0; ; at++ {
				w := newWorld(t)
				if step := killed(t, w, at, variant); step == "" {
					break
				} else if _, name, _ := strings.Cut(step, ": "); true {
					seen[name] = true
				}
				if t.Failed() {
					t.Fatalf("killed at step %d: %q", at, w.steps)
				}
			}
			for _, step := range []string{"mirror", "sync copy", "place", "sync place", "link", "exchange", "sync tree", "remove file", "remove directory", "merge newer", "merge older", "sync merged"} {
				if !seen[step] {
					t.Errorf("nobody was killed at %q", step)
				}
			}
			t.Logf("%d steps of %d kinds", len(seen), len(seen))
		})
	}
}

// killed moves a directory with a kill before a step, and returns that step, "" when there are fewer.
func killed(t *testing.T, w *world, at int, variant string) string {
	t.Helper()
	want := map[string]bool{}
	both := func(path, content string) {
		w.writeBoth(path, content)
		want[content] = true
	}
	both(old+"/a", "first a")
	both(old+"/deep/b", "first b")
	// Somebody has the directory open and writes late, so that merging is among the steps.
	inside := map[string]*os.Root{}
	for _, n := range w.nodes() {
		root, err := os.OpenRoot(n.hot(old))
		must(t, err)
		defer func() { _ = root.Close() }()
		inside[n.name] = root
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	step, late := "", false
	w.killAt = at
	w.onKill = func() {
		step = w.steps[len(w.steps)-1]
		if variant != "one" {
			w.dead = map[string]bool{"hk1": true, "sg1": true}
			cancel()
		}
	}
	for _, n := range w.nodes() {
		n.SetStep(func(name string) error {
			err := w.step(n.name, name)
			if err == nil && name == "sync tree" {
				late = true
				content := "late of " + n.name
				want[content] = true
				must(t, inside[n.name].WriteFile("late-"+n.name, []byte(content), 0o644))
			}
			return err
		})
	}
	w.round(ctx)
	if step == "" {
		if !late {
			t.Fatal("nothing was exchanged")
		}
		return ""
	}
	// The power fails before the exchange is on the disk of the tree, but after what was written through the link is on that of the root.
	for _, n := range w.nodes() {
		if variant != "power" || step != n.name+": sync tree" {
			continue
		}
		n.write(t, old+"/through", "through the link of "+n.name)
		want["through the link of "+n.name] = true
		slots, err := filepath.Glob(n.hot(".atoll-cold/aside/*"))
		if err != nil || len(slots) != 1 {
			t.Fatalf("aside: %q, %v", slots, err)
		}
		must(t, cold.Exchange(n.hot(old), slots[0]))
	}
	for i, n := range w.nodes() {
		// Whatever has happened, everything is found under its name, and can be written to.
		if got := n.read(t, old+"/a"); got != "first a" {
			t.Errorf("%s: %q after %s", n.name, got, step)
		}
		content := fmt.Sprintf("new of %s", n.name)
		n.write(t, fmt.Sprintf("%s/new%d", old, i), content)
		want[content] = true
	}
	w.killAt = -1
	w.start()
	w.mustAgree()
	w.hotSync()
	w.mustRound()
	w.hotSync()
	w.mustRound()
	w.checkMoved(old)
	w.checkHas(want)
	for _, n := range w.nodes() {
		for _, path := range []string{"a", "deep/b", "new0", "new1"} {
			n.read(t, old+"/"+path)
		}
	}
	return step
}

// TestMergedIntoWhatIsThere is for a directory that the root has already, whatever the reason.
func TestMergedIntoWhatIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writeBoth(old+"/a", "in the tree")
	w.writeBoth(old+"/same", "same")
	for _, n := range w.nodes() {
		must(t, os.MkdirAll(n.root(old), 0o755))
		must(t, os.WriteFile(n.root(old+"/a"), []byte("in the root of "+n.name), 0o644))
		must(t, os.WriteFile(n.root(old+"/more"), []byte("more"), 0o644))
		must(t, os.WriteFile(n.root(old+"/same"), []byte("same"), 0o644))
	}
	early := today.AddDate(0, 0, -1)
	must(t, os.Chtimes(w.hk1.root(old+"/a"), early, early))
	w.mustRound()
	w.mustRound()
	w.checkMoved(old)
	w.checkHas(map[string]bool{"in the tree": true, "in the root of hk1": true, "in the root of sg1": true, "more": true, "same": true})
}

// Two copies whose dates differ by less than programs carry over are not two versions.
func TestDatesOfCopies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 4 {
		path := fmt.Sprintf("%s/%d", old, i)
		w.writeBoth(path, "the same")
		date := today.Add(time.Duration(i) * time.Hour)
		must(t, os.Chtimes(w.hk1.hot(path), date, date.Add(time.Duration(i%2)*930)))
		must(t, os.Chtimes(w.sg1.hot(path), date, date.Add(time.Duration(i/2)*600)))
	}
	w.mustRound()
	w.checkMoved(old)
	for i := range 4 {
		one, oneErr := os.Stat(w.hk1.hot(fmt.Sprintf("%s/%d", old, i)))
		other, otherErr := os.Stat(w.sg1.hot(fmt.Sprintf("%s/%d", old, i)))
		if must(t, errors.Join(oneErr, otherErr)); !one.ModTime().Equal(other.ModTime()) {
			t.Errorf("file %d is of %s and %s", i, one.ModTime(), other.ModTime())
		}
	}
	for _, n := range w.nodes() {
		if s, err := n.State(t.Context()); err != nil || s.Kept != 0 {
			t.Errorf("%s keeps %d, %v", n.name, s.Kept, err)
		}
	}
}

func TestChangedAfterwards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writeBoth(old+"/a", "first")
	w.writeBoth(old+"/gone", "gone")
	w.mustRound()
	w.hk1.write(t, old+"/a", "second")
	must(t, os.Chtimes(w.hk1.hot(old+"/a"), today, today.AddDate(1, 0, 0)))
	w.sg1.write(t, old+"/b", "of sg1")
	must(t, os.Remove(w.hk1.hot(old+"/gone")))
	r := w.mustRound()
	for _, n := range w.nodes() {
		if got := []string{n.read(t, old+"/a"), n.read(t, old+"/b"), n.read(t, old+"/gone")}; !slices.Equal(got, []string{"second", "of sg1", "gone"}) {
			t.Errorf("%s: %q", n.name, got)
		}
		if s, err := n.State(t.Context()); err != nil || s.Kept != 1 {
			t.Errorf("%s keeps %d versions, %v, after %+v", n.name, s.Kept, err, r)
		}
	}
	w.checkHas(map[string]bool{"first": true, "second": true})
	// Both change it: the newer gets the name on both, both keep the other.
	w.hk1.write(t, old+"/b", "of hk1 now")
	w.sg1.write(t, old+"/b", "of sg1 later")
	must(t, os.Chtimes(w.sg1.hot(old+"/b"), today, today.AddDate(2, 0, 0)))
	w.mustRound()
	for _, n := range w.nodes() {
		if got := n.read(t, old+"/b"); got != "of sg1 later" {
			t.Errorf("%s: %q", n.name, got)
		}
	}
	w.checkHas(map[string]bool{"of hk1 now": true, "of sg1 later": true})
	// What both have deleted is gone.
	for _, n := range w.nodes() {
		must(t, os.Remove(n.hot(old+"/gone")))
	}
	w.mustRound()
	for _, n := range w.nodes() {
		if _, err := os.Stat(n.hot(old + "/gone")); err == nil {
			t.Errorf("%s: what both have deleted is there again", n.name)
		}
	}
}

// TestOrphaned removes a link: what it has led to is counted.
func TestOrphaned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writeBoth(old+"/a", "one")
	w.mustRound()
	for _, n := range w.nodes() {
		for _, remove := range []bool{false, true} {
			want := 0
			if remove {
				must(t, os.Remove(n.hot(old)))
				want = 1
			}
			s, err := n.State(t.Context())
			if err != nil || s.Orphaned != want || len(s.Linked) != 1-want {
				t.Errorf("%s, link removed %t: %+v, %v", n.name, remove, s, err)
			}
		}
	}
}
