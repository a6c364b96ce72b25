package snapshot_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
)

const id = "20260301-120000-abcd"

// world is a tree with a bit of everything, and where its snapshots are.
type world struct {
	*snapshot.Store
	t    *testing.T
	live *digest.Tree
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	leaveOut, err := exclude.Parse([]string{"/.atoll", "*.tmp"})
	if err != nil {
		t.Fatal(err)
	}
	options := digest.Options{Exclude: leaveOut, Permissions: 0o7777, Xattrs: true, ACLs: true}
	w := &world{t: t, Store: &snapshot.Store{
		Pair: "app", Node: "hk1", Tree: filepath.Join(dir, "tree"), Dir: filepath.Join(dir, "snapshots"), Aside: ".atoll/replaced/app", Options: options, Now: time.Now,
	}}
	for _, d := range []string{".atoll", "code/lib", "data/\xff\n", "empty"} {
		if err := os.MkdirAll(filepath.Join(w.Tree, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.write("code/version", "1")
	w.write("code/lib/old.php", "old")
	w.write("data/\xff\n/name", "bytes")
	w.write("data/half.tmp", "this node's own")
	w.must(os.Chmod(w.file("code/lib"), 0o2750))
	w.must(os.Chmod(w.file("code/version"), 0o604))
	w.must(os.Link(w.file("code/version"), w.file("code/same")))
	w.must(os.Symlink("../nowhere", w.file("code/link")))
	w.must(syscall.Mkfifo(w.file("data/fifo"), 0o600))
	w.must(os.Truncate(w.write("data/sparse", "begin"), 8<<20))
	w.must(os.Chtimes(w.file("code/lib/old.php"), time.Unix(1e9, 5), time.Unix(1e9, 5)))
	if err := unix.Setxattr(w.file("code/version"), "user.origin", []byte("x"), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
		t.Fatal(err)
	}
	w.live = digest.New(w.Tree, options)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) file(path string) string { return filepath.Join(w.Tree, path) }

func (w *world) write(path, text string) string {
	w.t.Helper()
	w.must(os.MkdirAll(filepath.Dir(w.file(path)), 0o755))
	w.must(os.WriteFile(w.file(path), []byte(text), 0o600))
	return w.file(path)
}

func (w *world) take() (snapshot.Snapshot, error) {
	return w.Take(w.t.Context(), id, w.live, func(snapshot.Progress) {})
}

func (w *world) restore() (snapshot.Restored, error) {
	return w.Restore(w.t.Context(), id, w.live, func(snapshot.Progress) {})
}

func (w *world) digest() digest.Sum {
	w.t.Helper()
	s, err := digest.New(w.Tree, w.Options).Digest(w.t.Context(), nil)
	w.must(err)
	return s.Sum
}

// upgrade is a change that goes wrong, of every kind, and what users write meanwhile.
func (w *world) upgrade() {
	w.t.Helper()
	w.write("code/version", "2 and longer")              // in place, so of both of its names
	w.must(os.RemoveAll(w.file("code/lib")))             // a directory
	w.write("code/lib", "is a file now")                 // … of another type
	w.must(os.Remove(w.file("code/link")))               // a link
	w.must(os.Symlink("elsewhere", w.file("code/link"))) // … to another place
	w.must(os.Chmod(w.file("empty"), 0o700))             // the mode of a directory
	w.write("new/deep/er", "new")                        // a directory that is new
	w.must(os.Remove(w.file("data/\xff\n/name")))        // a file that is gone
	w.write("data/letter", "written by a user")
	w.write("data/other.tmp", "not the pair's")
}

// read returns every regular file below a directory, by path.
func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		relative, _ := strings.CutPrefix(path, dir+"/")
		out[relative] = string(text)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return out
}

func TestTakeAndRestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.digest()
	taken, err := w.take()
	w.must(err)
	if taken.Digest != before || !taken.Whole() || taken.Totals.Files != 6 {
		t.Errorf("the snapshot is %+v of a tree with digest %s", taken, before)
	}
	if info, err := os.Stat(taken.Path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may look into it: %v, %v", info, err)
	}
	var one, two, sparse, old unix.Stat_t
	w.must(errors.Join(unix.Stat(taken.Path+"/tree/code/version", &one), unix.Stat(taken.Path+"/tree/code/same", &two),
		unix.Stat(taken.Path+"/tree/data/sparse", &sparse), unix.Stat(taken.Path+"/tree/code/lib/old.php", &old)))
	if one.Ino != two.Ino || sparse.Blocks*512 > 1<<20 || old.Mtim.Nano() != 1e18+5 {
		t.Errorf("hard links, holes or times are lost: %d %d, %d blocks, %d", one.Ino, two.Ino, sparse.Blocks, old.Mtim.Nano())
	}
	for _, path := range []string{".atoll", "data/half.tmp", "data/fifo"} {
		if _, err := os.Lstat(filepath.Join(taken.Path, "tree", path)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is in it: %v", path, err)
		}
	}
	again, err := w.take()
	if w.must(err); again.Taken != taken.Taken {
		t.Error("it was taken twice")
	}

	w.upgrade()
	done, err := w.restore()
	w.must(err)
	if got := w.digest(); got != before || done.Digest != before {
		t.Errorf("the digest is %s afterwards, and was %s", got, before)
	}
	if done.Removed != 2 || done.Added != 1 || done.Changed != 5 {
		t.Errorf("it says %+v", done)
	}
	w.must(unix.Stat(w.file("code/lib/old.php"), &old))
	if old.Mtim.Nano() != 1e18+5 {
		t.Error("a file has another date than before")
	}
	want := map[string]string{
		"1/code/version": "2 and longer", "1/code/same": "2 and longer", "1/code/lib": "is a file now", "1/new/deep/er": "new", "1/data/letter": "written by a user",
	}
	if diff := cmp.Diff(want, read(t, done.Replaced)); diff != "" {
		t.Errorf("what was replaced is not all there (-want +got):\n%s", diff)
	}
	if got := read(t, w.file("data")); got["other.tmp"] != "not the pair's" || got["half.tmp"] != "this node's own" {
		t.Errorf("what is not the pair's was touched: %q", got)
	}

	// Once more has nothing to do, and another change is another version beside.
	if again, err := w.restore(); err != nil || again.Added+again.Removed+again.Changed != 0 {
		t.Errorf("once more: %+v, %v", again, err)
	}
	w.write("code/version", "3")
	if _, err := w.restore(); err != nil || read(t, done.Replaced)["2/code/version"] != "3" {
		t.Errorf("after another change: %v, %q", err, read(t, done.Replaced))
	}
	list, err := w.List()
	if w.must(err); len(list) != 1 || list[0].Replaced != done.Replaced || !list[0].Whole() {
		t.Errorf("the list is %+v", list)
	}
	w.must(w.Remove(id))
	w.must(w.Remove(id))
	if list, err = w.List(); err != nil || len(list) != 0 {
		t.Errorf("after it was removed: %+v, %v", list, err)
	}
	if got := w.digest(); got != before {
		t.Error("to remove a snapshot has changed the tree")
	}
}

// TestCrashes has each step be the last one, for the snapshot and for putting back: what follows does all of it, and every version is there.
func TestCrashes(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"make", "copy", "digest", "manifest"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			before := w.digest()
			w.Fault = crashAt(step, 1)
			var crashed *snapshot.Crash
			if _, err := w.take(); !errors.As(err, &crashed) {
				t.Fatalf("it did not crash: %v", err)
			}
			w.Fault = nil
			if _, err := w.restore(); err == nil || w.digest() != before {
				t.Errorf("half a snapshot was put back: %v", err)
			}
			if taken, err := w.take(); err != nil || taken.Digest != before || !taken.Whole() {
				t.Errorf("the next attempt: %+v, %v", taken, err)
			}
		})
	}
	for _, step := range []string{"put back", "exchange"} {
		for n := 1; n <= 8; n++ {
			t.Run(fmt.Sprintf("%s %d", step, n), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				before := w.digest()
				_, err := w.take()
				w.must(err)
				w.upgrade()
				w.Fault = crashAt(step, n)
				_, err = w.restore()
				if w.Fault = nil; err == nil && step == "put back" {
					t.Fatal("it did not crash")
				}
				done, err := w.restore()
				if w.must(err); w.digest() != before {
					t.Error("the tree is not what it was")
				}
				var kept []string
				for _, text := range read(t, done.Replaced) {
					kept = append(kept, text)
				}
				for _, text := range []string{"2 and longer", "is a file now", "new", "written by a user"} {
					if !slices.Contains(kept, text) {
						t.Errorf("%q is lost; there are %q", text, kept)
					}
				}
			})
		}
	}
}

