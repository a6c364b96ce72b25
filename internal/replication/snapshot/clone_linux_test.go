package snapshot_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
)

// TestClones has a file system that can clone files. Tree and snapshots are mounts of their own there, as in the unit of a pair.
func TestClones(t *testing.T) {
	t.Parallel()
	mkfs, err := exec.LookPath("mkfs.btrfs")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("NOT RUN: it takes root and mkfs.btrfs (package btrfs-progs)")
	}
	w := newWorld(t)
	image := filepath.Join(t.TempDir(), "disk")
	disk := filepath.Join(t.TempDir(), "mnt")
	w.must(os.WriteFile(image, nil, 0o600))
	w.must(os.Truncate(image, 256<<20))
	w.must(os.Mkdir(disk, 0o700))
	run := func(name string, args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
		return string(bytes.TrimSpace(out)), err
	}
	if out, err := run(mkfs, "-q", image); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := run("mount", "-o", "loop", image, disk); err != nil {
		t.Skipf("NOT RUN: no loop device can be mounted here: %v: %s", err, out)
	}
	mounts := []string{disk}
	t.Cleanup(func() {
		for i := len(mounts) - 1; i >= 0; i-- {
			if err := unix.Unmount(mounts[i], 0); err != nil {
				t.Error(err)
			}
		}
	})
	for _, dir := range []*string{&w.Tree, &w.Dir} {
		at := filepath.Join(disk, filepath.Base(*dir))
		w.must(os.Mkdir(at, 0o755))
		if dir == &w.Tree {
			if out, err := run("cp", "-a", w.Tree+"/.", at); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		*dir = at
		w.must(unix.Mount(at, at, "", unix.MS_BIND, ""))
		mounts = append(mounts, at)
	}
	w.live = digest.New(w.Tree, w.Options)
	const large = 100 << 20
	w.must(os.WriteFile(w.file("data/large"), bytes.Repeat([]byte("atoll"), large/5), 0o600))
	unix.Sync()
	free := func() int64 {
		var st unix.Statfs_t
		w.must(unix.Statfs(disk, &st))
		return int64(st.Bavail) * st.Bsize
	}
	before, digestBefore := free(), w.digest()
	taken, err := w.take()
	w.must(err)
	if used := before - free(); taken.Method != snapshot.Cloned || used > large/4 {
		t.Errorf("it was %s and took %d bytes", taken.Method, used)
	}
	w.upgrade()
	w.must(os.WriteFile(w.file("data/large"), []byte("small"), 0o600))
	if _, err := w.restore(); err != nil || w.digest() != digestBefore {
		t.Errorf("it was not put back: %v", err)
	}
}
