//go:build linux

package watch_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

// patience is how long a test waits for what must come; it is not what it takes.
const patience = time.Minute

// methods runs a test with each method that there is here.
func methods(t *testing.T, test func(t *testing.T, method watch.Method)) {
	t.Helper()
	for _, method := range []watch.Method{watch.Fanotify, watch.Inotify} {
		t.Run(string(method), func(t *testing.T) {
			if method == watch.Fanotify && os.Geteuid() != 0 {
				t.Skip("fanotify watches file systems for root only")
			}
			test(t, method)
		})
	}
}

// open watches a tree until the test ends.
func open(t *testing.T, root string, options watch.Options) *watch.Watcher {
	t.Helper()
	w, err := watch.Open(t.Context(), root, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// next returns the next batch.
func next(t *testing.T, w *watch.Watcher) watch.Batch {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b, err := w.Next(ctx)
	if err != nil {
		t.Fatalf("no batch: %v; status %+v", err, w.Status())
	}
	return b
}

// until gathers batches until one has the path, and returns what all of them said.
func until(t *testing.T, w *watch.Watcher, path string) map[string]watch.Change {
	t.Helper()
	all := map[string]watch.Change{}
	for {
		b := next(t, w)
		if b.All {
			t.Fatalf("everything has to be looked at: %s", b.Reason)
		}
		for _, c := range b.Changes {
			all[c.Path] = c
		}
		if _, ok := all[path]; ok {
			return all
		}
	}
}

// rescan waits for the demand to look at everything, and returns its reason.
func rescan(t *testing.T, w *watch.Watcher) string {
	t.Helper()
	for {
		if b := next(t, w); b.All {
			return b.Reason
		}
	}
}

func write(t *testing.T, path ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(path...), []byte(strings.Join(path, "/")), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestChanges(t *testing.T) {
	odd := "line\nbreak \xff\xfe%41 "
	tests := []struct {
		name   string
		before []string // files
		do     func(t *testing.T, root string)
		want   []watch.Change
	}{
		{
			"a new file", nil,
			func(t *testing.T, root string) { write(t, root, "new") },
			[]watch.Change{{Path: "new"}},
		},
		{
			"a change deep below",
			[]string{"a/b/c/d/old"},
			func(t *testing.T, root string) { write(t, root, "a/b/c/d/old") },
			[]watch.Change{{Path: "a/b/c/d/old"}},
		},
		{
			"a file removed",
			[]string{"a/gone"},
			func(t *testing.T, root string) { must(t, os.Remove(root+"/a/gone")) },
			[]watch.Change{{Path: "a/gone"}},
		},
		{
			"a file renamed",
			[]string{"a/from", "b/other"},
			func(t *testing.T, root string) { must(t, os.Rename(root+"/a/from", root+"/b/to")) },
			[]watch.Change{{Path: "a/from"}, {Path: "b/to"}},
		},
		{
			"another mode",
			[]string{"a/file"},
			func(t *testing.T, root string) { must(t, os.Chmod(root+"/a/file", 0o640)) },
			[]watch.Change{{Path: "a/file"}},
		},
		{
			"another mode of a directory",
			[]string{"a/file"},
			func(t *testing.T, root string) { must(t, os.Chmod(root+"/a", 0o750)) },
			[]watch.Change{{Path: "a"}},
		},
		{
			"an extended attribute",
			[]string{"a/file"},
			func(t *testing.T, root string) {
				must(t, unix.Setxattr(root+"/a/file", "user.atoll", []byte("x"), 0))
			},
			[]watch.Change{{Path: "a/file"}},
		},
		{
			"a symbolic link", nil,
			func(t *testing.T, root string) { must(t, os.Symlink("/etc", root+"/link")) },
			[]watch.Change{{Path: "link"}},
		},
		{
			"a hard link",
			[]string{"file"},
			func(t *testing.T, root string) { must(t, os.Link(root+"/file", root+"/other")) },
			[]watch.Change{{Path: "other"}},
		},
		{
			"a new directory", nil,
			func(t *testing.T, root string) { must(t, os.Mkdir(root+"/dir", 0o700)) },
			[]watch.Change{{Path: "dir", Recursive: true}},
		},
		{
			"a directory moved within the tree",
			[]string{"a/x/file", "b/other"},
			func(t *testing.T, root string) { must(t, os.Rename(root+"/a/x", root+"/b/y")) },
			[]watch.Change{{Path: "a/x"}, {Path: "b/y", Recursive: true}},
		},
		{
			"a directory removed",
			[]string{"a/x/file"},
			func(t *testing.T, root string) { must(t, os.RemoveAll(root+"/a/x")) },
			[]watch.Change{{Path: "a/x"}},
		},
		{
			"names of any bytes",
			[]string{odd + "/file"},
			func(t *testing.T, root string) { write(t, root, odd, odd) },
			[]watch.Change{{Path: odd + "/" + odd}},
		},
		{
			"the longest name", nil,
			func(t *testing.T, root string) { write(t, root, strings.Repeat("n", 255)) },
			[]watch.Change{{Path: strings.Repeat("n", 255)}},
		},
	}
	methods(t, func(t *testing.T, method watch.Method) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				root := t.TempDir()
				for _, path := range tt.before {
					must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o700))
					write(t, root, path)
				}
				w := open(t, root, watch.Options{Method: method})
				tt.do(t, root)
				got := map[string]watch.Change{}
				for _, want := range tt.want {
					if _, ok := got[want.Path]; !ok {
						maps.Copy(got, until(t, w, want.Path))
					}
					if got[want.Path] != want {
						t.Errorf("got %+v of %q, want %+v; all: %+v", got[want.Path], want.Path, want, got)
					}
				}
			})
		}
	})
}