// crashAt returns a fault that ends everything at the nth time of a step.
func crashAt(step string, n int) func(string) error {
	return func(now string) error {
		if now == step {
			n--
		}
		if n == 0 {
			return &snapshot.Crash{Step: step}
		}
		return nil
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(w *world)
		want   string
	}{
		{"a file of the snapshot has changed", func(w *world) {
			w.must(os.WriteFile(filepath.Join(w.Dir, id, "tree/code/lib/old.php"), []byte("rot"), 0o600))
		}, "is damaged"},
		{"a file of the snapshot is gone", func(w *world) { w.must(os.Remove(filepath.Join(w.Dir, id, "tree/code/link"))) }, "is damaged"},
		{"what says that it is whole is garbage", func(w *world) { w.must(os.WriteFile(filepath.Join(w.Dir, id, "snapshot.json"), []byte("{"), 0o600)) }, "is not whole"},
		{"there is none", func(w *world) { w.must(os.RemoveAll(filepath.Join(w.Dir, id))) }, "there is no snapshot"},
		{"other excludes", func(w *world) {
			var err error
			w.Options.Exclude, err = w.Options.Exclude.With("*.log")
			w.must(err)
			w.live = digest.New(w.Tree, w.Options)
		}, "set it as it was"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			_, err := w.take()
			w.must(err)
			w.upgrade()
			before := w.digest()
			tt.change(w)
			var refused *snapshot.RefusedError
			if _, err := w.restore(); !errors.As(err, &refused) || !strings.Contains(refused.Reason, tt.want) {
				t.Errorf("it said %v", err)
			}
			w.Options.Exclude, err = exclude.Parse([]string{"/.atoll", "*.tmp"})
			if w.must(err); w.digest() != before {
				t.Error("the tree has changed")
			}
		})
	}
}

