package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
)

const (
	copyDir  = "tree"
	manifest = "snapshot.json"
	// fewPaths is how many paths an error names.
	fewPaths = 5
	// spareBytes and sparePart are what has to be left of a file system: so many bytes, and one part of so many of its size.
	spareBytes = 64 << 20
	sparePart  = 50
	// perClone and perCopy are what a file takes of a file system beside its contents, in bytes: what describes it, and the rest of its last block.
	perClone = 1 << 10
	perCopy  = 4 << 10
)

// Store is where the snapshots of one tree are. Its methods are not safe for concurrent use.
type Store struct {
	Pair, Node string
	// Tree is the root of the tree, Dir where its snapshots are.
	Tree, Dir string
	// Aside is a directory of the tree, from its root, that is excluded from it and that only root may write to: what is put back is made there, and
	// what was replaced stays there.
	Aside string
	// Options are those of the digests of the pair.
	Options digest.Options
	// Now is the clock.
	Now func() time.Time
	// Fault, when not nil, is called before each step that changes something: what it returns ends the action there, as a crash does.
	Fault func(step string) error
}

func (s *Store) fault(step string) error {
	if s.Fault == nil {
		return nil
	}
	return s.Fault(step)
}

func (s *Store) refuse(format string, args ...any) error {
	return &RefusedError{Pair: s.Pair, Reason: fmt.Sprintf(format, args...)}
}

func (s *Store) path(id string) string { return filepath.Join(s.Dir, id) }

// replaced is where what was replaced is, for people.
func (s *Store) replaced(id string) string { return filepath.Join(s.Tree, s.Aside, id) }

// inTree works within the tree, which nothing is reached outside of: its owner may put links anywhere.
func (s *Store) inTree(do func(*os.Root) error) error {
	root, err := os.OpenRoot(s.Tree)
	if err != nil {
		return err
	}
	return errors.Join(do(root), root.Close())
}

// Snapshot returns what there is under an ID. One that is not whole is no error, one that is not there is one that wraps fs.ErrNotExist.
func (s *Store) Snapshot(id string) (Snapshot, error) {
	out := Snapshot{ID: id, Pair: s.Pair, Node: s.Node, Tree: s.Tree, Path: s.path(id)}
	if !ValidID(id) {
		return out, s.refuse("%q is no ID of a snapshot", id)
	}
	if _, err := os.Lstat(s.path(id)); err != nil {
		return out, err
	}
	text, err := os.ReadFile(filepath.Join(s.path(id), manifest))
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return out, err
	}
	whole := out
	if err := json.Unmarshal(text, &whole); err != nil || whole.ID != id {
		return out, nil //nolint:nilerr // a damaged one is as good as none
	}
	if err := s.inTree(func(root *os.Root) error { _, err := root.Lstat(filepath.Join(s.Aside, id)); return err }); err == nil {
		whole.Replaced = s.replaced(id)
	}
	return whole, nil
}

