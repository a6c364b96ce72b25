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
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

const (
	// digestWait is how long an answer waits for a digest that is under way.
	digestWait = 5 * time.Second
	// digestAbandoned is how long after it was last asked for a digest is given up.
	digestAbandoned = time.Minute
	// digestsMost is how many may wait for each other.
	digestsMost = 16
	// treeIdle is how long a tree's digest is remembered after somebody wanted it: it takes memory for each file.
	treeIdle = 10 * time.Minute
	// maxDigestRequest bounds a request, in bytes.
	maxDigestRequest = 4 << 10
)

// digests makes digests of the tree for those who ask. It is safe for concurrent use.
type digests struct {
	// ctx ends with the worker.
	ctx         context.Context
	root, cache string
	log         *slog.Logger
	// check returns a Problem unless the tree is there.
	check func() error
	// untold tells that nobody says what changes in the tree: every digest looks at everything.
	untold bool
	// after is what may have something left to do to the tree, nil for nothing.
	after *after

	mu      sync.Mutex
	options *digest.Options
	// tree is nil until somebody asks, and again when nobody has for long.
	tree *digest.Tree
	idle *time.Timer
	jobs map[string]*job
}

// job is a digest that is under way.
type job struct {
	done     chan struct{}
	snapshot *digest.Snapshot
	err      error
	cancel   context.CancelFunc
	// abandon fires when nobody has asked for long.
	abandon *time.Timer

	mu       sync.Mutex
	progress digest.Progress
}

func newDigests(ctx context.Context, cfg Config, check func() error, log *slog.Logger) *digests {
	return &digests{ctx: ctx, root: cfg.Path, cache: filepath.Join(cfg.StateDir, "digest.cache"), check: check, log: log, jobs: map[string]*job{}}
}

// begin lets digests be made, of what an engine keeps.
func (d *digests) begin(cfg Config, engine Engine) error {
	options, unfinished := engine.Kept()
	excluded := slices.Concat(cfg.Exclude, Exclude(), unfinished)
	if d.untold {
		excluded = slices.Concat(cold.Exclude(), unfinished)
	}
	var err error
	if options.Exclude, err = exclude.Parse(excluded); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.options = &options
	return nil
}

// changed takes in what has changed, and what may have.
func (d *digests) changed(batch watch.Batch) {
	d.mu.Lock()
	tree := d.tree
	d.mu.Unlock()
	switch {
	case tree == nil: // the first digest looks at everything
	case batch.All:
		tree.ChangedAll()
	default:
		for _, c := range batch.Changes {
			tree.Changed(c.Path, c.Recursive)
		}
	}
}

// open returns the tree.
func (d *digests) open() (*digest.Tree, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.options == nil {
		return nil, Problem("the pair's programs are starting")
	}
	if d.tree == nil {
		d.tree = digest.New(d.root, *d.options)
		var damaged *digest.CacheError
		if err := d.tree.LoadCache(d.cache); errors.As(err, &damaged) {
			d.log.Info("the whole tree is read for its digest", "reason", err)
		} else if err != nil {
			return nil, err
		}
	}
	if d.idle != nil {
		d.idle.Stop()
	}
	d.idle = time.AfterFunc(treeIdle, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.jobs) == 0 {
			d.tree = nil
		}
	})
	return d.tree, nil
}

// ask begins a digest, or returns how the one with that ID goes, after a while.
func (d *digests) ask(ctx context.Context, r digest.Request) (digest.Result, error) {
	j, err := d.job(r) //nolint:contextcheck // a digest outlasts whoever asks for it
	if err != nil {
		return digest.Result{}, err
	}
	wait := time.NewTimer(digestWait)
	defer wait.Stop()
	select {
	case <-j.done:
		// Whoever asks again, since the answer was lost, gets another one.
		d.forget(r.ID, j)
		return digest.Result{Snapshot: j.snapshot, Progress: j.said()}, j.err
	case <-wait.C:
		return digest.Result{Progress: j.said()}, nil
	case <-ctx.Done():
		return digest.Result{}, ctx.Err()
	}
}

