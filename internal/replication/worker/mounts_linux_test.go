package worker_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// TestMountedBelow mounts a file system inside of a tree.
func TestMountedBelow(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("file systems are mounted by root only")
	}
	c := worker.Config{Pair: "uploads", Peer: "sg1", Path: filepath.Join(t.TempDir(), "up loads"), StateDir: t.TempDir(), Exclude: []string{"*.tmp", "/cache"}}
	for _, test := range []struct{ at, refused string }{{"video", "up loads/video is another file system"}, {"cache", ""}, {"cache/below", ""}, {"not/cache", "not/cache is"}} {
		target := filepath.Join(c.Path, test.at)
		mustDo(t, os.MkdirAll(target, 0o755))
		tree, err := worker.NewTree(c)
		mustDo(t, err, tree.Check())
		mustDo(t, unix.Mount("tmpfs", target, "tmpfs", 0, "size=64k"))
		t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) }) // it may be done
		err = tree.Check()
		var problem worker.Problem
		if test.refused == "" && err != nil || test.refused != "" && (!errors.As(err, &problem) || !strings.Contains(string(problem), test.refused)) {
			t.Errorf("mounted at %s: %v", test.at, err)
		}
		mustDo(t, unix.Unmount(target, 0), tree.Check())
	}
}

// TestReceives finds out whether what is mounted elsewhere arrives at a mount.
func TestReceives(t *testing.T) {
	t.Parallel()
	const list = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 8:1 /srv/a /srv/a rw,relatime shared:5 master:1 - ext4 /dev/sda1 rw
31 22 8:1 /srv/b /srv/b rw,relatime shared:6 - ext4 /dev/sda1 rw
32 22 8:1 /srv/c /srv/c rw,relatime master:1 - ext4 /dev/sda1 rw
33 32 8:1 /srv/c /srv/c rw,relatime - ext4 /dev/sda1 rw
34 22 8:1 /srv/a\040b /srv/a\040b rw master:1 - ext4 master:1 rw
35 22 8:1 /srv/d /srv/d rw - ext4 master:1 rw
`
	for path, want := range map[string]bool{"/srv/a": true, "/srv/b": false, "/srv/c": false, "/srv/a b": true, "/srv/d": false, "/srv": false} {
		if got := worker.Receives([]byte(list), path); got != want {
			t.Errorf("%s: %t", path, got)
		}
	}
}
