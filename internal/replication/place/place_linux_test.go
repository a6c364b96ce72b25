package place_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/place"
)

const mountinfo = `22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
23 22 0:5 / /dev rw,nosuid shared:2 - devtmpfs udev rw
30 22 0:25 / /run rw,nosuid shared:3 - tmpfs tmpfs rw,size=100k
31 22 254:2 / /srv/my\040files ro,relatime shared:4 - xfs /dev/vdb rw,attr2
32 22 254:3 / /srv/archive ro shared:5 - ext4 /dev/vdc ro
33 22 0:25 /systemd/inaccessible/dir /home ro,nosuid - tmpfs tmpfs rw,size=100k
34 22 0:40 / /srv/twice rw - ext4 /dev/vdd rw
35 34 0:41 / /srv/twice rw - nfs4 server:/x rw
36 22 0:42 / /srv/up rw - fuse.sshfs host:/y rw`

func TestMountOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		directory, at, fileSystem string
		readOnly, hidden          bool
	}{
		{"/srv/uploads", "/", "ext4", false, false},
		{"/run/x", "/run", "tmpfs", false, false},
		{"/runs", "/", "ext4", false, false},
		// A service's own mounts are read-only, the file system is not.
		{"/srv/my files/a", "/srv/my files", "xfs", false, false},
		{"/srv/archive", "/srv/archive", "ext4", true, false},
		{"/home/app/data", "/home", "tmpfs", false, true},
		{"/srv/twice/x", "/srv/twice", "nfs4", false, false},
		{"/srv/uploads/x", "/", "ext4", false, false},
		{"/srv/up", "/srv/up", "fuse.sshfs", false, false},
	} {
		at, fileSystem, readOnly, hidden, err := place.MountOf(strings.NewReader(mountinfo), tt.directory)
		if err != nil || at != tt.at || fileSystem != tt.fileSystem || readOnly != tt.readOnly || hidden != tt.hidden {
			t.Errorf("%s: got %s, %s, read-only %t, hidden %t, %v", tt.directory, at, fileSystem, readOnly, hidden, err)
		}
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, p := range []string{"a/b/c", "a/d"} {
		if err := os.MkdirAll(filepath.Join(root, p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"one", "a/b/two", "a/d/three"} {
		if err := os.WriteFile(filepath.Join(root, p), []byte("1234567"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/", filepath.Join(root, "a/link")); err != nil {
		t.Fatal(err)
	}
	f, err := place.Look(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if !f.Exists || f.Hidden || f.NoDirectory || !f.Counted || f.Directories != 5 || f.Files != 4 || f.Bytes != 3*7+1 {
		t.Errorf("got %+v", f)
	}
	if f.FileSystem == "" || f.FreeBytes <= 0 || f.FreeInodes == 0 || f.Watches <= 0 {
		t.Errorf("got %+v", f)
	}
	later, err := place.Look(t.Context(), filepath.Join(root, "a/new/deeper"))
	if err != nil || later.Exists || later.NoDirectory || later.Directories != 0 || later.FileSystem != f.FileSystem || later.Mount != f.Mount {
		t.Errorf("of one that is not there: got %+v, %v", later, err)
	}
	file, err := place.Look(t.Context(), filepath.Join(root, "one"))
	if err != nil || !file.Exists || !file.NoDirectory {
		t.Errorf("of a file: got %+v, %v", file, err)
	}
	below, err := place.Look(t.Context(), filepath.Join(root, "one/x"))
	if err != nil || below.Exists || !below.NoDirectory {
		t.Errorf("of what lies below a file: got %+v, %v", below, err)
	}
	if _, err := place.Look(t.Context(), "relative"); err == nil {
		t.Error("a relative path is looked at")
	}
}

// TestLookAtMounts looks at real file systems.
func TestLookAtMounts(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("TEST DID NOT RUN: it mounts file systems, which takes root")
	}
	root := t.TempDir()
	inner := filepath.Join(root, "inner")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", inner, "tmpfs", 0, "size=1m,nr_inodes=10"); err != nil {
		t.Skipf("TEST DID NOT RUN: nothing can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(inner, unix.MNT_DETACH) })
	if err := os.WriteFile(filepath.Join(inner, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := place.Look(t.Context(), filepath.Join(inner, "uploads"))
	if err != nil || !f.Volatile() || f.Mount != inner || f.FreeInodes > 9 || f.FreeBytes > 1<<20 || f.ReadOnly {
		t.Errorf("of a tmpfs: got %+v, %v", f, err)
	}
	outer, err := place.Look(t.Context(), root)
	if err != nil || outer.Files != 0 || outer.Directories != 1 || len(outer.Mounts) != 1 || outer.Mounts[0] != "inner" {
		t.Errorf("what is mounted below is counted, too: %+v, %v", outer, err)
	}
	if err := unix.Mount("", inner, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if f, err = place.Look(t.Context(), inner); err != nil || !f.ReadOnly {
		t.Errorf("of a read-only file system: got %+v, %v", f, err)
	}
}
