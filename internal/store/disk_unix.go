//go:build unix

package store

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

const (
	suffix     = ".json"
	quarantine = "quarantine"
	// newer ends the name of a record's file that a newer Atoll wrote. It waits under that name for the next upgrade, out
	// of the way of a record of the same key that this version can read.
	newer    = ".newer"
	lockFile = ".lock"
	// writers bounds how many files are forced to disk at once.
	writers = 8
	// maxQuarantine is how many files of earlier starts stay in quarantine when another one comes: enough to see how it
	// began and that it goes on, while a disk that damages a record at each start is not filled as well.
	maxQuarantine = 16
)

// files keeps one file per record in a directory.
type files struct {
	dir  string
	lock *os.File
	// pruned tells that the quarantine was looked through since the store was opened.
	pruned bool
}

// onDisk is the content of a record's file.
type onDisk struct {
	Record   Record     `json:"record"`
	Conflict *time.Time `json:"conflict_since,omitempty"`
}

// Open returns the store that is kept in dir, which is made when it is missing. Every record is verified; a file that
// cannot be used is moved to dir/quarantine and reported by Snapshot. What a newer Atoll wrote is reported as well, but waits
// for it where it finds it again. Only one process can have the store open for writing.
func Open(dir string, root trust.Root, o Options) (*Store, error) {
	s := New(root, o)
	d := &files{dir: dir}
	if !o.ReadOnly {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
		if err := d.takeLock(); err != nil {
			return nil, fmt.Errorf("open store %s: %w", dir, err)
		}
	}
	s.disk = d
	if err := s.load(d); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", dir, err), d.close())
	}
	return s, nil
}

// load reads every file and lets the records settle by the same rules as a merge. What loses is a leftover of a process
// that died between writing the winner and removing the loser.
func (s *Store) load(d *files) error {
	names, err := d.list(s.readOnly)
	if err != nil {
		return err
	}
	var items []*entry
	from := map[*entry]string{}
	for _, name := range names {
		e, err := d.read(s.root, name)
		if err == nil {
			items, from[e] = append(items, e), name
			continue
		}
		if err := s.setAside(d, name, err); err != nil {
			return err
		}
	}
	next, now := newState(), s.now()
	loaded := newState()
	for _, e := range ordered(items) {
		loaded.entries[e.key] = e
		out := next.apply(s.root, e, now, true)
		if out.Result == Refused && out.Reason == trust.ReasonBadSignature {
			if err := s.setAside(d, from[e], errors.New(out.Message)); err != nil {
				return err
			}
			delete(loaded.entries, e.key)
			delete(from, e)
		}
	}
	// A status is completed while it is applied; on disk it is the same.
	for k, e := range next.entries {
		if e.status != nil {
			loaded.entries[k] = e
		}
	}
	// What has returned, or won over what has, is written under its own name.
	for e, name := range from {
		if strings.HasSuffix(name, newer) {
			delete(loaded.entries, e.key)
		}
	}
	s.recallRivals(d, next)
	next.noted = false
	if s.readOnly {
		s.show(next)
		return nil
	}
	if err := s.commit(loaded, next); err != nil {
		return err
	}
	for _, name := range from {
		if !strings.HasSuffix(name, newer) {
			continue
		}
		if err := os.Remove(filepath.Join(d.dir, name)); err != nil {
			return fmt.Errorf("remove what is loaded again: %w", err)
		}
	}
	s.show(next)
	return nil
}

func (s *Store) setAside(d *files, name string, cause error) error {
	fromNewer := trust.ReasonOf(cause) == trust.ReasonUnknownWireVersion
	what := strings.TrimSuffix(name, newer)
	if fromNewer {
		s.damaged = append(s.damaged, fmt.Sprintf("%s: %v; it is kept for then", what, cause))
	} else {
		s.damaged = append(s.damaged, fmt.Sprintf(
			"%s: %v; other nodes and the operator's next apply bring it again; remove it from the quarantine and restart the agent", what, cause))
	}
	s.log.Error("a record on disk cannot be used", "file", filepath.Join(d.dir, name), "error", cause)
	if s.readOnly {
		return nil
	}
	if fromNewer {
		if name == what {
			if err := os.Rename(filepath.Join(d.dir, name), filepath.Join(d.dir, name+newer)); err != nil {
				return fmt.Errorf("keep the record of a newer version: %w", err)
			}
		}
		return nil
	}
	return d.quarantine(name)
}

func (d *files) takeLock() error {
	f, err := os.OpenFile(filepath.Join(d.dir, lockFile), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("another process has it open; stop that agent first: %w", err), f.Close())
	}
	d.lock = f
	return nil
}

