package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
)

// replacedDir is a directory in the marker for what was in the tree before it was put back to a snapshot, by pair.
const replacedDir = Marker + "/replaced"

// snapshots keeps snapshots of the tree for those who ask. It is safe for concurrent use.
type snapshots struct {
	cfg     Config
	digests *digests
	log     *slog.Logger

	mu sync.Mutex
	// job is what is under way, or has ended and nobody has heard of it yet; nil for nothing.
	job *snapshotJob
}

// snapshotJob is one request that is under way.
type snapshotJob struct {
	request snapshot.Request
	done    chan struct{}
	result  snapshot.Result
	err     error

	mu       sync.Mutex
	progress snapshot.Progress
}

func (j *snapshotJob) says(p snapshot.Progress) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.progress = p
}

func (j *snapshotJob) said() snapshot.Progress {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.progress
}

func (j *snapshotJob) ended() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// ask begins what a request asks for, or returns how it goes, after a while. What was begun goes on to its end whether anybody asks again or not.
func (s *snapshots) ask(ctx context.Context, r snapshot.Request) (snapshot.Result, error) {
	if r.Action == snapshot.List {
		list, err := s.list()
		return snapshot.Result{Done: true, Snapshots: list}, err
	}
	if !snapshot.ValidID(r.ID) {
		return snapshot.Result{}, &snapshot.RefusedError{Pair: s.cfg.Pair, Reason: fmt.Sprintf("%q is no ID of a snapshot", r.ID)}
	}
	j, err := s.begin(r) //nolint:contextcheck // it outlasts whoever asks for it
	if err != nil {
		return snapshot.Result{}, err
	}
	wait := time.NewTimer(digestWait)
	defer wait.Stop()
	select {
	case <-j.done:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.job == j {
			s.job = nil
		}
		return j.result, j.err
	case <-wait.C:
		return snapshot.Result{Progress: j.said()}, nil
	case <-ctx.Done():
		return snapshot.Result{}, ctx.Err()
	}
}

// begin returns the job of a request.
func (s *snapshots) begin(r snapshot.Request) (*snapshotJob, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch j := s.job; {
	case j != nil && j.request == r:
		return j, nil
	case j != nil && !j.ended():
		return nil, Problem(fmt.Sprintf("%s %s is under way: wait until it has ended", j.request.Action, j.request.ID))
	}
	j := &snapshotJob{request: r, done: make(chan struct{})}
	s.job = j
	go func() {
		defer close(j.done)
		j.result, j.err = s.do(r, j.says)
		j.result.Done = j.err == nil
		s.log.Info("an action on a snapshot has ended", "action", r.Action, "id", r.ID, "error", j.err)
	}()
	return j, nil
}

// do does what a request asks for.
func (s *snapshots) do(r snapshot.Request, progress func(snapshot.Progress)) (out snapshot.Result, err error) {
	ctx := s.digests.ctx
	if r.Action == snapshot.Remove {
		for _, store := range s.all() {
			err = errors.Join(err, store.Remove(r.ID))
		}
		return out, err
	}
	tree, err := s.digests.open()
	if err != nil {
		return out, err
	}
	store, err := s.of(r.ID)
	if err != nil {
		return out, err
	}
	switch r.Action {
	case snapshot.Check:
		room, err := store.Check(ctx, tree, progress)
		out.Room = &room
		return out, err
	case snapshot.Take:
		one, err := store.Take(ctx, r.ID, tree, progress)
		out.Snapshots = []snapshot.Snapshot{one}
		return out, err
	case snapshot.Restore:
		restored, err := store.Restore(ctx, r.ID, tree, progress)
		out.Restored = &restored
		// It is for the tree to say whether it is what it was taken for.
		return out, errors.Join(err, s.digests.check())
	case snapshot.List, snapshot.Remove:
	}
	return out, &snapshot.RefusedError{Pair: s.cfg.Pair, Reason: fmt.Sprintf("this agent does not know action %q: update it", r.Action)}
}

// all returns every place where there may be snapshots.
func (s *snapshots) all() []*snapshot.Store {
	var out []*snapshot.Store
	for _, dir := range s.cfg.SnapshotDirs {
		store := &snapshot.Store{Pair: s.cfg.Pair, Node: s.cfg.Node, Tree: s.cfg.Path, Dir: dir, Aside: replacedDir + "/" + s.cfg.Pair, Now: time.Now}
		s.digests.mu.Lock()
		if s.digests.options != nil {
			store.Options = *s.digests.options
		}
		s.digests.mu.Unlock()
		out = append(out, store)
	}
	return out
}

// of returns the place of a snapshot: where it is, or where it is best for it to be, on the file system of the tree.
func (s *snapshots) of(id string) (*snapshot.Store, error) {
	var best, last *snapshot.Store
	for _, store := range s.all() {
		if _, err := os.Lstat(filepath.Join(store.Dir, id)); err == nil {
			return store, nil
		}
		info, err := os.Lstat(store.Dir)
		if err != nil || !info.IsDir() {
			continue
		}
		last = store
		if same, err := sameFileSystem(store.Dir, s.cfg.Path); err == nil && same && best == nil {
			best = store
		}
	}
	switch {
	case best != nil:
		return best, nil
	case last != nil:
		return last, nil
	}
	return nil, &snapshot.RefusedError{Pair: s.cfg.Pair, Reason: fmt.Sprintf("there is no directory for snapshots on %s, such as %v: see what prepares the pair's unit in its journal", s.cfg.Node, s.cfg.SnapshotDirs)}
}

func (s *snapshots) list() ([]snapshot.Snapshot, error) {
	var out []snapshot.Snapshot
	for _, store := range s.all() {
		list, err := store.List()
		if err != nil {
			return nil, err
		}
		out = slices.Concat(out, list)
	}
	return out, nil
}

func (w *worker) serveSnapshot(rw http.ResponseWriter, r *http.Request) {
	var request snapshot.Request
	if err := json.NewDecoder(io.LimitReader(r.Body, maxDigestRequest)).Decode(&request); err != nil {
		http.Error(rw, fmt.Sprintf("a request that is none: %v", err), http.StatusBadRequest)
		return
	}
	result, err := w.snapshots.ask(r.Context(), request)
	var refused *snapshot.RefusedError
	if errors.As(err, &refused) {
		http.Error(rw, refused.Reason, http.StatusConflict)
		return
	}
	answerOr(rw, result, err)
}

// prepareSnapshots makes the directories for snapshots, which only root may enter. One beside the tree is made only where nobody but root could put
// something else in its place, and where it is on the tree's file system.
func prepareSnapshots(c Config) error {
	var problems []error
	for _, dir := range c.SnapshotDirs {
		beside := filepath.Dir(filepath.Dir(dir)) == filepath.Dir(c.Path)
		if beside && !fitForSnapshots(filepath.Dir(c.Path), c.Path) {
			continue
		}
		err := makeTree(dir, Account{UID: os.Geteuid(), GID: os.Getegid()})
		if err == nil {
			err = os.Chmod(dir, 0o700) //nolint:gosec // a directory is to be entered
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// fitForSnapshots tells whether the directory that a tree is in may hold its snapshots.
func fitForSnapshots(above, tree string) bool {
	same, err := sameFileSystem(above, tree)
	return err == nil && same && onlyOurs(above)
}

// forgetSnapshots removes the directories for snapshots when there are none.
func forgetSnapshots(c Config) {
	for _, dir := range c.SnapshotDirs {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			continue // something is in it
		}
		_ = os.Remove(filepath.Dir(dir)) // where those of the last of all pairs were
	}
}
