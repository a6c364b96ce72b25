package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

const (
	// afterQuiet is for how long nothing has to arrive until the command after changes runs, afterMost how long what arrives all the time holds it back.
	// A round of the engine's that is under way is awaited in any case.
	afterQuiet = time.Second
	afterMost  = 10 * time.Second
	// afterRetryFirst is after what time a command that has failed is tried again first, afterRetryMost at last: twice as long each time.
	afterRetryFirst = 5 * time.Second
	afterRetryMost  = 5 * time.Minute
	// A command that changes the tree each time that it runs has the other side's run, which may do the same, without an end. So after afterFree runs of which
	// each has found something new within afterCalm of the one before, they are put apart, twice as long each time, up to afterApartMost; and after
	// afterSuspect of them somebody is told.
	afterFree      = 5
	afterSuspect   = 10
	afterCalm      = 30 * time.Second
	afterApartMost = time.Minute
	// afterOverdue is how long what runs commands may take to ask for one that is due, and to say how one has ended after its time.
	afterOverdue = 30 * time.Second
	// afterUnsure is how long a digest waits until it is known whether something has arrived.
	afterUnsure = 2 * time.Second
)

// after knows when the command after changes of the other side is to run (Config.After). Another process runs it (RunAfter), which asks for it: what a
// worker may do is much too little for an application's commands. It is safe for concurrent use, and nil for a pair without such a command.
//
// What has arrived is counted as the watcher tells of it, a moment after it was there. So that no crash makes it be forgotten, the state says that the
// engine may be writing (kept.Unsynced) from before it does until all of that was counted and kept (kept.Due), and a worker that finds it so takes
// something for arrived.
type after struct {
	cfg   Config
	state *state
	log   *slog.Logger

	mu sync.Mutex
	// news is closed when anything of what follows has changed.
	news chan struct{}
	// watcher is what tells of changes, nil before there is one.
	watcher flusher
	// unsigned tells that it does not know whose changes are whose.
	unsigned bool
	// arrived counts changes of the other side, done those after which the command has succeeded. kept tells that the state knows of the difference.
	arrived, done uint64
	kept          bool
	// first and last are when those have arrived which the command that ran last has not seen, zero for none.
	first, last time.Time
	// writing tells that the engine may be writing, in its round-th round, seen that all that it wrote in earlier ones was counted.
	writing, seen bool
	round         uint64
	// job is the command that runs, nil for none; asking is how many ask for one, asked when there was one last.
	job    *afterJob
	asking int
	asked  time.Time
	// runs counts all that were started. ended is when the last one ended and took how long that took; failures is how many have failed since one
	// succeeded, problem why.
	runs, failures int
	ended          time.Time
	took           time.Duration
	problem        string
	// retry is when it may run again; row is how many have run one soon after the other.
	retry time.Time
	row   int
}

// flusher is watch.Watcher.
type flusher interface {
	Flush(ctx context.Context) error
}

// afterJob is a command that runs.
type afterJob struct {
	id     string
	covers uint64
	began  time.Time
}

// AfterWork is a command that is to be run.
type AfterWork struct {
	ID string `json:"id"`
	// Command is what runs in Directory as Owner and Group, for no longer than Timeout.
	Command   []string      `json:"command"`
	Directory string        `json:"directory"`
	Owner     string        `json:"owner"`
	Group     string        `json:"group"`
	Timeout   time.Duration `json:"timeout"`
	// Environment are variables, each NAME=VALUE, beside those that every command has.
	Environment []string `json:"environment"`
}

// AfterResult is how it has ended.
type AfterResult struct {
	ID   string        `json:"id"`
	Took time.Duration `json:"took"`
	// Problem is why it did not succeed, with the end of what it has said; "" for nothing.
	Problem string `json:"problem,omitempty"`
}

// errAfterUnknown is the answer to whoever says how a command ended that is not this worker's, or was given up.
var errAfterUnknown = errors.New("no such command runs: it runs again")