func TestNothingElse(t *testing.T) {
	methods(t, func(t *testing.T, method watch.Method) {
		outside, root := t.TempDir(), t.TempDir()
		must(t, os.MkdirAll(root+"/dir/skipped/deep", 0o700))
		write(t, root, "dir/file")
		must(t, os.Symlink(outside, root+"/dir/link"))
		w := open(t, root, watch.Options{Method: method, Skip: func(path string) bool { return path == "dir/skipped" }})
		// Reading, what lies behind a symbolic link, a neighbour and what is left out are no changes of the tree.
		if _, err := os.ReadFile(root + "/dir/file"); err != nil {
			t.Fatal(err)
		}
		must(t, filepath.WalkDir(root, func(string, fs.DirEntry, error) error { return nil }))
		write(t, outside, "file")
		write(t, root, "dir/link/through")
		write(t, root+"-neighbour")
		t.Cleanup(func() { _ = os.Remove(root + "-neighbour") })
		write(t, root, "dir/skipped/file")
		write(t, root, "dir/skipped/deep/file")
		write(t, root, "last")
		got := until(t, w, "last")
		if len(got) != 1 {
			t.Errorf("got %+v, want the last file alone", got)
		}
	})
}

func TestOneChangeIsReportedAtOnce(t *testing.T) {
	methods(t, func(t *testing.T, method watch.Method) {
		root := t.TempDir()
		w := open(t, root, watch.Options{Method: method})
		var took []time.Duration
		// Half a second would be the pace of a burst. A machine that is busy may be late, but not always.
		quick := func() bool {
			slices.Sort(took)
			return len(took) >= 20 && took[0] <= 50*time.Millisecond && took[9] <= 250*time.Millisecond
		}
		for i := 0; i < 200 && !quick(); i++ {
			start := time.Now()
			path := fmt.Sprintf("file%d", i)
			write(t, root, path)
			until(t, w, path)
			took = append(took, time.Since(start))
		}
		t.Logf("of %d, median %s, worst %s", len(took), took[len(took)/2], took[len(took)-1])
		if !quick() {
			t.Errorf("changes took %s, want one that took less than 50 ms and ten less than 250 ms", took)
		}
	})
}

func TestFilesBeingWritten(t *testing.T) {
	methods(t, func(t *testing.T, method watch.Method) {
		root := t.TempDir()
		w := open(t, root, watch.Options{Method: method, Settle: time.Hour, SettleMost: time.Hour})
		f, err := os.Create(root + "/upload")
		must(t, err)
		if _, err := f.WriteString("half of it"); err != nil {
			t.Fatal(err)
		}
		write(t, root, "other")
		if got := until(t, w, "other"); len(got) != 1 {
			t.Errorf("got %+v while the file is open, want the other alone", got)
		}
		must(t, f.Close())
		until(t, w, "upload")
	})
}

func TestFilesWrittenToForever(t *testing.T) {
	tests := []struct {
		name    string
		options watch.Options
	}{
		{"left alone", watch.Options{Settle: 50 * time.Millisecond, SettleMost: time.Hour}},
		{"long enough", watch.Options{Settle: time.Hour, SettleMost: 50 * time.Millisecond}},
	}
	methods(t, func(t *testing.T, method watch.Method) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				root := t.TempDir()
				tt.options.Method = method
				w := open(t, root, tt.options)
				f, err := os.Create(root + "/log")
				must(t, err)
				defer func() { _ = f.Close() }()
				for range 3 {
					if _, err := f.WriteString("line\n"); err != nil {
						t.Fatal(err)
					}
					until(t, w, "log")
				}
			})
		}
	})
}

func TestOwn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("fanotify watches file systems for root only")
	}
	root := t.TempDir()
	sh := exec.CommandContext(t.Context(), "sh")
	input, err := sh.StdinPipe()
	must(t, err)
	must(t, sh.Start())
	w := open(t, root, watch.Options{Method: watch.Fanotify, Own: func(pid int) bool { return pid == sh.Process.Pid }, Foreign: func(path string) bool { return path == "foreign" }})
	resume := w.Stall() // what is told of a path must not come in two batches
	if _, err := fmt.Fprintf(input, "cd %s && echo x >own && echo x >both && echo x >foreign && exit\n", root); err != nil {
		t.Fatal(err)
	}
	must(t, sh.Wait())
	write(t, root, "both")
	write(t, root, "other")
	resume()
	got := until(t, w, "other")
	for path, want := range map[string]bool{"own": true, "both": false, "foreign": false, "other": false} {
		if got[path].Own != want {
			t.Errorf("%s: Own is %t, want %t", path, got[path].Own, want)
		}
	}
}

func TestClose(t *testing.T) {
	methods(t, func(t *testing.T, method watch.Method) {
		w, err := watch.Open(t.Context(), t.TempDir(), watch.Options{Method: method})
		must(t, err)
		ended := make(chan error, 1)
		go func() {
			_, err := w.Next(t.Context())
			ended <- err
		}()
		must(t, w.Close())
		must(t, w.Close())
		if err := <-ended; !errors.Is(err, watch.ErrClosed) {
			t.Errorf("Next: %v, want ErrClosed", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w = open(t, t.TempDir(), watch.Options{Method: method})
		if _, err := w.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Next: %v, want the context's error", err)
		}
	})
}

func TestOpenFails(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file")
	for path, want := range map[string]error{dir + "/missing": fs.ErrNotExist, dir + "/file": unix.ENOTDIR} {
		if _, err := watch.Open(t.Context(), path, watch.Options{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	must(t, os.Symlink(dir, dir+"-link"))
	t.Cleanup(func() { _ = os.Remove(dir + "-link") })
	w := open(t, dir+"-link", watch.Options{})
	write(t, dir, "file")
	until(t, w, "file")
}
