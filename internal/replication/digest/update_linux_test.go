package digest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
)

// TestUpdate changes random trees step by step, tells what a watcher would, and wants each Update to be what a tree that
// knows nothing finds.
func TestUpdate(t *testing.T) {
	base, tries := t.TempDir(), 0
	o := digest.Options{Permissions: 0o7777, Now: func() time.Time { return time.Now().Add(time.Minute) }}
	rapid.Check(t, func(t *rapid.T) {
		tries++
		root := filepath.Join(base, strconv.Itoa(tries))
		if err := os.MkdirAll(root, 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(root) //nolint:errcheck // the test's own directory is removed after it
		tree := digest.New(root, o)
		directory := rapid.StringMatching(`[ab](/[ab]){0,2}`)
		for step := range rapid.IntRange(1, 12).Draw(t, "steps") {
			for range rapid.IntRange(1, 4).Draw(t, "changes") {
				path := directory.Draw(t, "directory")
				full := root + "/" + path
				_, err := os.Lstat(full)
				there := err == nil
				switch change := rapid.SampledFrom([]string{"make", "write", "remove", "move", "mode", "fifo"}).Draw(t, "change"); {
				case change == "make" && !there:
					err = os.MkdirAll(full, 0o755)
					// The watcher sees the first new directory of the way, and looks at everything in it.
					tree.Changed(strings.SplitN(path, "/", 2)[0], true)
				case change == "write" && there:
					name := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name")
					err = os.WriteFile(full+"/"+name, fmt.Appendf(nil, "%d", step), 0o644)
					tree.Changed(path+"/"+name, false)
				case change == "remove" && there:
					err = os.RemoveAll(full)
					tree.Changed(path, false)
				case change == "move" && there:
					to := directory.Draw(t, "to")
					if err = os.Rename(full, root+"/"+to); err != nil {
						err = nil // below itself, or there is something
						break
					}
					tree.Changed(path, false)
					tree.Changed(to, true)
				case change == "mode" && there:
					err = os.Chmod(full, os.FileMode(0o700+step))
					tree.Changed(path, false)
				case change == "fifo" && there:
					if unix.Mkfifo(full+"/fifo", 0o600) == nil {
						tree.Changed(path+"/fifo", false)
					}
				default:
					err = nil
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			got, err := tree.Update(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			want, err := digest.New(root, o).Digest(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got.Sum != want.Sum || got.Totals != want.Totals || got.SkippedCount != want.SkippedCount {
				t.Fatalf("step %d: equal %t, totals %+v and %+v, skipped %d and %d", step, got.Sum == want.Sum, got.Totals, want.Totals, got.SkippedCount, want.SkippedCount)
			}
		}
	})
}

// TestUpdateEntersLittle wants an Update to look at no more than what was told, and a Digest at everything.
func TestUpdateEntersLittle(t *testing.T) {
	a := t.TempDir()
	many(t, a, 1000)
	tree := digest.New(a, all)
	first := take(t, tree)
	update := func() (*digest.Snapshot, digest.Totals) {
		var seen digest.Progress
		s, err := tree.Update(t.Context(), func(p digest.Progress) { seen = p })
		if err != nil {
			t.Fatal(err)
		}
		return s, seen.Seen
	}
	if s, seen := update(); s.Sum != first.Sum || s.Totals != first.Totals || seen.Files != 0 {
		t.Errorf("without a change: equal %t, %+v seen", s.Sum == first.Sum, seen)
	}
	plant(t, a, map[string]string{"0/3/new": "x"})
	if s, _ := update(); s.Sum != first.Sum {
		t.Error("an Update has seen what it was not told of")
	}
	tree.Changed("0/3/new", false)
	s, seen := update()
	if s.Sum == first.Sum || seen.Files != 101 || s.Totals.Files != 1001 {
		t.Errorf("with one change: found %t, %+v seen, %+v there", s.Sum != first.Sum, seen, s.Totals)
	}
	if d := take(t, tree); d.Sum != s.Sum {
		t.Error("Digest and Update differ")
	}
	tree.ChangedAll()
	if _, seen := update(); seen.Files != 1001 {
		t.Errorf("after ChangedAll: %+v seen", seen)
	}
}

// TestUpdateAfterFailure wants that what an Update was told of is not lost when it does not come to its end.
func TestUpdateAfterFailure(t *testing.T) {
	a := t.TempDir()
	plant(t, a, usual())
	tree := digest.New(a, all)
	first := take(t, tree)
	plant(t, a, map[string]string{"b/new": "x"})
	tree.Changed("b/new", false)
	if err := os.Rename(a, a+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Update(t.Context(), nil); err == nil {
		t.Fatal("a tree that is not there has a digest")
	}
	if err := os.Rename(a+".away", a); err != nil {
		t.Fatal(err)
	}
	if s, err := tree.Update(t.Context(), nil); err != nil || s.Sum == first.Sum {
		t.Errorf("the change before the failure is forgotten: %v", err)
	}
}
