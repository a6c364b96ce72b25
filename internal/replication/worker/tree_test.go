package worker_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

func mustDo(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// TestTree takes a tree through what can become of it between two starts of a worker.
func TestTree(t *testing.T) {
	c := worker.Config{Pair: "uploads", Peer: "sg1", Path: filepath.Join(t.TempDir(), "uploads"), StateDir: t.TempDir()}
	file := filepath.Join(c.Path, "file")
	for _, step := range []struct {
		name   string
		happen func() error
		// refused is a word of the problem, "" for none.
		refused string
		// another tells that what was known is of no use.
		another bool
	}{
		{"not there yet", func() error { return nil }, "missing", false},
		{"new and empty", func() error { return os.Mkdir(c.Path, 0o755) }, "", true},
		{"with a file", func() error { return os.WriteFile(file, nil, 0o600) }, "", false},
		{"gone", func() error { return os.Rename(c.Path, c.Path+".away") }, "missing", false},
		{"an empty mount point", func() error { return os.Mkdir(c.Path, 0o755) }, "is not what it was", false},
		{"no directory", func() error { return errors.Join(os.Remove(c.Path), os.WriteFile(c.Path, nil, 0o600)) }, "no directory", false},
		{"back", func() error { return errors.Join(os.Remove(c.Path), os.Rename(c.Path+".away", c.Path)) }, "", false},
		{"emptied", func() error { return os.Remove(file) }, "empty", false},
		{"with one new file", func() error { return os.WriteFile(file+"2", nil, 0o600) }, "", false},
		{"copied for later", func() error { return os.CopyFS(c.Path+".backup", os.DirFS(c.Path)) }, "", false},
		{"restored from the copy", func() error { return errors.Join(os.RemoveAll(c.Path), os.Rename(c.Path+".backup", c.Path)) }, "", true},
		{"a new disk, on purpose", func() error {
			return errors.Join(os.RemoveAll(c.Path), os.MkdirAll(filepath.Join(c.Path, worker.Marker), 0o755), os.WriteFile(file, nil, 0o600))
		}, "", true},
		{"emptied again", func() error { return os.Remove(file) }, "empty", false},
		{"to be filled by the other side", func() error { return os.Remove(filepath.Join(c.Path, worker.Marker, "uploads.id")) }, "", true},
	} {
		mustDo(t, step.happen())
		tree, err := worker.NewTree(c)
		mustDo(t, err)
		err = tree.Check()
		if err == nil {
			err = tree.Emptied()
		}
		var problem worker.Problem
		switch {
		case step.refused == "" && err != nil:
			t.Errorf("%s: %v", step.name, err)
		case step.refused != "" && (!errors.As(err, &problem) || !strings.Contains(string(problem), step.refused)):
			t.Errorf("%s: got %v", step.name, err)
		case err == nil:
			another, err := tree.Begin()
			mustDo(t, err, tree.Check(), tree.Remember())
			if another != step.another {
				t.Errorf("%s: another tree: %t", step.name, another)
			}
		}
	}
}

// TestTermsChange changes what a pair's knowledge depends on.
func TestTermsChange(t *testing.T) {
	t.Parallel()
	c := worker.Config{Pair: "uploads", Peer: "sg1", Path: filepath.Join(t.TempDir(), "uploads"), PeerPath: "/srv/a", StateDir: t.TempDir(), Exclude: []string{"b", "a"}}
	mustDo(t, os.Mkdir(c.Path, 0o755))
	for _, step := range []struct {
		name    string
		change  func()
		another bool
	}{
		{"new", func() {}, true},
		{"the same", func() {}, false},
		{"in another order", func() { c.Exclude = []string{"a", "b"} }, false},
		{"led by the other", func() { c.Leads = true }, false},
		{"a pattern less", func() { c.Exclude = []string{"a"} }, true},
		{"old directories are moved", func() { c.Cold = &worker.Cold{Pattern: "YYYY/MM"} }, true},
		{"later ones", func() { c.Cold = &worker.Cold{Pattern: "YYYY/MM", OlderThan: 7} }, false},
		{"others", func() { c.Cold = &worker.Cold{Pattern: "YYYY/MM/DD"} }, true},
		{"none any more", func() { c.Cold = nil }, true},
		{"another node", func() { c.Peer = "sg2" }, true},
		{"another path there", func() { c.PeerPath = "/srv/b" }, true},
		{"another path here", func() {
			c.Path += "2"
			mustDo(t, os.Mkdir(c.Path, 0o755))
		}, true},
		{"the first path again", func() { c.Path = strings.TrimSuffix(c.Path, "2") }, true},
	} {
		step.change()
		tree, err := worker.NewTree(c)
		mustDo(t, err, tree.Check())
		if another, err := tree.Begin(); err != nil || another != step.another {
			t.Errorf("%s: begins anew: %t, %v", step.name, another, err)
		}
	}
}

// TestTreeIsReplacedWhileItIsSynchronized puts a copy in the place of a tree whose worker runs.
func TestTreeIsReplacedWhileItIsSynchronized(t *testing.T) {
	t.Parallel()
	c := worker.Config{Pair: "uploads", Peer: "sg1", Path: filepath.Join(t.TempDir(), "uploads"), StateDir: t.TempDir()}
	id := filepath.Join(c.Path, worker.Marker, "uploads.id")
	mustDo(t, os.Mkdir(c.Path, 0o755))
	tree, err := worker.NewTree(c)
	mustDo(t, err, tree.Check())
	_, err = tree.Begin()
	mustDo(t, err)
	old, err := os.ReadFile(id)
	mustDo(t, err)
	_, err = tree.Begin()
	mustDo(t, err, tree.Check(), os.Remove(id), os.WriteFile(id, old, 0o444))
	var problem worker.Problem
	if err := tree.Check(); !errors.As(err, &problem) || !strings.Contains(string(problem), "another one") {
		t.Errorf("an older copy in its place: %v", err)
	}
	again, err := worker.NewTree(c)
	mustDo(t, err, again.Check())
	if another, err := again.Begin(); err != nil || !another {
		t.Errorf("after a restart: %t, %v", another, err)
	}
}

// TestForget takes one of two pairs of a tree away, and then the other.
func TestForget(t *testing.T) {
	t.Parallel()
	one := worker.Config{Pair: "one", Path: filepath.Join(t.TempDir(), "tree"), StateDir: filepath.Join(t.TempDir(), "one")}
	other := one
	other.Pair, other.StateDir = "other", filepath.Join(t.TempDir(), "other")
	mustDo(t, os.Mkdir(one.Path, 0o755), os.Mkdir(one.StateDir, 0o700), os.Mkdir(other.StateDir, 0o700), os.WriteFile(filepath.Join(one.Path, "file"), nil, 0o600))
	for _, c := range []worker.Config{one, other} {
		tree, err := worker.NewTree(c)
		mustDo(t, err, tree.Check())
	}
	unfinished := func(path string) bool { return strings.HasSuffix(path, ".tmp") }
	mustDo(t, os.WriteFile(filepath.Join(one.Path, "left.tmp"), nil, 0o600), worker.Forget(one, unfinished), worker.Forget(one, unfinished))
	tree, err := worker.NewTree(other)
	mustDo(t, err, tree.Check())
	if another, err := tree.Begin(); err != nil || !another {
		t.Errorf("the other pair: %t, %v", another, err)
	}
	if again, err := tree.Begin(); err != nil || again {
		t.Errorf("the other pair begins anew once more: %t, %v", again, err)
	}
	mustDo(t, worker.Forget(other, unfinished))
	left, err := os.ReadDir(one.Path)
	mustDo(t, err)
	if len(left) != 1 || left[0].Name() != "file" {
		t.Errorf("left: %v", left)
	}
}

// TestSweep has what a program has left that was killed.
func TestSweep(t *testing.T) {
	root := t.TempDir()
	const resumed = 1000
	temporary := func(path string) bool { return strings.HasSuffix(path, ".tmp") }
	mustDo(t, os.MkdirAll(filepath.Join(root, "dir/small.tmp/below"), 0o755), os.MkdirAll(filepath.Join(root, "dir/large.tmp/below"), 0o755), os.Mkdir(filepath.Join(root, worker.Marker), 0o755), os.Mkdir(filepath.Join(root, worker.CanaryDir), 0o755))
	for path, size := range map[string]int{
		"empty.tmp": 0, "small.tmp": 999, "large.tmp": 1000, "file": 0, "dir/small.tmp/below/file": 10, "dir/large.tmp/below/file": 1000,
		worker.Marker + "/mark.tmp": 0, worker.CanaryDir + "/pair.tmp": 0,
	} {
		mustDo(t, os.WriteFile(filepath.Join(root, path), make([]byte, size), 0o600))
	}
	there := func() string {
		t.Helper()
		var found []string
		mustDo(t, fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
			if !entry.IsDir() {
				found = append(found, path)
			}
			return err
		}))
		return strings.Join(found, " ")
	}
	s := worker.NewSweeping(root, temporary, func(size int64) bool { return size >= resumed })
	kept, err := s.Sweep(time.Now())
	mustDo(t, err)
	if got, want := strings.Join(kept, " "), "dir/large.tmp large.tmp"; got != want {
		t.Errorf("kept are %q, want %q", got, want)
	}
	if got, want := there(), ".atoll/mark.tmp dir/large.tmp/below/file file large.tmp"; got != want {
		t.Errorf("there are %q, want %q", got, want)
	}
	mustDo(t, s.Finish(kept, time.Now().Add(-time.Minute)))
	if got, want := there(), ".atoll/mark.tmp dir/large.tmp/below/file file large.tmp"; got != want {
		t.Errorf("what is under way: there are %q, want %q", got, want)
	}
	// The program goes on with one of them, at a time that file systems tell from the one before.
	began := time.Now().Add(100 * time.Millisecond)
	await.True(t, "the program goes on", time.Minute, func() bool {
		mustDo(t, os.WriteFile(filepath.Join(root, "large.tmp"), make([]byte, 2000), 0o600))
		info, err := os.Stat(filepath.Join(root, "large.tmp"))
		return err == nil && info.ModTime().After(began)
	})
	mustDo(t, s.Finish(kept, began))
	if got, want := there(), ".atoll/mark.tmp file large.tmp"; got != want {
		t.Errorf("what the program does not go on with: there are %q, want %q", got, want)
	}
	if kept, err := s.Sweep(time.Now().Add(25 * time.Hour)); err != nil || len(kept) > 0 {
		t.Errorf("after a day: %q is kept, %v", kept, err)
	}
}

