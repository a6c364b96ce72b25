package cold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Mover is the side of this node. It works with the rights of its process, which are to be those of the account that the data belongs to.
// It is safe for concurrent use.
type Mover struct {
	cfg     Config
	pattern spec.DatePattern
	exclude *exclude.Set
	log     *slog.Logger
	now     func() time.Time
	// step is called before each operation that changes something, by its name; an error ends what is under way, as a kill would.
	step func(name string) error

	// lock is held by this process and those that it starts, nil for none.
	lock *os.File
	// moving has one operation that changes something at a time.
	moving sync.Mutex
	// copied are the directories that Copy has found whole, by their digests. It is guarded by moving.
	copied map[string]string
	// differing are versions that are kept because they are not what is in their places. It is guarded by moving.
	differing differing

	measuring sync.Mutex
	// bytes is the size of the root at a time.
	bytes    int64
	measured time.Time
}

var _ Side = (*Mover)(nil)

// NewMover returns the side of this node. It changes nothing yet.
func NewMover(cfg Config, log *slog.Logger) (*Mover, error) {
	pattern, err := cfg.pattern()
	if err != nil {
		return nil, err
	}
	set, err := exclude.Parse(append(slices.Clone(cfg.Exclude), ".unison.*.unison.tmp"))
	if err != nil {
		return nil, err
	}
	return &Mover{
		cfg: cfg, pattern: pattern, exclude: set, log: log, now: time.Now, step: func(string) error { return nil },
		copied: map[string]string{},
	}, nil
}

// treeThere fails with a Problem unless the tree is there.
func (m *Mover) treeThere() error {
	if _, err := os.Lstat(m.cfg.hot(m.cfg.Marker)); err != nil {
		return Problem(fmt.Sprintf("tree %s is not there: %v", m.cfg.Tree, err))
	}
	return nil
}

