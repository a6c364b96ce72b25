package cold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// quiet fails with *BusyError while somebody works in a directory of the tree, and with a Problem when it has what cannot be moved.
func (m *Mover) quiet(ctx context.Context, dir string) error {
	top := m.cfg.hot(dir)
	var device uint64
	return filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		var info fs.FileInfo
		if err == nil {
			info, err = e.Info()
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return busy(dir, "%q went away", path)
		case errors.Is(err, fs.ErrPermission):
			return Problem(fmt.Sprintf("directory %q is not moved: %v", dir, err))
		case err != nil:
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s: the file system says too little", path)
		}
		if path == top {
			device = stat.Dev
		}
		if stat.Dev != device {
			return Problem(fmt.Sprintf("directory %q is not moved: another file system is mounted at %q", dir, path))
		}
		// What is of far in the future is of a clock that was wrong.
		if age := m.now().Sub(changed(info)); age < m.cfg.Settled && age > -m.cfg.Settled {
			return busy(dir, "%q has changed %s ago", path, max(age, 0).Round(time.Second))
		}
		switch {
		case e.IsDir():
			return nil
		case e.Type() == fs.ModeSymlink:
			return staysInside(top, dir, path)
		case e.Type().IsRegular():
			return m.unwritten(dir, path)
		}
		return Problem(fmt.Sprintf("directory %q is not moved: %q is a socket, a FIFO or a device", dir, path))
	})
}

// changed returns when a file, its attributes or its name were changed last.
func changed(info fs.FileInfo) time.Time {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.ModTime()
	}
	return time.Unix(stat.Ctim.Unix())
}

// staysInside fails for a link that would lead elsewhere from the directory's new place.
func staysInside(top, dir, path string) error {
	text, err := os.Readlink(path)
	if err != nil {
		return ignoreMissing(err)
	}
	relative, err := filepath.Rel(top, filepath.Dir(path))
	if err != nil {
		return err
	}
	if !filepath.IsAbs(text) && !filepath.IsLocal(filepath.Join(relative, text)) {
		return Problem(fmt.Sprintf("directory %q is not moved: the link %q leads out of it by a relative path, and would lead elsewhere from the cold root", dir, path))
	}
	return nil
}

// unwritten fails with *BusyError while somebody has a file open for writing.
func (m *Mover) unwritten(dir, path string) error {
	f, err := openFile(path)
	if err == nil {
		defer func() { _ = f.Close() }()
		err = lease(f)
	}
	switch {
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, unix.EAGAIN):
		return busy(dir, "%q is open for writing", path)
	}
	return Problem(fmt.Sprintf("directory %q is not moved: whether %q is being written cannot be told: %v", dir, path, err))
}

// openFile opens a regular file for reading, without waiting for anybody.
func openFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
}

// lease takes a read lease on a file until it is closed: it fails with EAGAIN while the file is open for writing, and whoever opens it so later
// waits until it is closed, up to /proc/sys/fs/lease-break-time (fcntl(2)). Only the file's owner may.
func lease(f *os.File) error {
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		return &os.PathError{Op: "lease", Path: f.Name(), Err: err}
	}
	return nil
}

var errLeaseBroken = errors.New("somebody waits to write into it")

// keepsLease fails when somebody has tried to open a file for writing since the lease was taken.
func keepsLease(f *os.File) error {
	kind, err := unix.FcntlInt(f.Fd(), unix.F_GETLEASE, 0)
	if err != nil {
		return err
	}
	if kind != unix.F_RDLCK {
		return errLeaseBroken
	}
	return nil
}