func TestTidy(t *testing.T) {
	root := t.TempDir()
	temporary := func(path string) bool { return strings.HasSuffix(path, ".tmp") }
	mustDo(t, os.MkdirAll(filepath.Join(root, "dir/b.tmp"), 0o755), os.Mkdir(filepath.Join(root, "other"), 0o755))
	for _, path := range []string{"dir/a.tmp", "dir/b.tmp/file", "dir/file", "other/a.tmp"} {
		mustDo(t, os.WriteFile(filepath.Join(root, path), nil, 0o600))
	}
	there := func() string {
		found, err := filepath.Glob(filepath.Join(root, "*/*"))
		mustDo(t, err)
		return strings.ReplaceAll(strings.Join(found, " "), root+"/", "")
	}
	mustDo(t, worker.Tidy(root, []string{"dir"}, temporary, time.Now()))
	if got := there(); got != "dir/a.tmp dir/b.tmp dir/file other/a.tmp" {
		t.Errorf("what may be under way: %s is left", got)
	}
	mustDo(t, worker.Tidy(root, []string{"dir"}, temporary, time.Now().Add(2*time.Minute)))
	if got := there(); got != "dir/file other/a.tmp" {
		t.Errorf("what is old: %s is left", got)
	}
	if err := worker.Tidy(root, []string{"../.."}, temporary, time.Now()); err == nil {
		t.Error("it leaves the tree")
	}
}