// ensure makes what has to be there once, and fails with a Problem unless the tree and the root are there.
func (m *Mover) ensure() error {
	if err := m.treeThere(); err != nil {
		return err
	}
	info, err := os.Lstat(m.cfg.Root)
	switch {
	case err != nil:
		return Problem(fmt.Sprintf("the cold root %s is not there (%v): mount its file system, or make the directory for the account of the pair", m.cfg.Root, err))
	case !info.IsDir():
		return Problem(fmt.Sprintf("the cold root %s is no directory: move away what is there", m.cfg.Root))
	}
	linked, err := os.Readlink(m.cfg.hot(RootLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Problem(fmt.Sprintf("%s cannot be read: %v", m.cfg.hot(RootLink), err))
	}
	pair, err := os.ReadFile(m.cfg.cold(marker))
	name := strings.TrimSpace(string(pair))
	switch {
	case err == nil && name == "":
		// The pair that it belonged to is gone.
		if err := m.mark(); err != nil {
			return Problem(fmt.Sprintf("the cold root %s cannot be written to: %v", m.cfg.Root, err))
		}
	case err == nil && name != m.cfg.Pair:
		return Problem(fmt.Sprintf("the cold root %s is that of pair %q: give each pair its own, or empty the file %s when that pair is gone", m.cfg.Root, name, m.cfg.cold(marker)))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Problem(fmt.Sprintf("the cold root %s cannot be read: %v", m.cfg.Root, err))
	case err != nil && linked == m.cfg.Root:
		return Problem(fmt.Sprintf("the cold root %s is not what it was: it has no %s. Mount its file system or restore it; to have a new disk filled from the other node, write the pair's name %s into that file, and give it and its directory to the account of the pair", m.cfg.Root, marker, m.cfg.Pair))
	case err != nil && linked != "":
		return Problem(fmt.Sprintf("the cold root was %s and is to be %s, which has no %s: move everything that is there, this directory included, or go back to the old path", linked, m.cfg.Root, Dir))
	case err != nil:
		if err := m.establish(); err != nil {
			return Problem(fmt.Sprintf("the cold root %s cannot be written to: %v", m.cfg.Root, err))
		}
	}
	// On a disk that an operator has marked they are not there.
	if err := errors.Join(mkdir(m.cfg.cold(stagingDir), 0o755), mkdir(m.cfg.cold(keptDir), 0o755)); err != nil {
		return Problem(fmt.Sprintf("the cold root %s cannot be written to, give its directory %s to the account of the pair: %v", m.cfg.Root, Dir, err))
	}
	if linked != m.cfg.Root {
		if err := m.relink(); err != nil {
			return Problem(fmt.Sprintf("tree %s cannot be written to: %v", m.cfg.Tree, err))
		}
	}
	return nil
}

// establish marks a root that is used for the first time.
func (m *Mover) establish() error {
	for _, dir := range []string{Dir, stagingDir, keptDir} {
		if err := mkdir(m.cfg.cold(dir), 0o755); err != nil {
			return err
		}
	}
	return m.mark()
}

// mark writes whose root it is.
func (m *Mover) mark() error {
	file := m.cfg.cold(marker)
	if err := os.WriteFile(file+".new", []byte(m.cfg.Pair), 0o644); err != nil {
		return err
	}
	if err := syncFileSystem(m.cfg.Root); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// relink has the tree know where the root is.
func (m *Mover) relink() error {
	if err := errors.Join(mkdir(m.cfg.hot(Dir), 0o755), mkdir(m.cfg.hot(asideDir), 0o700)); err != nil {
		return err
	}
	fresh := m.cfg.hot(RootLink + ".new")
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(m.cfg.Root, fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, m.cfg.hot(RootLink)); err != nil {
		return err
	}
	return syncFileSystem(m.cfg.Tree)
}

func mkdir(path string, mode fs.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// syncFileSystem has everything on the file system of a directory be on its disk (syncfs(2)).
func syncFileSystem(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return errors.Join(fmt.Errorf("sync the file system of %s: %w", dir, err), f.Close())
	}
	return f.Close()
}

// State implements Side.
func (m *Mover) State(context.Context) (State, error) {
	if err := m.treeThere(); err != nil {
		return State{}, err
	}
	var s State
	now := m.now()
	err := m.dated("", 0, func(dir string, linked bool) {
		switch {
		case linked:
			s.Linked = append(s.Linked, []byte(dir))
		default:
			s.Plain = append(s.Plain, []byte(dir))
			if m.pattern.Due(dir, m.cfg.OlderThan, now) {
				s.Due = append(s.Due, []byte(dir))
			}
		}
	})
	if err != nil {
		return s, Problem(fmt.Sprintf("tree %s cannot be read: %v", m.cfg.Tree, err))
	}
	var problem Problem
	if err := m.ensure(); errors.As(err, &problem) {
		s.Problem = problem
		return s, nil
	} else if err != nil {
		return s, err
	}
	aside, err := os.ReadDir(m.cfg.hot(asideDir))
	if err != nil {
		return s, Problem(fmt.Sprintf("%s cannot be read: %v", m.cfg.hot(asideDir), err))
	}
	for _, a := range aside {
		if a.IsDir() {
			s.Aside++
		}
	}
	s.Kept, _ = measure(m.cfg.cold(keptDir))
	s.Bytes = m.size()
	if s.Orphaned, err = m.orphaned("", 0); err != nil {
		return s, Problem(fmt.Sprintf("the cold root %s cannot be read: %v", m.cfg.Root, err))
	}
	return s, nil
}

// sizeFor is how long the size of the root is believed: to find it each file is looked at.
const sizeFor = time.Hour

// size returns the size of the root's files.
func (m *Mover) size() int64 {
	m.measuring.Lock()
	defer m.measuring.Unlock()
	if now := time.Now(); m.measured.IsZero() || now.Sub(m.measured) > sizeFor {
		_, m.bytes = measure(m.cfg.Root)
		m.measured = now
	}
	return m.bytes
}

// grown has the size be found anew.
func (m *Mover) grown() {
	m.measuring.Lock()
	defer m.measuring.Unlock()
	m.measured = time.Time{}
}

// dated calls found with each directory that the pattern matches.
func (m *Mover) dated(at string, depth int, found func(dir string, linked bool)) error {
	entries, err := os.ReadDir(m.cfg.hot(at))
	if err != nil {
		if depth > 0 && errors.Is(err, fs.ErrNotExist) {
			return nil // it went away meanwhile
		}
		return err
	}
	for _, e := range entries {
		dir := filepath.Join(at, e.Name())
		if !m.pattern.MatchName(depth, e.Name()) || m.exclude.Match(dir) {
			continue
		}
		if depth+1 < m.pattern.Depth() {
			if e.IsDir() {
				if err := m.dated(dir, depth+1, found); err != nil {
					return err
				}
			}
			continue
		}
		if _, ok := m.pattern.Ends(dir); !ok {
			continue
		}
		switch {
		case e.IsDir():
			found(dir, false)
		case e.Type() == fs.ModeSymlink && m.isLinked(dir):
			found(dir, true)
		}
	}
	return nil
}

func (m *Mover) isLinked(dir string) bool {
	text, err := os.Readlink(m.cfg.hot(dir))
	return err == nil && text == linkText(dir)
}

// orphaned counts the directories in the root that have nothing in their place in the tree.
func (m *Mover) orphaned(at string, depth int) (n int, err error) {
	entries, err := os.ReadDir(m.cfg.cold(at))
	if err != nil {
		return 0, ignoreMissing(err)
	}
	for _, e := range entries {
		dir := filepath.Join(at, e.Name())
		if !e.IsDir() || !m.pattern.MatchName(depth, e.Name()) || dir == Dir || m.exclude.Match(dir) {
			continue
		}
		if depth+1 < m.pattern.Depth() {
			below, err := m.orphaned(dir, depth+1)
			if err != nil {
				return n, err
			}
			n += below
			continue
		}
		if _, ok := m.pattern.Ends(dir); ok && !exists(m.cfg.hot(dir)) {
			n++
		}
	}
	return n, nil
}

// measure returns how many files there are below a directory, and their size in bytes.
func measure(dir string) (files int, bytes int64) {
	// What cannot be read is not counted.
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		if e.IsDir() {
			if strings.HasSuffix(path, "/"+stagingDir) {
				return fs.SkipDir
			}
			return nil
		}
		files++
		if info, err := e.Info(); err == nil {
			bytes += info.Size()
		}
		return nil
	})
	return files, bytes
}

