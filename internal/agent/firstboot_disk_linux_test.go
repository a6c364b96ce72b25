package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
)

// TestFirstBootWithAFullDisk has a state directory on a file system of its own that is full, down to the directory itself.
func TestFirstBootWithAFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: a file system that is full needs root")
	}
	w := newWorld(t)
	m := w.machine(1, "hk1")
	disk := filepath.Dir(m.state)
	if err := os.MkdirAll(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=256k,nr_inodes=64"); err != nil {
		t.Skipf("NOT TESTED: tmpfs cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		_ = m.stop() // what holds files open there
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	hog := filepath.Join(disk, "hog")
	if err := os.WriteFile(hog, make([]byte, 1<<20), 0o600); !isFull(err) {
		t.Fatalf("the disk takes everything: %v", err)
	}
	m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
	m.start()
	h := m.waitHealth("says that the disk is full", func(h api.Health) bool { return waiting(h) && contains(h.Waiting, "no space left on device") })
	if !contains(h.Waiting, "space on") {
		t.Errorf("health says %q, want what to do", h.Waiting)
	}
	if _, err := os.Stat(m.firstBootFile()); err != nil {
		t.Errorf("the first-boot data is gone before it was used: %v", err)
	}
	if files, err := os.ReadDir(m.state); err == nil {
		for _, f := range files {
			if !slices.Contains([]string{"identity.pem"}, f.Name()) || size(t, filepath.Join(m.state, f.Name())) == 0 {
				t.Errorf("half made: %s", f.Name())
			}
		}
	}
	m.mu.Lock()
	console := strings.Join(m.console, "\n")
	m.mu.Unlock()
	if !contains(console, "no space left on device") {
		t.Errorf("the console shows %q", console)
	}
	if err := os.Remove(hog); err != nil {
		t.Fatal(err)
	}
	m.waitHealth("joins once there is space", healthy)
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) }

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