// TestLeadsNowhere has the tree's owner put a link where a directory is to be put back.
func TestLeadsNowhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.take()
	w.must(err)
	outside := t.TempDir()
	w.must(os.RemoveAll(w.file("code")))
	w.must(os.Symlink(outside, w.file("code")))
	_, err = w.restore()
	w.must(err)
	if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
		t.Errorf("something was put outside of the tree: %v, %v", left, err)
	}
	if got := read(t, w.file("code"))["version"]; got != "1" {
		t.Errorf("it was not put back: %q", got)
	}
}

// TestNoRoom has a file system that is too small: it is found out before anything is copied.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, options, want string }{
		{"bytes", "size=20m,mode=700", "bytes in"},
		{"inodes", "size=200m,nr_inodes=12,mode=700", "inodes in"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.must(os.Mkdir(w.Dir, 0o700))
			if err := unix.Mount("none", w.Dir, "tmpfs", 0, tt.options); errors.Is(err, unix.EPERM) {
				t.Skip("NOT RUN: it takes root to mount a file system")
			} else if err != nil {
				t.Fatal(err)
			}
			defer func() { w.must(unix.Unmount(w.Dir, 0)) }()
			w.write("data/large", strings.Repeat("x", 22<<20))
			var refused *snapshot.RefusedError
			for _, do := range []func() error{
				func() error { _, err := w.Check(t.Context(), w.live, func(snapshot.Progress) {}); return err },
				func() error { _, err := w.take(); return err },
			} {
				if err := do(); !errors.As(err, &refused) || !strings.Contains(refused.Reason, tt.want) {
					t.Errorf("it said %v", err)
				}
			}
			if left, err := os.ReadDir(w.Dir); err != nil || len(left) != 0 {
				t.Errorf("something is left: %v, %v", left, err)
			}
		})
	}
}
