//go:build linux

package nodes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// disk is a node's file system: what it wrote itself over the read-only layers it was made of.
type disk struct {
	dir    string   // upper, work and root live in it
	layers []string // lowest first
}

// root is where the whole file system is mounted.
func (d disk) root() string { return filepath.Join(d.dir, "root") }

// mount makes the disk's folders when they are not there and mounts it.
func (d disk) mount() error {
	for _, name := range []string{"upper", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(d.dir, name), 0o755); err != nil { //nolint:gosec // becomes the node's own /
			return fmt.Errorf("make disk: %w", err)
		}
	}
	lower := slices.Clone(d.layers)
	slices.Reverse(lower)
	for _, path := range append(lower, d.dir) {
		if strings.ContainsAny(path, ":,\\") {
			return fmt.Errorf("make disk: overlayfs cannot use the path %q: it contains ':', ',' or '\\'", path)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=on",
		strings.Join(lower, ":"), filepath.Join(d.dir, "upper"), filepath.Join(d.dir, "work"))
	if err := unix.Mount("overlay", d.root(), "overlay", 0, options); err != nil {
		if errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("mount disk at %s: %w (overlayfs cannot write to a folder that is on an overlayfs itself,"+
				" as in most containers: put the lab's data on another file system)", d.root(), err)
		}
		return fmt.Errorf("mount disk at %s: %w", d.root(), err)
	}
	return nil
}

// write puts a file on the mounted disk. It cannot leave the disk through a symbolic link.
func (d disk) write(path string, data []byte, mode fs.FileMode) error {
	root, err := os.OpenRoot(d.root())
	if err != nil {
		return fmt.Errorf("open disk: %w", err)
	}
	defer func() { _ = root.Close() }()
	path = strings.TrimPrefix(path, "/")
	if err := root.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := root.WriteFile(path, data, mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return root.Chmod(path, mode) // whatever the umask says
}

// SweepDisks unmounts everything below a folder, innermost first, and removes the folder with all disks in it.
func SweepDisks(ctx context.Context, dir string) error {
	points, err := mountPoints(dir)
	if err != nil {
		return err
	}
	for _, point := range points {
		if err := unmount(ctx, point); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove disks: %w", err)
	}
	return nil
}

// mountPoints lists what is mounted at or below a folder, last mounted first.
func mountPoints(dir string) ([]string, error) {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	var points []string
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) > 1 && (f[1] == dir || strings.HasPrefix(f[1], dir+"/")) {
			points = append(points, f[1])
		}
	}
	slices.Reverse(points)
	return points, nil
}

// unmount waits a moment for the last process that died in the file system, then insists.
func unmount(ctx context.Context, point string) error {
	// systemd-nspawn locks a root by device and inode and leaves the lock behind when it is killed.
	var s unix.Stat_t
	statErr := unix.Stat(point, &s)
	patience, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err := poll(patience, 20*time.Millisecond, func() (bool, error) {
		err := unix.Unmount(point, 0)
		if errors.Is(err, unix.EBUSY) {
			return false, nil
		}
		return true, err
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = unix.Unmount(point, unix.MNT_DETACH)
	}
	if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: not mounted any more
		return fmt.Errorf("unmount %s: %w", point, err)
	}
	if statErr == nil {
		lock := fmt.Sprintf("/run/systemd/nspawn/locks/inode-%d:%d", s.Dev, s.Ino)
		if err := os.Remove(lock); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove lock: %w", err)
		}
	}
	return nil
}