// takeable returns the directory's plain place in the tree, or why it cannot be moved.
func (m *Mover) takeable(dir string) error {
	if err := m.ensure(); err != nil {
		return err
	}
	if _, ok := m.pattern.Ends(dir); !ok || m.exclude.Covers(dir) {
		return Problem(fmt.Sprintf("directory %q is none that pattern %s means", dir, m.pattern))
	}
	info, err := os.Lstat(m.cfg.hot(dir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return busy(dir, "it went away")
	case err != nil:
		return err
	case !info.IsDir():
		return busy(dir, "it is no directory any more")
	}
	return nil
}

// Follow implements Side.
func (m *Mover) Follow(ctx context.Context, dir string) error {
	m.moving.Lock()
	defer m.moving.Unlock()
	if err := m.takeable(dir); err != nil {
		return err
	}
	_, err := m.copy(ctx, dir, false)
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Copy implements Side.
func (m *Mover) Copy(ctx context.Context, dir string) (Copied, error) {
	m.moving.Lock()
	defer m.moving.Unlock()
	if err := m.takeable(dir); err != nil {
		return Copied{}, err
	}
	// Both nodes have to find it old enough.
	if !m.pattern.Due(dir, m.cfg.OlderThan, m.now()) {
		return Copied{}, busy(dir, "it is not old enough by this node's clock")
	}
	if err := m.quiet(ctx, dir); err != nil {
		return Copied{}, err
	}
	return m.copy(ctx, dir, true)
}

// Swap implements Side.
func (m *Mover) Swap(ctx context.Context, dir string) error {
	m.moving.Lock()
	defer m.moving.Unlock()
	if err := m.takeable(dir); err != nil {
		return err
	}
	if m.copied[dir] == "" {
		return fmt.Errorf("swap %q: it was not copied", dir)
	}
	return m.swap(ctx, dir)
}
