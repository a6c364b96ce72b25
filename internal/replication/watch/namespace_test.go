//go:build linux

package watch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

// userNamespace makes a child root of its own world, and nobody elsewhere.
func userNamespace() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
	}
}

// TestWithoutRights runs itself again as a user who has none, and few watches.
func TestWithoutRights(t *testing.T) {
	const variable = "ATOLL_TEST_WATCH_WITHOUT_RIGHTS"
	if root := os.Getenv(variable); root != "" {
		withoutRights(t, root)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("a user namespace is made by root here")
	}
	root := t.TempDir()
	must(t, os.MkdirAll(root+"/a/b/c", 0o700))
	self, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestWithoutRights$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"="+root)
	cmd.SysProcAttr = userNamespace()
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestWithoutRights")) {
		t.Errorf("%v\n%s", err, out)
	}
}

func withoutRights(t *testing.T, root string) {
	var unsupported *watch.UnsupportedError
	if _, err := watch.Open(t.Context(), root, watch.Options{Method: watch.Fanotify}); !errors.As(err, &unsupported) {
		t.Errorf("fanotify: %v, want an UnsupportedError", err)
	}
	w := open(t, root, watch.Options{})
	if s := w.Status(); s.Method != watch.Inotify || s.Watches != 4 || !strings.Contains(s.Reason, "operation not permitted") {
		t.Errorf("status %+v, want inotify with four watches and why", s)
	}
	limit := func(n int) {
		must(t, os.WriteFile("/proc/sys/user/max_inotify_watches", fmt.Appendf(nil, "%d", n), 0))
	}
	// A directory that cannot be watched ends the watcher: it would miss changes.
	limit(6)
	must(t, os.MkdirAll(root+"/d/e/f/g/h", 0o700))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	for err == nil {
		_, err = w.Next(ctx)
	}
	var full *watch.LimitError
	if !errors.As(err, &full) {
		t.Fatalf("Next: %v, want a LimitError", err)
	}
	must(t, w.Close())
	limit(3)
	_, err = watch.Open(t.Context(), root, watch.Options{})
	if !errors.As(err, &full) {
		t.Fatalf("Open: %v, want a LimitError", err)
	}
	if full.Directories != 9 || full.Watched != 3 || full.Limit != 3 || full.Needed() != 9 || !strings.Contains(err.Error(), watch.Sysctl+" to at least 9") {
		t.Errorf("Open: %v (%+v)", err, full)
	}
}