// List returns all snapshots, those that are not whole included, by ID.
func (s *Store) List() ([]Snapshot, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Snapshot
	for _, e := range entries {
		if !e.IsDir() || !ValidID(e.Name()) {
			continue
		}
		one, err := s.Snapshot(e.Name())
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// Remove removes a snapshot and what was put aside when the tree was put back to it.
func (s *Store) Remove(id string) error {
	if !ValidID(id) {
		return s.refuse("%q is no ID of a snapshot", id)
	}
	// What says that it is whole goes first.
	err := os.Remove(filepath.Join(s.path(id), manifest))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err := errors.Join(err, s.fault("remove")); err != nil {
		return err
	}
	err = s.inTree(func(root *os.Root) error { return root.RemoveAll(filepath.Join(s.Aside, id)) })
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // there is no tree
	}
	return errors.Join(os.RemoveAll(s.path(id)), err)
}

// Take makes a snapshot of a tree, whose digests are made by live, or finds the one that is there. It fails with *RefusedError when there is no room
// for it and when the tree cannot be copied as it is; then nothing is left of it.
func (s *Store) Take(ctx context.Context, id string, live *digest.Tree, progress func(Progress)) (Snapshot, error) {
	have, err := s.Snapshot(id)
	switch {
	case err == nil && have.Whole():
		return have, nil
	case err == nil: // it was interrupted
		if err := os.RemoveAll(s.path(id)); err != nil {
			return have, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return have, err
	}
	room, before, err := s.check(ctx, live, progress)
	if err != nil {
		return have, err
	}
	if err := s.fault("make"); err != nil {
		return have, err
	}
	taken, err := s.take(ctx, have, room, before, live, progress)
	var crashed *Crash
	if err != nil && !errors.As(err, &crashed) {
		err = errors.Join(err, os.RemoveAll(s.path(id)))
	}
	return taken, err
}

// Crash is an error of Fault that leaves everything as a crash does.
type Crash struct{ Step string }

// Error names the step.
func (c *Crash) Error() string { return "crashed before: " + c.Step }

// mkdir makes the directory of a snapshot, which only root may enter.
func (s *Store) mkdir(id string) error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	return errors.Join(os.Mkdir(s.path(id), 0o700), os.Mkdir(filepath.Join(s.path(id), copyDir), 0o700))
}

func (s *Store) take(ctx context.Context, out Snapshot, room Room, before *digest.Snapshot, live *digest.Tree, progress func(Progress)) (Snapshot, error) {
	if err := s.mkdir(out.ID); err != nil {
		return out, err
	}
	copied := filepath.Join(out.Path, copyDir)
	if err := s.copy(ctx, room, copied, progress); err != nil {
		return out, err
	}
	if err := s.fault("digest"); err != nil {
		return out, err
	}
	after, whole, err := s.verify(ctx, copied, before.Totals, progress)
	if err != nil {
		return out, err
	}
	if after.Sum != before.Sum || after.ProblemCount > 0 {
		return out, s.differs(ctx, whole, live)
	}
	out.Digest, out.Settings, out.Totals, out.Method, out.Taken = before.Sum, before.Settings, before.Totals, room.Method, s.Now().UTC()
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return out, err
	}
	if err := s.fault("manifest"); err != nil {
		return out, err
	}
	return out, writeFile(out.Path, manifest, text)
}

// copy copies the tree and has the copy on the disk.
func (s *Store) copy(ctx context.Context, room Room, to string, progress func(Progress)) error {
	c := newCopier(ctx, s.Options.Exclude, func(done digest.Totals) { progress(Progress{Doing: "copying", Now: done, All: room.Totals}) })
	c.plain = room.Method == Copied
	defer c.close()
	source, err := unix.Open(s.Tree, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: s.Tree, Err: err}
	}
	defer unix.Close(source) //nolint:errcheck // nothing was written
	target, err := unix.Open(to, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: to, Err: err}
	}
	defer unix.Close(target) //nolint:errcheck // it is synced below
	if err := s.fault("copy"); err != nil {
		return err
	}
	err = c.directory(source, target, "")
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return s.refuse("there was not enough room for the snapshot in %s after all: %v", s.Dir, err)
	}
	if err != nil {
		return err
	}
	return unix.Syncfs(target)
}

// verify reads a copy and returns its digest.
func (s *Store) verify(ctx context.Context, copied string, all digest.Totals, progress func(Progress)) (*digest.Snapshot, *digest.Tree, error) {
	tree := digest.New(copied, s.Options)
	found, err := tree.Digest(ctx, func(p digest.Progress) { progress(Progress{Doing: "reading the snapshot", Now: p.Seen, All: all}) })
	return found, tree, err
}

// differs says what has kept a copy from being what the tree is.
func (s *Store) differs(ctx context.Context, copied, live *digest.Tree) error {
	if _, err := live.Digest(ctx, nil); err != nil {
		return err
	}
	c, err := digest.Compare(ctx, copied, live, digest.CompareOptions{Limit: fewPaths})
	if err != nil {
		return err
	}
	if c.Equal {
		return s.refuse("something has changed the tree while it was copied: stop it (cron jobs, workers, users with a shell) and try again")
	}
	return s.refuse("the snapshot is not what the tree is, since something changes it: stop that (cron jobs, workers, users with a shell) and try again: %s", paths(c))
}

// paths names the first paths of a comparison.
func paths(c digest.Comparison) string {
	var out []string
	for _, d := range c.Differences {
		out = append(out, fmt.Sprintf("%q (%s)", d.Path, d.Kind))
	}
	if c.Truncated {
		out = append(out, "and more")
	}
	return strings.Join(out, ", ")
}

