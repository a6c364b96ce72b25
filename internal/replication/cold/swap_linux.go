package cold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// swap puts a link in the place of a directory that was copied. It fails without a trace, or it has happened and is on the disk.
func (m *Mover) swap(ctx context.Context, dir string) error {
	name, err := id(0, dir)
	if err != nil {
		return err
	}
	defer delete(m.copied, dir)
	slot, err := m.slot(dir)
	if err != nil {
		return err
	}
	place := m.cfg.cold(dir)
	staged := m.cfg.cold(filepath.Join(stagingDir, name))
	placed := false
	if !exists(place) {
		if placed = true; !exists(staged) {
			return fmt.Errorf("swap %q: its copy is gone", dir)
		}
		// What has its name has to be whole, whenever the power fails.
		if err := m.do("sync copy", func() error { return syncFileSystem(m.cfg.Root) }); err != nil {
			return err
		}
		if err := m.makeParents(dir); err != nil {
			return err
		}
		err := m.do("place", func() error {
			return unix.Renameat2(unix.AT_FDCWD, staged, unix.AT_FDCWD, place, unix.RENAME_NOREPLACE)
		})
		if err != nil {
			return fmt.Errorf("move the copy of %q to %s: %w", dir, place, err)
		}
	}
	back := func(err error) error {
		err = errors.Join(err, ignoreMissing(os.Remove(slot)))
		if placed && !m.isLinked(dir) {
			// Nobody has reached it.
			err = errors.Join(err, os.Rename(place, staged))
		}
		return err
	}
	if err := m.do("sync place", func() error { return syncFileSystem(m.cfg.Root) }); err != nil {
		return err
	}
	if err := m.do("link", func() error { return os.Symlink(linkText(dir), slot) }); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return back(err)
	}
	if err := m.do("exchange", func() error { return exchange(m.cfg.hot(dir), slot) }); err != nil {
		if errors.Is(err, errKilled) {
			return err
		}
		if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
			err = Problem(fmt.Sprintf("directory %q is not moved: it is on a file system of its own, or one that cannot exchange two names (%v)", dir, err))
		}
		return back(fmt.Errorf("put a link in the place of %q: %w", dir, err))
	}
	// Between the last look and the exchange somebody else may have put something else there.
	if info, err := os.Lstat(slot); err == nil && !info.IsDir() {
		if err := exchange(m.cfg.hot(dir), slot); err != nil {
			return fmt.Errorf("put back what has come in the place of %q: %w", dir, err)
		}
		return back(busy(dir, "it is no directory any more"))
	}
	m.grown()
	return m.do("sync tree", func() error { return syncFileSystem(m.cfg.Tree) })
}

// slots is how many directories of one name may be aside.
const slots = 100

// slot returns a path where a directory can be put aside. A link there is of an exchange that did not happen, and is removed.
func (m *Mover) slot(dir string) (string, error) {
	for n := range slots {
		name, err := id(n, dir)
		if err != nil {
			return "", err
		}
		slot := m.cfg.hot(filepath.Join(asideDir, name))
		switch info, err := os.Lstat(slot); {
		case errors.Is(err, fs.ErrNotExist):
			return slot, nil
		case err != nil:
			return "", err
		case !info.IsDir():
			return slot, m.do("remove left link", func() error { return os.Remove(slot) })
		}
	}
	return "", busy(dir, "what was in its place before is not removed yet")
}

// errKilled is how a test ends an operation at a step: nothing is cleaned up after it, as after a kill.
var errKilled = errors.New("killed")

// do runs one operation that changes something.
func (m *Mover) do(name string, operation func() error) error {
	if err := m.step(name); err != nil {
		return err
	}
	return operation()
}

func exchange(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// makeParents makes the directories above a directory in the root as they are in the tree.
func (m *Mover) makeParents(dir string) error {
	parent := filepath.Dir(dir)
	if parent == "." || exists(m.cfg.cold(parent)) {
		return nil
	}
	if err := m.makeParents(parent); err != nil {
		return err
	}
	info, err := os.Stat(m.cfg.hot(parent))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return m.do("make parent", func() error {
		err := mkdir(m.cfg.cold(parent), 0o700)
		if err != nil || info == nil { // it was removed from the tree meanwhile
			return err
		}
		return os.Chmod(m.cfg.cold(parent), info.Mode()&(fs.ModePerm|fs.ModeSetgid|fs.ModeSticky))
	})
}