// list returns the names of the records' files and removes what a dead writer left half written.
func (d *files) list(readOnly bool) ([]string, error) {
	found, err := os.ReadDir(d.dir)
	if errors.Is(err, fs.ErrNotExist) && readOnly {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range found {
		name := f.Name()
		switch {
		case !f.Type().IsRegular() || name == lockFile:
		case strings.HasPrefix(name, "."):
			if readOnly {
				continue
			}
			if err := os.Remove(filepath.Join(d.dir, name)); err != nil {
				return nil, fmt.Errorf("remove a half written file: %w", err)
			}
		case strings.HasSuffix(name, suffix), strings.HasSuffix(name, suffix+newer):
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (d *files) read(root trust.Root, name string) (*entry, error) {
	path := filepath.Join(d.dir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f onDisk
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	e, err := read(root, f.Record)
	if err != nil {
		return nil, err
	}
	if want := fileName(e.key); want != strings.TrimSuffix(name, newer) {
		return nil, fmt.Errorf("holds %s, which belongs into %s", e.key, want)
	}
	if f.Conflict != nil {
		e.conflict = *f.Conflict
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	e.received = info.ModTime()
	return e, nil
}

// quarantine moves a file out of the way without ever overwriting one that is there already.
func (d *files) quarantine(name string) error {
	to := filepath.Join(d.dir, quarantine)
	if err := os.MkdirAll(to, 0o700); err != nil {
		return fmt.Errorf("make quarantine: %w", err)
	}
	if err := d.prune(to); err != nil {
		return err
	}
	for i := 0; ; i++ {
		target := filepath.Join(to, name)
		if i > 0 {
			target = fmt.Sprintf("%s.%d", target, i)
		}
		err := os.Link(filepath.Join(d.dir, name), target)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("put %s into quarantine: %w", name, err)
		}
		if err := os.Remove(filepath.Join(d.dir, name)); err != nil {
			return fmt.Errorf("put %s into quarantine: %w", name, err)
		}
		return nil
	}
}

// prune removes all but the newest files from quarantine, once and before the first one of this start comes: what is set
// aside together is kept together, however much it is.
func (d *files) prune(dir string) error {
	if d.pruned {
		return nil
	}
	d.pruned = true
	found, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look through quarantine: %w", err)
	}
	// The time of the last change of an inode is when the file came here; that of its content is when it was written.
	since := make(map[string]int64, len(found))
	names := make([]string, 0, len(found))
	for _, f := range found {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, f.Name()), &st); err != nil {
			return fmt.Errorf("look through quarantine: %w", err)
		}
		since[f.Name()] = st.Ctim.Nano()
		names = append(names, f.Name())
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(since[b], since[a]) })
	for _, name := range names[min(len(names), maxQuarantine):] {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("clear the quarantine: %w", err)
		}
	}
	return nil
}

// save writes tombstones and objects before proofs and statuses, and removes last: whenever the process dies, what is on
// disk settles to the state before or after.
func (d *files) save(changed []*entry, removed []Key) error {
	for class := range 3 {
		var g errgroup.Group
		g.SetLimit(writers)
		for _, e := range changed {
			if e.class() == class {
				g.Go(func() error { return d.write(e) })
			}
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	if len(removed) > 0 && len(changed) > 0 {
		if err := d.sync(); err != nil {
			return err
		}
	}
	for _, k := range removed {
		if err := os.Remove(filepath.Join(d.dir, fileName(k))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove record %s: %w", k, err)
		}
	}
	return d.sync()
}

func (d *files) write(e *entry) error {
	f := onDisk{Record: e.record}
	if !e.conflict.IsZero() {
		f.Conflict = &e.conflict
	}
	data, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode record %s: %w", e.key, err)
	}
	path := filepath.Join(d.dir, fileName(e.key))
	if err := renameio.WriteFile(path, data, 0o600, renameio.WithTempDir(d.dir), renameio.WithStaticPermissions(0o600)); err != nil {
		return fmt.Errorf("write record %s: %w", e.key, err)
	}
	return nil
}

// sync makes renames and removals durable.
func (d *files) sync() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return fmt.Errorf("sync store: %w", err)
	}
	if err := f.Sync(); err != nil {
		return errors.Join(fmt.Errorf("sync store: %w", err), f.Close())
	}
	return f.Close()
}

func (d *files) close() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}

// fileName returns the name of a key's file. Names of nodes have no dots and kinds have neither, so keys stay apart.
func fileName(k Key) string { return strings.Replace(string(k), "/", ".", 1) + suffix }