// job returns the digest with a request's ID, and begins it.
func (d *digests) job(r digest.Request) (*job, error) {
	tree, err := d.open()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if j := d.jobs[r.ID]; j != nil {
		j.abandon.Reset(digestAbandoned)
		return j, nil
	}
	if len(d.jobs) >= digestsMost {
		return nil, Problem(fmt.Sprintf("%d digests are under way: wait until some have ended", digestsMost))
	}
	ctx, cancel := context.WithCancel(d.ctx)
	j := &job{done: make(chan struct{}), cancel: cancel}
	j.abandon = time.AfterFunc(digestAbandoned, func() { d.forget(r.ID, j) })
	d.jobs[r.ID] = j
	go func() {
		defer close(j.done)
		j.snapshot, j.err = d.digest(ctx, tree, r.Full, j.says)
	}()
	return j, nil
}

// forget ends a digest that nobody wants any more.
func (d *digests) forget(id string, j *job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j.cancel()
	j.abandon.Stop()
	if d.jobs[id] == j {
		delete(d.jobs, id)
	}
}

func (d *digests) digest(ctx context.Context, tree *digest.Tree, full bool, progress func(digest.Progress)) (*digest.Snapshot, error) {
	walk := tree.Update
	if full || d.untold {
		walk = tree.Digest
	}
	mark, left := d.after.mark(ctx)
	snapshot, err := walk(ctx, progress)
	// A tree that went away in the middle looks like one that has little.
	if err := d.check(); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	snapshot.Unfinished = d.after.since(ctx, mark, left)
	if snapshot.Read.Files > 0 && (full || d.untold) {
		if err := tree.SaveCache(d.cache); err != nil {
			d.log.Warn("the next start reads the whole tree again for its digest", "error", err)
		}
	}
	return snapshot, nil
}

func (j *job) says(p digest.Progress) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.progress = p
}

func (j *job) said() digest.Progress {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.progress
}

// whole returns a Problem unless the tree is what is to be compared: there, and looked at by the pair's programs.
func (w *worker) whole() error {
	var problem string
	w.board.set(func() { problem = w.board.problem })
	if problem != "" {
		return Problem(problem)
	}
	return w.tree.check()
}

func (w *worker) serveDigest(rw http.ResponseWriter, r *http.Request) {
	var request digest.Request
	if err := json.NewDecoder(io.LimitReader(r.Body, maxDigestRequest)).Decode(&request); err != nil || request.ID == "" {
		http.Error(rw, fmt.Sprintf("a request that is none: %v", err), http.StatusBadRequest)
		return
	}
	digests, err := w.digestsOf(request.Part)
	if err != nil {
		answerOr(rw, nil, err)
		return
	}
	result, err := digests.ask(r.Context(), request)
	answerOr(rw, result, err)
}

func (w *worker) serveDirectory(rw http.ResponseWriter, r *http.Request) {
	part := digest.Part(r.URL.Query().Get("part"))
	digests, err := w.digestsOf(part)
	if err != nil {
		answerOr(rw, nil, err)
		return
	}
	tree, err := digests.open()
	if err != nil {
		answerOr(rw, nil, err)
		return
	}
	// Directories are compared where trees differ.
	if part == digest.Cold {
		w.mover.want()
	} else {
		w.doubted()
	}
	directory, err := tree.Directory(r.Context(), r.URL.Query().Get("path"))
	answerOr(rw, directory, err)
}

// answerOr answers with a value, or says why there is none.
func answerOr(rw http.ResponseWriter, value any, err error) {
	var problem Problem
	switch {
	case err == nil:
		answer(rw, value)
	case errors.As(err, &problem):
		http.Error(rw, string(problem), http.StatusServiceUnavailable)
	case errors.Is(err, fs.ErrNotExist):
		http.Error(rw, err.Error(), http.StatusNotFound)
	default:
		http.Error(rw, err.Error(), http.StatusInternalServerError)
	}
}
