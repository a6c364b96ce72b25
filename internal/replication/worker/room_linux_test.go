package worker_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// TestFull fills real file systems.
func TestFull(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("TEST DID NOT RUN: it mounts file systems, which takes root")
	}
	if worker.IsFull(filepath.Join(t.TempDir(), "missing")) {
		t.Error("a tree that is not there is full")
	}
	for _, tt := range []struct {
		options string
		files   int
		bytes   int64
	}{
		{"size=40m", 1, 20 << 20},
		{"size=1g,nr_inodes=100", 50, 0},
	} {
		t.Run(tt.options, func(t *testing.T) {
			tree := t.TempDir()
			if err := unix.Mount("tmpfs", tree, "tmpfs", 0, tt.options); err != nil {
				t.Skipf("TEST DID NOT RUN: nothing can be mounted here: %v", err)
			}
			t.Cleanup(func() { _ = unix.Unmount(tree, unix.MNT_DETACH) })
			if worker.IsFull(tree) {
				t.Error("an empty one is full")
			}
			for n := range tt.files {
				if err := os.WriteFile(filepath.Join(tree, strconv.Itoa(n)), make([]byte, tt.bytes), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if !worker.IsFull(tree) {
				t.Error("there is room where hardly any is")
			}
		})
	}
}
