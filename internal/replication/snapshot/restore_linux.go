package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
)

const (
	// freshDir is where new copies are made, below Store.Aside/ID: nothing but these is ever there.
	freshDir = ".new"
	// batch is how many paths are copied before they are all put into their places.
	batch = 256
	// passes is how often copy and tree are compared at most: somebody who writes all the time would keep it going for ever.
	passes = 10
	// mostPlaces is how many versions of one path are kept at most.
	mostPlaces = 1000
)

// Restore puts the tree back to a snapshot. It fails with *RefusedError before it changes anything when the snapshot is not there, not whole or damaged;
// when it fails later, for want of room say, or is interrupted, it
// may be called again.
func (s *Store) Restore(ctx context.Context, id string, live *digest.Tree, progress func(Progress)) (Restored, error) {
	snap, err := s.Snapshot(id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Restored{}, s.refuse("there is no snapshot %s on %s", id, s.Node)
	case err != nil:
		return Restored{}, err
	case !snap.Whole():
		return Restored{}, s.refuse("snapshot %s on %s is not whole: nothing was put back", id, s.Node)
	}
	now, copied, err := s.verify(ctx, filepath.Join(snap.Path, copyDir), snap.Totals, progress)
	switch {
	case err != nil:
		return Restored{}, err
	case now.Settings != snap.Settings:
		return Restored{}, s.refuse("what the pair keeps equal (exclude patterns, attributes) is not what it was when snapshot %s was taken: set it as it was, then try again; nothing was put back", id)
	case now.Sum != snap.Digest || now.ProblemCount > 0:
		return Restored{}, s.refuse("snapshot %s on %s is damaged: what is in %s is not what was put there; nothing was put back", id, s.Node, snap.Path)
	}
	r := &restoring{Store: s, ctx: ctx, id: id, progress: progress}
	if err := r.begin(filepath.Join(snap.Path, copyDir)); err != nil {
		return Restored{}, err
	}
	defer r.end()
	for range passes {
		found, err := live.Digest(ctx, func(p digest.Progress) { progress(Progress{Doing: "comparing", Now: p.Seen, All: snap.Totals}) })
		if err != nil {
			return r.done, err
		}
		if found.Sum == snap.Digest && found.ProblemCount == 0 {
			r.done.Digest = found.Sum
			return r.done, r.finish()
		}
		c, err := digest.Compare(ctx, copied, live, digest.CompareOptions{})
		if err != nil {
			return r.done, err
		}
		if err := r.putBack(c); err != nil {
			return r.done, err
		}
	}
	return r.done, fmt.Errorf("pair %s: something changes tree %s all the time while it is put back: stop it (cron jobs, workers, users with a shell) and try again", s.Pair, s.Tree)
}

// restoring is a tree that is put back.
type restoring struct {
	*Store
	ctx      context.Context //nolint:containedctx // it lives as long as one call
	id       string
	progress func(Progress)
	// source is the copy, tree the tree, fresh where new copies are made.
	source, tree, fresh int
	// run is the number of this attempt, below which what is replaced is kept.
	run  int
	made int
	done Restored
}

// aside is a directory of what belongs to this restore, from the tree's root.
func (r *restoring) aside(name string) string { return path.Join(r.Aside, r.id, name) }

func (r *restoring) begin(source string) (err error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	r.source, r.tree, r.fresh = -1, -1, -1
	defer func() {
		if err != nil {
			r.end()
		}
	}()
	if r.source, err = unix.Open(source, flags, 0); err != nil {
		return &os.PathError{Op: "open", Path: source, Err: err}
	}
	if r.tree, err = unix.Open(r.Tree, flags, 0); err != nil {
		return &os.PathError{Op: "open", Path: r.Tree, Err: err}
	}
	// What an earlier attempt has left there are copies.
	if err := r.inTree(func(root *os.Root) error { return root.RemoveAll(r.aside(freshDir)) }); err != nil {
		return err
	}
	if r.fresh, err = r.make(r.aside(freshDir)); err != nil {
		return err
	}
	for r.run = 1; ; r.run++ {
		err := r.inTree(func(root *os.Root) error { _, err := root.Lstat(r.aside(strconv.Itoa(r.run))); return err })
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (r *restoring) end() {
	for _, fd := range []int{r.source, r.tree, r.fresh} {
		if fd >= 0 {
			_ = unix.Close(fd) // what has to be on the disk is synced before
		}
	}
}

// make opens a directory below the tree's root, and makes it, and those above it, where they are not there.
func (r *restoring) make(below string) (int, error) {
	fd, err := openIn(r.tree, ".")
	if err != nil {
		return -1, err
	}
	for name := range strings.SplitSeq(below, "/") {
		err := unix.Mkdirat(fd, name, 0o700)
		if errors.Is(err, unix.EEXIST) {
			err = nil
		}
		next := -1
		if err == nil {
			next, err = openIn(fd, name)
		}
		_ = unix.Close(fd) // nothing was written through it
		if err != nil {
			return -1, fmt.Errorf("make %q: %w", below, err)
		}
		fd = next
	}
	return fd, nil
}

// finish removes what is of no use any more, and has everything on the disk.
func (r *restoring) finish() error {
	err := r.inTree(func(root *os.Root) error {
		if err := root.RemoveAll(r.aside(freshDir)); err != nil {
			return err
		}
		// It is empty when nothing was replaced, now or before.
		err := root.Remove(path.Join(r.Aside, r.id))
		if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
			r.done.Replaced, err = r.replaced(r.id), nil
		}
		return err
	})
	return errors.Join(err, unix.Syncfs(r.tree))
}

// putBack puts back everything that differs.
func (r *restoring) putBack(c digest.Comparison) error {
	all := digest.Totals{Files: int64(len(c.Differences))}
	for i := 0; i < len(c.Differences); i += batch {
		part := c.Differences[i:min(i+batch, len(c.Differences))]
		copies, err := r.copies(part)
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			return r.refuse("there is no room on the file system of tree %s for what is to be put back beside what is there: make room and try again; some of it is put back (%v)", r.Tree, err)
		}
		if err != nil {
			return err
		}
		for n, d := range part {
			if err := r.ctx.Err(); err != nil {
				return err
			}
			if err := r.fault("put back"); err != nil {
				return err
			}
			if err := r.one(d, copies[n]); err != nil {
				return fmt.Errorf("put back %q: %w", d.Path, err)
			}
			r.progress(Progress{Doing: "putting back", Now: digest.Totals{Files: int64(i + n + 1)}, All: all})
		}
	}
	return nil
}

