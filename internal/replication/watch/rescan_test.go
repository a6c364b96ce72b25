//go:build linux

package watch_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

func TestOverflow(t *testing.T) {
	methods(t, func(t *testing.T, method watch.Method) {
		root := t.TempDir()
		write(t, root, "file")
		w := open(t, root, watch.Options{Method: method})
		resume := w.Stall()
		// More directories than the kernel's queue has room for; what is in them must be seen later all the same.
		queue, err := os.ReadFile("/proc/sys/fs/" + string(method) + "/max_queued_events")
		must(t, err)
		var room int
		if _, err := fmt.Sscan(string(queue), &room); err != nil || room > 100_000 {
			t.Fatalf("the kernel's queue has room for %d events (%v): too many to overflow here", room, err)
		}
		for i := range room + 10 {
			dir := fmt.Sprintf("%s/dir%d", root, i)
			must(t, os.Mkdir(dir, 0o700))
			must(t, os.Remove(dir))
		}
		must(t, os.Mkdir(root+"/dir", 0o700))
		resume()
		if reason := rescan(t, w); !strings.Contains(reason, "overflow") {
			t.Errorf("the reason is %q", reason)
		}
		write(t, root, "dir/file")
		until(t, w, "dir/file")
		if s := w.Status(); s.Rescans != 1 || s.LastRescan == "" {
			t.Errorf("status %+v, want one rescan", s)
		}
	})
}

func TestRootReplaced(t *testing.T) {
	methods(t, func(t *testing.T, method watch.Method) {
		root := t.TempDir() + "/tree"
		must(t, os.Mkdir(root, 0o700))
		w := open(t, root, watch.Options{Method: method})
		must(t, os.Rename(root, root+".old"))
		rescan(t, w)
		for w.Status().Missing == "" {
			next(t, w)
		}
		must(t, os.Mkdir(root, 0o700))
		rescan(t, w)
		if s := w.Status(); s.Missing != "" || s.Watches != 1 {
			t.Errorf("status %+v, want a tree that is there", s)
		}
		write(t, root, "file")
		until(t, w, "file")
	})
}

func TestRootMovedAwayAndBack(t *testing.T) {
	methods(t, func(t *testing.T, method watch.Method) {
		parent := t.TempDir()
		root := parent + "/above/tree"
		must(t, os.MkdirAll(root, 0o700))
		w := open(t, root, watch.Options{Method: method})
		resume := w.Stall() // so that nobody sees that it was away
		must(t, os.Rename(parent+"/above", parent+"/elsewhere"))
		write(t, parent, "elsewhere/tree/file")
		must(t, os.Rename(parent+"/elsewhere", parent+"/above"))
		resume()
		if b := next(t, w); !b.All && !slices.Contains(b.Changes, watch.Change{Path: "file"}) {
			t.Errorf("got %+v, want the file or everything", b)
		}
	})
}

func TestSeveralNames(t *testing.T) {
	methods(t, func(t *testing.T, method watch.Method) {
		outside, root := t.TempDir(), t.TempDir()
		write(t, root, "one")
		must(t, os.Link(root+"/one", root+"/two"))
		must(t, os.Link(root+"/one", outside+"/three"))
		w := open(t, root, watch.Options{Method: method, Settle: time.Millisecond})
		write(t, root, "one")
		if reason := rescan(t, w); !strings.Contains(reason, "several names") {
			t.Errorf("the reason is %q", reason)
		}
	})
}