func newAfter(cfg Config, s *state, log *slog.Logger) *after {
	if cfg.After == nil {
		return nil
	}
	return &after{cfg: cfg, state: s, log: log, news: make(chan struct{}), asked: time.Now()}
}

// begin takes in what an earlier worker has left, before the engine runs.
func (a *after) begin(s *state) error {
	if a == nil {
		return s.setDue(false) // of a command that there is no more
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kept = s.due(); a.kept || s.unsynced() {
		a.count()
	}
	return nil
}

// watched begins to rely on a watcher.
func (a *after) watched(w flusher, method watch.Method) {
	if a == nil {
		return
	}
	a.change(func() { a.watcher, a.unsigned = w, method != watch.Fanotify })
}

func (a *after) change(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	a.tell()
}

// tell wakes everybody who waits, with mu held.
func (a *after) tell() {
	close(a.news)
	a.news = make(chan struct{})
}

// count notes that something has arrived, with mu held.
func (a *after) count() {
	now := time.Now()
	a.arrived++
	if a.last = now; a.first.IsZero() {
		a.first = now
	}
	// What was wrong may be repaired by what has arrived.
	if soon := a.ended.Add(a.cfg.Pauses.After); a.failures > 0 && soon.Before(a.retry) {
		a.retry = soon
	}
	a.tell()
}

// wrote takes in that the engine has changed a path.
func (a *after) wrote(path string) {
	if a == nil || path == "" {
		return
	}
	if _, ours := a.cfg.outside(path); ours {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count()
}

// changed takes in that somebody has changed a path. Where the kernel does not say who, it was the engine whenever that may be.
func (a *after) changed(path string) {
	if a == nil {
		return
	}
	a.mu.Lock()
	unsure := a.unsigned && !a.seen
	a.mu.Unlock()
	if unsure {
		a.wrote(path)
	}
}

// missed takes in a batch, which may say that changes were missed.
func (a *after) missed(batch watch.Batch) {
	if a == nil || !batch.All || batch.Reason == watch.SeveralNames {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count()
}

// writes notes that the engine may be writing from now on.
func (a *after) writes() {
	if a == nil {
		return
	}
	a.change(func() {
		a.round++
		a.writing, a.seen = true, false
	})
}

// rests notes that it does not write any more until it says so.
func (a *after) rests() {
	if a == nil {
		return
	}
	a.change(func() { a.writing = false })
}

// settled tells that everything which the engine has written was counted, and that the state knows of it.
func (a *after) settled() bool {
	if a == nil {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen && (a.kept || a.arrived == a.done)
}

// keep settles until ctx ends.
func (a *after) keep(ctx context.Context) {
	if a == nil {
		return
	}
	for {
		a.mu.Lock()
		news := a.news
		a.mu.Unlock()
		retry := time.Hour
		if err := a.settle(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("it cannot be kept that the command after changes is due", "error", err)
			retry = time.Second
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-time.After(retry):
		}
	}
}

// settle counts what the engine has written until it rested, and has the state know of it.
func (a *after) settle(ctx context.Context) error {
	a.mu.Lock()
	watcher, round, wanted := a.watcher, a.round, !a.writing && !a.seen && a.watcher != nil
	a.mu.Unlock()
	if wanted {
		if err := watcher.Flush(ctx); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.arrived != a.done && !a.kept {
		if err := a.state.setDue(true); err != nil {
			return err
		}
		a.kept = true
		a.tell()
	}
	if wanted && a.round == round && !a.writing {
		a.seen = true
		a.tell()
	}
	return nil
}

// finish has the state know of everything that has arrived, once the engine has ended for good.
func (a *after) finish() error {
	if a == nil {
		return nil
	}
	a.rests()
	ctx, cancel := context.WithTimeout(context.Background(), afterUnsure)
	defer cancel()
	if err := a.settle(ctx); err != nil {
		return errors.Join(err, a.state.setDue(true)) // nobody knows
	}
	return nil
}

// drain counts what a program that has ended wrote last, as long as it is known which one that was. What cannot be told counts.
func (a *after) drain() {
	if a == nil {
		return
	}
	a.mu.Lock()
	watcher := a.watcher
	a.mu.Unlock()
	if watcher == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), afterUnsure)
	defer cancel()
	if err := watcher.Flush(ctx); err != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.count()
	}
}

// wait returns how long it takes at least until the command is to run, with mu held; none where that is not known.
func (a *after) wait(now time.Time) (left time.Duration, known bool) {
	if a.arrived == a.done || !a.kept || a.writing || !a.seen || a.job != nil {
		return 0, false
	}
	at := a.retry
	if !a.first.IsZero() {
		quiet := a.last.Add(afterQuiet)
		if most := a.first.Add(afterMost); most.Before(quiet) {
			quiet = most
		}
		if quiet.After(at) {
			at = quiet
		}
	}
	return max(at.Sub(now), 0), true
}

// next returns the command as soon as it is to run. Whoever asks for it runs none: one that was not heard of any more has died with whoever ran it.
func (a *after) next(ctx context.Context) (AfterWork, error) {
	a.change(func() {
		if a.job != nil {
			a.log.Warn("the command after changes was interrupted, and runs again")
			a.job = nil
		}
		a.asking++
	})
	defer a.change(func() {
		a.asking--
		a.asked = time.Now()
	})
	for {
		a.mu.Lock()
		news := a.news
		left, known := a.wait(time.Now())
		if known && left == 0 {
			defer a.mu.Unlock()
			return a.start(), nil
		}
		a.mu.Unlock()
		var timer <-chan time.Time
		if known {
			timer = time.After(left)
		}
		select {
		case <-ctx.Done():
			return AfterWork{}, ctx.Err()
		case <-news:
		case <-timer:
		}
	}
}

// start notes that the command runs, with mu held.
func (a *after) start() AfterWork {
	now := time.Now()
	if a.failures == 0 && !a.ended.IsZero() && now.Sub(a.ended) < afterCalm+a.apart() {
		a.row++
	} else if a.failures == 0 {
		a.row = 0
	}
	a.job = &afterJob{id: rand.Text(), covers: a.arrived, began: now}
	a.runs++
	a.first, a.last = time.Time{}, time.Time{}
	a.tell()
	c := a.cfg
	return AfterWork{
		ID: a.job.id, Command: c.After.Command, Directory: c.Path, Owner: c.Owner, Group: c.Group, Timeout: time.Duration(c.After.Timeout) * time.Second,
		Environment: []string{"ATOLL_PAIR=" + c.Pair, "ATOLL_NODE=" + c.Node, "ATOLL_TREE=" + c.Path},
	}
}

// apart is how long after a command that has succeeded the next one waits, with mu held.
func (a *after) apart() time.Duration {
	if a.row < afterFree {
		return 0
	}
	return min(time.Second<<min(a.row-afterFree, 10), afterApartMost)
}

// end takes in how a command has ended.
func (a *after) end(r AfterResult) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.job == nil || a.job.id != r.ID {
		return errAfterUnknown
	}
	defer a.tell()
	covers := a.job.covers
	a.job, a.ended, a.took = nil, time.Now(), r.Took
	if r.Problem != "" {
		a.failures++
		a.problem = r.Problem
		a.retry = a.ended.Add(min(a.cfg.Pauses.After<<min(a.failures-1, 10), afterRetryMost))
		a.log.Warn("the command after changes has failed, and is tried again", "problem", r.Problem, "in", time.Until(a.retry).Round(time.Second))
		return nil
	}
	a.failures, a.problem, a.done = 0, "", covers
	a.retry = a.ended.Add(a.apart())
	a.log.Info("the command after changes has run", "took", r.Took)
	if a.arrived != a.done {
		return nil
	}
	if err := a.state.setDue(false); err != nil {
		a.log.Warn("it cannot be kept that the command after changes has run: it may run once more", "error", err)
		return nil // the state says it is due, which does no harm
	}
	a.kept = false
	return nil
}

// AfterUnit is the unit that runs a pair's command after changes.
func AfterUnit(pair string) string { return "atoll-after-" + pair + ".service" }
