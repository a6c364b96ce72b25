package cold

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Finish implements Side.
func (m *Mover) Finish(ctx context.Context) error {
	m.moving.Lock()
	defer m.moving.Unlock()
	if err := m.ensure(); err != nil {
		return err
	}
	entries, err := os.ReadDir(m.cfg.hot(asideDir))
	if err != nil {
		return err
	}
	var problems []error
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		dir, ok := dirOf(e.Name())
		if !ok || !e.IsDir() {
			continue // a link that is left over is removed before the next exchange
		}
		err := m.finish(ctx, filepath.Join(m.cfg.hot(asideDir), e.Name()), dir)
		if errors.Is(err, errKilled) {
			return err
		}
		if err != nil && !isBusy(err) {
			problems = append(problems, err)
		}
	}
	return errors.Join(append(problems, m.clearStaging(), m.clearKept())...)
}

// clearKept removes kept versions that are what is in their places.
func (m *Mover) clearKept() error {
	runs, err := os.ReadDir(m.cfg.cold(keptDir))
	if err != nil {
		return err
	}
	m.differing.begin()
	for _, run := range runs {
		top := m.cfg.cold(filepath.Join(keptDir, run.Name()))
		err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			place, err := filepath.Rel(top, path)
			if err != nil {
				return err
			}
			same, err := m.differing.same(path, m.cfg.cold(place))
			if !same || err != nil {
				return err
			}
			return m.do("clear kept", func() error { return os.Remove(path) })
		})
		if err != nil {
			return err
		}
		pruneEmpty(top)
	}
	m.differing.end()
	return nil
}

// clearStaging removes copies whose directories were moved in another way, or are gone.
func (m *Mover) clearStaging() error {
	entries, err := os.ReadDir(m.cfg.cold(stagingDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir, ok := dirOf(e.Name())
		if !ok {
			continue
		}
		if info, err := os.Lstat(m.cfg.hot(dir)); err == nil && info.IsDir() && !exists(m.cfg.cold(dir)) {
			continue
		}
		err := m.do("clear staging", func() error { return os.RemoveAll(filepath.Join(m.cfg.cold(stagingDir), e.Name())) })
		if err != nil {
			return err
		}
	}
	return nil
}

// finish removes what was put aside of a directory, as far as it is in the root and nobody writes into it. What is not in the root is brought there.
func (m *Mover) finish(ctx context.Context, aside, dir string) error {
	info, err := os.Lstat(aside)
	if err != nil {
		return ignoreMissing(err)
	}
	// Whoever was about to open something in it when it was exchanged has done so by then.
	if age := m.now().Sub(changed(info)); age < m.cfg.Settled && age > -m.cfg.Settled {
		return busy(dir, "it was replaced a short time ago")
	}
	// What is in the root may be so in memory alone, since an earlier program was killed.
	if err := m.do("sync before removing", func() error { return syncFileSystem(m.cfg.Root) }); err != nil {
		return err
	}
	err = m.remove(ctx, aside, aside, dir)
	if !errors.Is(err, errUncovered) {
		return err
	}
	if err := m.merge(ctx, aside, dir); err != nil {
		return err
	}
	err = m.remove(ctx, aside, aside, dir)
	if errors.Is(err, errUncovered) {
		return busy(dir, "what was replaced changes all the time: %v", err)
	}
	return err
}

// errUncovered is for what is not in the root.
var errUncovered = errors.New("it is not in the cold root")

// remove removes a path that is aside and everything below it. What is not in the root stays, and everything above it: errUncovered. So does what
// somebody has open for writing: *BusyError.
func (m *Mover) remove(ctx context.Context, top, path, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	var uncovered, others error
	for _, e := range entries {
		one := filepath.Join(path, e.Name())
		var err error
		if e.IsDir() {
			err = m.remove(ctx, top, one, dir)
		} else {
			err = m.removeFile(top, one, dir)
		}
		switch {
		case errors.Is(err, errKilled):
			return err
		case errors.Is(err, errUncovered):
			uncovered = err
		case err != nil:
			others = err
		}
	}
	if err := errors.Join(uncovered, others); err != nil {
		if uncovered != nil {
			return uncovered
		}
		return others
	}
	relative, err := filepath.Rel(top, path)
	if err != nil {
		return err
	}
	// An empty directory is something, too.
	if info, err := os.Lstat(m.cfg.cold(filepath.Join(dir, relative))); err != nil || !info.IsDir() {
		return fmt.Errorf("%s: %w", path, errUncovered)
	}
	err = m.do("remove directory", func() error { return os.Remove(path) })
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%s: something was put into it: %w", path, errUncovered)
	}
	return err
}