// Check says whether there is room for a snapshot. It fails with *RefusedError when there is not, and when the tree cannot be read.
func (s *Store) Check(ctx context.Context, live *digest.Tree, progress func(Progress)) (Room, error) {
	room, _, err := s.check(ctx, live, progress)
	return room, err
}

func (s *Store) check(ctx context.Context, live *digest.Tree, progress func(Progress)) (Room, *digest.Snapshot, error) {
	now, err := live.Digest(ctx, func(p digest.Progress) { progress(Progress{Doing: "reading the tree", Now: p.Seen}) })
	if err != nil {
		return Room{}, nil, err
	}
	if now.ProblemCount > 0 {
		p := now.Problems[0]
		return Room{}, nil, s.refuse("%d paths cannot be read, so that no snapshot would be whole: %q: %s", now.ProblemCount, p.Path, p.Message)
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return Room{}, nil, err
	}
	room := Room{Dir: s.Dir, Method: Copied, Totals: now.Totals}
	clones, err := s.clones()
	if err != nil {
		return room, nil, err
	}
	entries := now.Totals.Files + now.Totals.Directories
	room.NeedBytes, room.NeedInodes = now.Totals.Bytes+entries*perCopy, entries
	if clones {
		room.Method, room.NeedBytes = Cloned, entries*perClone
	}
	var st unix.Statfs_t
	if err := unix.Statfs(s.Dir, &st); err != nil {
		return room, nil, &os.PathError{Op: "statfs", Path: s.Dir, Err: err}
	}
	var at unix.Stat_t
	if err := unix.Stat(s.Dir, &at); err != nil {
		return room, nil, &os.PathError{Op: "stat", Path: s.Dir, Err: err}
	}
	room.Device = at.Dev
	room.FreeBytes, room.FreeInodes = int64(st.Bavail)*st.Bsize, int64(st.Ffree)
	room.SpareBytes, room.SpareInodes = min(spareBytes, int64(st.Blocks)*st.Bsize/sparePart), int64(st.Files)/sparePart
	if st.Files == 0 {
		room.NeedInodes, room.FreeInodes, room.SpareInodes = -1, -1, 0 // they are made as they go
	}
	switch {
	case room.NeedBytes+room.SpareBytes > room.FreeBytes:
		return room, nil, s.refuse("a snapshot of %s would take %d bytes in %s and leave %d: there are %d; make room, or mount a larger file system there",
			s.Tree, room.NeedBytes, s.Dir, room.SpareBytes, room.FreeBytes)
	case room.NeedInodes >= 0 && room.NeedInodes+room.SpareInodes > room.FreeInodes:
		return room, nil, s.refuse("a snapshot of %s would take %d inodes in %s and leave %d: there are %d; make room, or mount another file system there",
			s.Tree, room.NeedInodes, s.Dir, room.SpareInodes, room.FreeInodes)
	}
	return room, now, nil
}

// clones tells whether files of the tree can be cloned into a snapshot.
func (s *Store) clones() (cloned bool, err error) {
	name := filepath.Join(filepath.Dir(s.Aside), ".clone-"+s.Pair)
	err = s.inTree(func(root *os.Root) error {
		if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		source, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		_, err = source.Write(make([]byte, 64<<10))
		if err == nil {
			cloned, err = s.clone(source)
		}
		return errors.Join(err, source.Close(), root.Remove(name))
	})
	return cloned, err
}

// clone tells whether a file can be cloned to where snapshots are.
func (s *Store) clone(source *os.File) (cloned bool, err error) {
	target, err := os.CreateTemp(s.Dir, ".clone-")
	if err != nil {
		return false, err
	}
	err = unix.IoctlFileClone(int(target.Fd()), int(source.Fd()))
	cloned = err == nil
	if err != nil && noClone(err) {
		err = nil
	}
	return cloned, errors.Join(err, target.Close(), os.Remove(target.Name()))
}

// writeFile puts a file into a directory, whole or not at all, also after a loss of power.
func writeFile(dir, name string, text []byte) error {
	f, err := os.OpenFile(filepath.Join(dir, name+".new"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, name+".new"), filepath.Join(dir, name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