// copies makes new copies of what is to be put back, and has them on the disk. "" is for what takes none.
func (r *restoring) copies(part []digest.Difference) ([]string, error) {
	c := newCopier(r.ctx, nil, nil)
	defer c.close()
	out := make([]string, len(part))
	for i, d := range part {
		if !r.replaces(d) {
			continue
		}
		dir, name := path.Split(string(d.Path))
		from, err := openBelow(r.source, strings.TrimSuffix(dir, "/"))
		if err != nil {
			return nil, fmt.Errorf("the snapshot: %w", err)
		}
		r.made++
		out[i] = strconv.Itoa(r.made)
		err = c.entry(from, name, r.fresh, out[i], string(d.Path))
		_ = unix.Close(from) // nothing was written
		if err != nil {
			return nil, fmt.Errorf("copy from the snapshot: %w", err)
		}
	}
	return out, unix.Syncfs(r.tree)
}

// replaces tells whether a new copy is put into a path's place.
func (r *restoring) replaces(d digest.Difference) bool {
	switch d.Kind {
	case digest.MissingThere, digest.OtherType, digest.OtherContent:
		return true
	case digest.OtherMetadata:
		var st unix.Stat_t
		dir, name := path.Split(string(d.Path))
		from, err := openBelow(r.source, strings.TrimSuffix(dir, "/"))
		if err != nil {
			return false // the next step says why
		}
		defer unix.Close(from) //nolint:errcheck // nothing was written
		return unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR
	case digest.MissingHere, digest.NotRead, digest.Changed:
	}
	return false
}

// one puts one path back. What is in its way by then is left for the next comparison.
func (r *restoring) one(d digest.Difference, copied string) error {
	at := string(d.Path)
	if d.Kind == digest.NotRead {
		return fmt.Errorf("it cannot be read: %s", d.Message)
	}
	if d.Kind == digest.Changed {
		return nil
	}
	dir, name := path.Split(at)
	parent, err := openBelow(r.tree, strings.TrimSuffix(dir, "/"))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(parent) //nolint:errcheck // nothing was written through it
	switch {
	case d.Kind == digest.MissingHere:
		if err = r.keep(at, func(to int, as string) error { return unix.Renameat2(parent, name, to, as, unix.RENAME_NOREPLACE) }); err == nil {
			r.done.Removed++
		}
	case d.Kind == digest.MissingThere:
		if err = unix.Renameat2(r.fresh, copied, parent, name, unix.RENAME_NOREPLACE); err == nil {
			r.done.Added++
		}
	case copied == "":
		if err = r.metadata(at, parent, name); err == nil {
			r.done.Changed++
		}
	default:
		if err = r.exchange(at, parent, name, copied); err == nil {
			r.done.Changed++
		}
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// exchange puts a copy into the place of what is there, which is aside from then on.
func (r *restoring) exchange(at string, parent int, name, copied string) error {
	return r.keep(at, func(to int, as string) error {
		// From here on it has the name under which what it replaces is kept: whatever has happened when this is interrupted, nothing there is removed.
		if err := unix.Renameat2(r.fresh, copied, to, as, unix.RENAME_NOREPLACE); err != nil {
			return err
		}
		err := r.fault("exchange")
		if err == nil {
			err = unix.Renameat2(to, as, parent, name, unix.RENAME_EXCHANGE)
		}
		if errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("this file system cannot exchange two names: %w", err)
		}
		return err
	})
}

// keep has a path moved to where what was replaced is kept, under its own path. Something else may be there from the same run: then it goes to the
// next one.
func (r *restoring) keep(at string, move func(to int, as string) error) error {
	dir, name := path.Split(at)
	for run := r.run; run < r.run+mostPlaces; run++ {
		to, err := r.make(path.Join(r.aside(strconv.Itoa(run)), dir))
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			continue // a file has that name there
		}
		if err != nil {
			return err
		}
		err = move(to, name)
		_ = unix.Close(to) // nothing was written through it
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return unix.EEXIST
}

// metadata gives a directory the mode and the attributes that it has in the snapshot.
func (r *restoring) metadata(at string, parent int, name string) error {
	source, err := openBelow(r.source, at)
	if err != nil {
		return err
	}
	defer unix.Close(source) //nolint:errcheck // nothing was written
	target, err := openIn(parent, name)
	if err != nil {
		return err
	}
	defer unix.Close(target) //nolint:errcheck // directories have nothing to flush
	return metadata(source, target, true)
}