// removeFile removes a file that is aside when it is in the root.
func (m *Mover) removeFile(top, path, dir string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return ignoreMissing(err)
	}
	kept := func() error { return nil }
	if info.Mode().IsRegular() {
		f, err := openFile(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		kept = func() error { return keepsLease(f) }
		// From here on, and until it is removed, nobody writes into it.
		if err := lease(f); errors.Is(err, unix.EAGAIN) {
			return busy(dir, "%q is open for writing", path)
		} else if err != nil {
			return err
		}
	}
	relative, err := filepath.Rel(top, path)
	if err != nil {
		return err
	}
	covered, err := m.covered(path, filepath.Join(dir, relative))
	if err != nil {
		return err
	}
	if !covered {
		return fmt.Errorf("%s: %w", path, errUncovered)
	}
	// To compare may have taken longer than a lease lasts that somebody waits for.
	if err := kept(); err != nil {
		return busy(dir, "%q: %v", path, err)
	}
	return m.do("remove file", func() error { return os.Remove(path) })
}

// covered tells whether a file is in the root, in its place or among the versions that are kept.
func (m *Mover) covered(path, place string) (bool, error) {
	same, err := sameFile(path, m.cfg.cold(place))
	if same || err != nil {
		return same, err
	}
	kept, err := os.ReadDir(m.cfg.cold(keptDir))
	if err != nil {
		return false, err
	}
	for _, run := range kept {
		same, err := sameFile(path, m.cfg.cold(filepath.Join(keptDir, run.Name(), place)))
		if same || err != nil {
			return same, err
		}
	}
	return false, nil
}

// uncovered returns the first path below a directory that is not in the root, "" for none.
func (m *Mover) uncovered(ctx context.Context, top, dir string) (string, error) {
	missing := ""
	err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		place := filepath.Join(dir, relative)
		covered := false
		if e.IsDir() {
			info, err := os.Lstat(m.cfg.cold(place))
			covered = err == nil && info.IsDir()
		} else if covered, err = m.covered(path, place); err != nil {
			return err
		}
		if !covered {
			missing = path
			return filepath.SkipAll
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return "", busy(dir, "it changes: %v", err)
	}
	return missing, err
}

// sameFile tells whether two paths are of the same type and content. What is not there is no error, but different.
func sameFile(a, b string) (bool, error) {
	one, err := os.Lstat(a)
	if err != nil {
		return false, err
	}
	other, err := os.Lstat(b)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENAMETOOLONG) {
		return false, nil
	}
	if err != nil || one.Mode().Type() != other.Mode().Type() {
		return false, err
	}
	switch {
	case one.Mode().Type() == fs.ModeSymlink:
		left, err := os.Readlink(a)
		if err != nil {
			return false, err
		}
		right, err := os.Readlink(b)
		return left == right, err
	case !one.Mode().IsRegular():
		return true, nil // a socket or a FIFO has nothing in it
	case one.Size() != other.Size():
		return false, nil
	}
	return sameBytes(a, b)
}

func sameBytes(a, b string) (bool, error) {
	left, err := openFile(a)
	if err != nil {
		return false, err
	}
	defer func() { _ = left.Close() }()
	right, err := openFile(b)
	if err != nil {
		return false, err
	}
	defer func() { _ = right.Close() }()
	const piece = 256 << 10
	one, other := make([]byte, piece), make([]byte, piece)
	for {
		n, err := io.ReadFull(left, one)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return false, err
		}
		m, otherErr := io.ReadFull(right, other)
		if otherErr != nil && !errors.Is(otherErr, io.EOF) && !errors.Is(otherErr, io.ErrUnexpectedEOF) {
			return false, otherErr
		}
		if !bytes.Equal(one[:n], other[:m]) {
			return false, nil
		}
		if n < piece {
			return true, nil
		}
	}
}
