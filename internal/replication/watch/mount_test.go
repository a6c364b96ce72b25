//go:build linux

package watch_test

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

// mount mounts a file system until the test ends.
func mount(t *testing.T, kind, target, data string) {
	t.Helper()
	must(t, os.MkdirAll(target, 0o700))
	if err := unix.Mount(kind, target, kind, 0, data); err != nil {
		t.Fatalf("mount %s: %v", kind, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) }) // a test may have done it itself
}

// TestFileSystems finds a way on each.
func TestFileSystems(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("file systems are mounted by root only")
	}
	tests := []struct {
		name string
		make func(t *testing.T) string
		want watch.Method // none: whatever works, by the kernel's version
	}{
		{"where tests are", func(t *testing.T) string { return t.TempDir() }, ""},
		{"tmpfs", func(t *testing.T) string {
			dir := t.TempDir() + "/tmpfs"
			mount(t, "tmpfs", dir, "size=1m")
			return dir
		}, ""},
		{"overlay", func(t *testing.T) string {
			dir := t.TempDir()
			mount(t, "tmpfs", dir, "size=1m") // of two layers, none may be an overlay that has no room for more
			for _, sub := range []string{"/lower", "/upper", "/work"} {
				must(t, os.Mkdir(dir+sub, 0o700))
			}
			write(t, dir, "lower/file")
			mount(t, "overlay", dir+"/merged", "lowerdir="+dir+"/lower,upperdir="+dir+"/upper,workdir="+dir+"/work")
			return dir + "/merged"
		}, watch.Inotify},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := tt.make(t)
			w := open(t, root, watch.Options{})
			s := w.Status()
			t.Logf("%s; %s", s.Method, s.Reason)
			if tt.want != "" && s.Method != tt.want {
				t.Errorf("by %s, want %s", s.Method, tt.want)
			}
			if (s.Reason != "") != (s.Method == watch.Inotify) {
				t.Errorf("by %s for the reason %q", s.Method, s.Reason)
			}
			write(t, root, "file")
			until(t, w, "file")
			must(t, os.MkdirAll(root+"/a/b", 0o700))
			until(t, w, "a")
			write(t, root, "a/b/file")
			until(t, w, "a/b/file")
		})
	}
}

func TestMounts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("file systems are mounted by root only")
	}
	methods(t, func(t *testing.T, method watch.Method) {
		root := t.TempDir()
		must(t, os.MkdirAll(root+"/dir/below", 0o700))
		// Of its own accord a watcher may go over to the other method when it must.
		options := watch.Options{}
		if method == watch.Inotify {
			options.Method = method
		}
		w := open(t, root, options)
		mount(t, "tmpfs", root+"/dir", "size=1m")
		if reason := rescan(t, w); !strings.Contains(reason, "mounted") {
			t.Errorf("the reason is %q", reason)
		}
		write(t, root, "dir/mounted")
		until(t, w, "dir/mounted")
		must(t, unix.Unmount(root+"/dir", 0)) // nothing of the watcher keeps it busy
		rescan(t, w)
		write(t, root, "dir/below/file")
		until(t, w, "dir/below/file")

		// Something else in the place of the tree itself.
		mount(t, "tmpfs", root, "size=1m")
		rescan(t, w)
		write(t, root, "file")
		until(t, w, "file")
		must(t, unix.Unmount(root, 0))
		rescan(t, w)
		write(t, root, "dir/below/file")
		until(t, w, "dir/below/file")

		// The same file system in two places: events name one of them.
		must(t, os.MkdirAll(root+"/bound", 0o700))
		outside := t.TempDir()
		must(t, unix.Mount(outside, root+"/bound", "", unix.MS_BIND, ""))
		t.Cleanup(func() { _ = unix.Unmount(root+"/bound", unix.MNT_DETACH) })
		rescan(t, w)
		write(t, root, "bound/file")
		until(t, w, "bound/file")
		must(t, unix.Unmount(root+"/bound", 0))
		rescan(t, w)
	})
}

// TestTreeThatIsMountedOnItself is how a service sees a tree that it may write to when it may write to nothing else.
func TestTreeThatIsMountedOnItself(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("file systems are mounted by root only")
	}
	methods(t, func(t *testing.T, method watch.Method) {
		parent, outside := t.TempDir(), t.TempDir()
		root := parent + "/tree"
		must(t, os.MkdirAll(root+"/dir", 0o700))
		must(t, os.Mkdir(parent+"/neighbour", 0o700))
		// What everybody else sees.
		must(t, unix.Mount(parent, outside, "", unix.MS_BIND, ""))
		t.Cleanup(func() { _ = unix.Unmount(outside, unix.MNT_DETACH) })
		must(t, unix.Mount(root, root, "", unix.MS_BIND, ""))
		t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
		w := open(t, root, watch.Options{Method: method})
		write(t, outside, "neighbour/file")
		write(t, outside, "tree/dir/theirs")
		until(t, w, "dir/theirs")
		must(t, os.Rename(outside+"/tree/dir", outside+"/tree/moved"))
		until(t, w, "moved")
		write(t, outside, "tree/moved/theirs")
		until(t, w, "moved/theirs")
		write(t, root, "moved/ours")
		if got := until(t, w, "moved/ours"); len(got) != 1 {
			t.Errorf("got %+v, want one file", got)
		}
		// From outside of the tree, and out of it.
		must(t, os.Rename(outside+"/neighbour", outside+"/tree/neighbour"))
		until(t, w, "neighbour")
		write(t, root, "neighbour/file")
		until(t, w, "neighbour/file")
		must(t, os.Rename(outside+"/tree/moved", outside+"/moved"))
		until(t, w, "moved")
	})
}
