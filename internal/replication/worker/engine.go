package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

// Engine is the program that keeps a tree equal with another one. Its methods are called from several goroutines, Run once at a time.
type Engine interface {
	// Run works over a link until that or ctx ends, which is no error. By the time it returns, nothing that it started is left.
	Run(ctx context.Context, link *Link) error
	// Heard takes in a word of the other side, and must not wait.
	Heard(Word)
	// Changed takes in what has changed in the tree, and must not wait.
	Changed(watch.Batch)
	// Pending is how many changed paths wait to be looked at.
	Pending() int
	// Forget removes what is known of earlier synchronizations, so that the next compares both trees as a whole. It is called before
	// the first Run.
	Forget() error
	// Thorough has the program begin anew and compare the contents of all files once, whatever it knows of them, on both sides: different ones
	// conflict. It is called on the one that leads.
	Thorough()
	// Conflict tells whether a name is that of a kept copy of one of two versions.
	Conflict(name string) bool
	// Blind is the time between two changes of a file that the program takes for one when it goes by dates, zero for none.
	Blind() time.Duration
	// Becomes returns the path that a file gets which the program has not completed, "" where that cannot be told.
	Becomes(temporary string) string
	// Temporary tells whether a path is of a file that such a program has not completed, be it this pair's or that of another pair of
	// the same tree. Unfinished tells whether it is this pair's.
	Temporary(path string) bool
	Unfinished(path string) bool
	// Beside is where a version of a file is kept that has lost its name: the nth such path, from 0, all of which Conflict knows.
	Beside(path string, n int, now time.Time) string
	// Aside is an unfinished path in the same directory, for a file that has a number of its own there.
	Aside(path string, number uint64) string
	// Resumes tells whether the program goes on with a file that it has not completed, by the length of what it has.
	Resumes(size int64) bool
	// Kept is what is the same on both sides once they are synchronized, and what is not to be looked at, beside what a pair excludes: the
	// names of files that the program has not completed.
	Kept() (options digest.Options, unfinished []string)
}

// NewEngine makes an engine that works for a worker.
type NewEngine func(*Host) (Engine, error)

// Host is what a worker does for its engine.
type Host struct {
	Config  Config
	Account Account
	Log     *slog.Logger

	tree  *tree
	state *state
	board *board
	turn  *turn
	after *after

	leftovers sweeping
	rest      rest
	engine    Engine
	watcher   *watch.Watcher

	// syncing has below it how often the program was told to go on, how many of these rounds have ended, and whether anything of them may not
	// be on the disk yet.
	syncing       sync.Mutex
	rounds, ended int
	unsynced      bool
	// marked is when that was noted. Wrote has one when any of this has changed.
	marked time.Time
	wrote  chan struct{}
	// begun is when the program was told to go on after it had rested, fresh that it has not rested since it was started: it looks at the whole tree.
	begun time.Time
	fresh bool

	carried *carried

	mu sync.Mutex
	// looked is when the program last began to look at what has changed.
	looked time.Time
	// tidied is when Tidy was last heeded.
	tidied time.Time
	// left is what an earlier run of the program has left for the one that began then.
	left  []string
	began time.Time
}

// sweep removes what a run of the program that has ended has left in the tree.
func (h *Host) sweep() {
	left, err := h.leftovers.sweep(time.Now())
	if err != nil {
		h.Log.Warn("what interrupted transfers have left cannot be removed", "error", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left = left
}

// swept removes what is left of what was kept for the program that runs, which has found both sides equal.
func (h *Host) swept() {
	h.mu.Lock()
	left, began := h.left, h.began
	h.left = nil
	h.mu.Unlock()
	if len(left) == 0 {
		return
	}
	if err := h.leftovers.finish(left, began); err != nil {
		h.Log.Warn("what interrupted transfers have left cannot be removed", "error", err)
	}
}

// Gate returns a Problem unless the tree is there now. An engine asks before it takes changes of the tree for what somebody did to it, and
// with that before it writes to either side. It may have to wait, and fails when the program is to be ended for something else.
func (h *Host) Gate() error {
	if err := h.rest.pass(); err != nil {
		return err
	}
	if err := h.tree.check(); err != nil {
		return err
	}
	if err := h.writes(); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looked = time.Now()
	return nil
}

// Behind tells that this side is not what it was when it was last synchronized: of versions that conflict the other side's counts, until
// Settled.
func (h *Host) Behind() bool { return h.state.behind() }

// Own tells whether a thread, which has the process' id where it is the only one, is that of the program that runs, or acts for it.
func (h *Host) Own(thread int) bool { return h.board.own(thread) }

// Helps tells that a thread acts for the program, until the function that it returns is called.
func (h *Host) Helps(thread int) (ended func()) {
	h.board.set(func() {
		if h.board.helpers == nil {
			h.board.helpers = map[int]bool{}
		}
		h.board.helpers[thread] = true
	})
	return func() {
		// What it did last is to be known for its, before another one gets its id.
		ctx, cancel := context.WithTimeout(context.Background(), afterUnsure)
		defer cancel()
		if err := h.watcher.Flush(ctx); err != nil {
			h.Log.Info("what has come ahead may be looked at as a change", "error", err)
		}
		h.board.set(func() { delete(h.board.helpers, thread) })
	}
}

// Sweep removes what an interrupted transfer has left. The program must not run.
func (h *Host) Sweep() { h.sweep() }

// Busy tells that changes are being looked at, or brought over.
func (h *Host) Busy() { h.board.busy() }

// Settled tells that the program has found both sides equal, but for what fails for another reason than that there is no room for it.
func (h *Host) Settled() {
	h.board.settled()
	if err := h.state.caughtUp(); err != nil {
		h.Log.Warn("the state of the tree cannot be kept", "error", err)
	}
	h.swept()
	h.remember()
}

func (h *Host) remember() {
	if err := h.tree.remember(); err != nil {
		h.Log.Warn("the state of the tree cannot be kept", "error", err)
	}
}

// Tidy removes from directories of the tree what the program leaves there each time that it fails, once that is old enough not to be under
// way. It may be called at any time.
func (h *Host) Tidy(directories []string, temporary func(path string) bool) {
	now := time.Now()
	h.mu.Lock()
	early := now.Sub(h.tidied) < tidyPause
	if !early {
		h.tidied = now
	}
	h.mu.Unlock()
	if early {
		return
	}
	if err := tidy(h.Config.Path, directories, temporary, now); err != nil {
		h.Log.Warn("what failed transfers have left cannot be removed", "error", err)
	}
}

// Failing tells what cannot be synchronized.
func (h *Host) Failing(f Failing) {
	h.board.set(func() {
		h.board.failing = f
		h.board.once = h.board.once || f.Short // it has ended, though the sides are not equal
	})
}

// Answers tells that the leader has found both sides equal, on the side that does not lead.
func (h *Host) Answers() {
	h.board.answers()
	if err := h.state.caughtUp(); err != nil {
		h.Log.Warn("the state of the tree cannot be kept", "error", err)
	}
	h.swept()
	h.remember()
}
