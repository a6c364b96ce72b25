package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

const (
	// lookInterval is how often a worker looks whether its tree is still there.
	lookInterval = time.Second
	// goneFor is how long a worker waits for a tree that is not there before it ends, to be started again: file systems that were mounted
	// since are not to be seen from where it runs.
	goneFor = 10 * time.Second
	// pauseLeast and pauseMost bound how long a worker waits after a stream has ended before it asks for the next.
	pauseLeast = 200 * time.Millisecond
	pauseMost  = 5 * time.Second
	// steady is how long a stream has to last for the pause after it to be the shortest again.
	steady = 10 * time.Second
)

// ErrReplaced ends a worker whose tree is another than the one that it began with: whoever runs it starts it again.
var ErrReplaced = errors.New("the tree was replaced, moved or mounted")

// errUpdated ends a worker whose program was replaced by a newer one.
var errUpdated = errors.New("the program was updated")

// Run keeps a node's side of a pair until ctx ends, which is no error. Another worker of the same pair on this node is an error, and so is
// what has to be repaired by starting again, such as ErrReplaced.
func Run(ctx context.Context, cfg Config, newEngine NewEngine, log *slog.Logger) error {
	cfg = cfg.WithPauses()
	w := &worker{cfg: cfg, log: log, board: &board{started: time.Now()}, offers: make(chan *offer), streams: make(chan net.Conn), canaries: newCanaries(), carried: &carried{from: time.Now().UTC()}}
	w.pressure = ownPressure()
	if err := os.MkdirAll(cfg.StateDir, 0o711); err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(cfg.StateDir, "lock"))
	if err != nil {
		return fmt.Errorf("pair %s: %w", cfg.Pair, err)
	}
	defer unlock()
	state, err := readState(cfg.StateDir)
	if err != nil {
		return err
	}
	w.tree = &tree{cfg: cfg, state: state}
	w.after = newAfter(cfg, state, log)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.digests, w.coldDigests = newDigests(ctx, cfg, w.whole, log), newColdDigests(ctx, cfg, w.wholeCold, log)
	w.digests.after = w.after
	w.snapshots = &snapshots{cfg: cfg, digests: w.digests, log: log}
	w.mover = newMover(cfg, w.reached, w.equalAt, log)
	control, err := w.listen(ctx)
	if err != nil {
		return err
	}
	defer control()
	if err := w.awaitTree(ctx); err != nil {
		return ignoreEnd(ctx, err)
	}
	err = w.work(ctx, newEngine)
	var problem Problem
	switch {
	case errors.Is(err, ErrReplaced):
		// Someone has to be told why. What comes back in the tree's place is not to be written to from here.
		err = errors.Join(err, w.awaitTree(ctx))
	case errors.As(err, &problem):
		w.report(problem)
		select {
		case <-ctx.Done():
		case <-time.After(goneFor):
		}
	}
	return ignoreEnd(ctx, err)
}

// ignoreEnd returns err unless it comes from the end of ctx.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

type worker struct {
	cfg     Config
	log     *slog.Logger
	board   *board
	tree    *tree
	account Account

	offers   chan *offer
	streams  chan net.Conn
	canaries *canaries
	carried  *carried
	shown    shown
	doubt    doubt
	turn     turn
	// after is nil for a pair that runs no command after changes.
	after   *after
	digests *digests
	// coldDigests is nil for a pair that moves no directories.
	coldDigests *digests
	snapshots   *snapshots
	pressure    *pressure
	// mover is nil for a pair that moves no directories.
	mover *mover
}

// lock keeps other workers of the pair away for as long as this process lasts.
func lock(file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another worker runs: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// awaitTree waits until the tree and its account are there, and tells what is wrong meanwhile.
func (w *worker) awaitTree(ctx context.Context) error {
	deadline := time.Now().Add(goneFor)
	for {
		err := w.ready()
		if err == nil {
			w.board.set(func() { w.board.problem = "" })
			return nil
		}
		var problem Problem
		if !errors.As(err, &problem) {
			return err
		}
		w.report(problem)
		if time.Now().After(deadline) {
			return ErrReplaced
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookInterval):
		}
	}
}

func (w *worker) ready() error {
	var err error
	if w.account, err = LookupAccount(w.cfg.Owner, w.cfg.Group); err != nil {
		return err
	}
	if err := w.tree.check(); err != nil {
		return err
	}
	return w.tree.emptied()
}

// report shows a problem, and logs one that is news.
func (w *worker) report(p Problem) {
	w.board.set(func() {
		if w.board.problem != string(p) {
			w.log.Error("the pair cannot be synchronized", "problem", string(p))
		}
		w.board.problem, w.board.passing = string(p), false
	})
}

// work synchronizes a tree that is there.
func (w *worker) work(ctx context.Context, newEngine NewEngine) error {
	if err := freeze(w.cfg.Path); err != nil {
		w.log.Warn("what is mounted inside of the tree is noticed a moment later than it is there", "error", err)
	}
	// What was mounted until now is to be seen.
	if err := w.tree.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrReplaced, err)
	}
	begun, err := identity(w.cfg.Path)
	if err != nil {
		return err
	}
	if err := w.makeHome(); err != nil {
		return err
	}
	if err := w.prepareCanaries(); err != nil {
		w.log.Warn("how long changes take cannot be measured yet", "error", err)
	}
	host := &Host{Config: w.cfg, Account: w.account, Log: w.log, tree: w.tree, state: w.tree.state, board: w.board, turn: &w.turn, after: w.after, wrote: make(chan struct{}, 1), carried: w.carried}
	w.turn.settle = host.settle
	engine, err := newEngine(host)
	if err != nil {
		return err
	}
	host.engine = engine
	w.mover.attach(host)
	if err := w.cfg.makeShim(); err != nil {
		return err
	}
	host.leftovers = sweeping{tree: w.cfg.Path, temporary: engine.Unfinished, resumes: engine.Resumes, log: w.log}
	if err := host.endEarlier(ctx); err != nil {
		return err
	}
	host.sweep() // before anything is forgotten
	if err := w.distrust(engine); err != nil {
		return err
	}
	host.unsynced = w.tree.state.unsynced()
	if err := w.after.begin(w.tree.state); err != nil {
		return err
	}
	runs, err := w.after.serve(ctx, w.account)
	if err != nil {
		return err
	}
	defer runs()
	skip, err := exclude.Parse(w.cfg.Exclude)
	if err != nil {
		return err
	}
	unseen := newBlind(w.cfg.Path, engine.Blind(), w.log)
	watcher, err := watch.Open(ctx, w.cfg.Path, watch.Options{
		Skip: func(p string) bool {
			if !engine.Temporary(p) {
				if outside, ours := w.cfg.outside(p); ours {
					return outside
				}
				if skip.Match(p) {
					return true
				}
				w.after.changed(p)
				return false
			}
			if final := engine.Becomes(p); final != "" {
				unseen.wrote(final)
			}
			return true
		},
		Own: host.Own,
		// It is asked of each change that is the program's own. Copies that it keeps are reported as if they were others'.
		Foreign: func(p string) bool {
			w.after.wrote(p)
			if engine.Conflict(path.Base(p)) {
				return true
			}
			unseen.wrote(p)
			return false
		},
		Log: w.log,
	})
	if err != nil {
		return Problem(err.Error())
	}
	defer func() { _ = watcher.Close() }()
	host.watcher = watcher
	w.shown.set(engine, watcher)
	w.after.watched(watcher, watcher.Status().Method)
	if err := w.digests.begin(w.cfg, engine); err != nil {
		return err
	}
	if w.coldDigests != nil {
		if err := w.coldDigests.begin(w.cfg, engine); err != nil {
			return err
		}
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go unseen.run(ctx, host.still)
	go host.keepSynced(ctx)
	go w.after.keep(ctx)
	go func() { cancel(w.look(ctx, begun)) }()
	go func() { cancel(w.pass(ctx, watcher, engine, unseen)) }()
	if w.mover != nil {
		go func() { cancel(w.mover.keep(ctx, w.account)) }()
		go func() { cancel(w.mover.drive(ctx)) }()
	}
	w.synchronize(ctx, engine)
	if err := w.after.finish(); err != nil { //nolint:contextcheck // it is over
		w.log.Warn("the command after changes may run without need after the next start", "error", err)
	}
	if err := host.sync(true); err != nil {
		w.log.Warn("what was received may be lost if the machine loses its power now", "error", err)
	}
	return context.Cause(ctx)
}

// distrust has the engine forget what it knows when that is of another machine, another tree or other terms: what is not there now would be
// taken for deleted.
func (w *worker) distrust(engine Engine) error {
	id, err := machineID()
	if err != nil {
		return err
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	crashed, err := w.tree.state.begin(boot)
	if err != nil {
		return err
	}
	if crashed {
		w.log.Warn("this machine has lost its power, or crashed, while changes were on their way: what was received may be damaged, and the other side's versions count")
	}
	terms := w.cfg.terms()
	if !w.tree.state.trusts(id, terms) {
		w.log.Info("nothing is known of this tree on this machine with these settings: both trees are compared as a whole")
		if err := engine.Forget(); err != nil {
			return err
		}
	}
	if err := w.tree.state.settle(id, terms); err != nil {
		return err
	}
	return w.tree.renew()
}

// makeHome makes the program's home directory.
func (w *worker) makeHome() error {
	home := w.cfg.Home()
	if err := os.Mkdir(home, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return os.Lchown(home, w.account.UID, w.account.GID)
}

// pass gives what has changed to everybody who wants to know.
func (w *worker) pass(ctx context.Context, watcher *watch.Watcher, engine Engine, unseen *blind) error {
	begun := watch.Batch{All: true, Reason: "it was not watched before"}
	unseen.changed(begun)
	w.shown.scan(w.cfg.Path, begun)
	unseen.caughtUp(begun, time.Now())
	for {
		batch, err := watcher.Next(ctx)
		if err != nil {
			return fmt.Errorf("watch %s: %w", w.cfg.Path, err)
		}
		w.canaries.changed(w.cfg, batch)
		w.carried.sees(batch)
		w.after.missed(batch)
		unseen.changed(batch)
		engine.Changed(batch)
		w.digests.changed(batch)
		w.shown.scan(w.cfg.Path, batch)
		unseen.caughtUp(batch, time.Now())
	}
}

// synchronize runs the engine over one stream after the other until ctx ends.
func (w *worker) synchronize(ctx context.Context, engine Engine) {
	pause := pauseLeast
	for ctx.Err() == nil {
		stream, err := w.stream(ctx)
		if err != nil {
			if ctx.Err() == nil {
				w.board.set(func() { w.board.peer = err.Error() })
			}
		} else {
			began := time.Now()
			w.over(ctx, engine, stream)
			if time.Since(began) > steady || w.mover.rests() {
				pause = pauseLeast
			}
		}
		if !w.cfg.Leads {
			continue // it waits for what comes
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, w.cfg.Pauses.Retry)
	}
}

// over runs the engine over one stream, and over those that come in its place.
func (w *worker) over(ctx context.Context, engine Engine, stream conn) {
	for stream != nil {
		running, cancel := context.WithCancel(ctx)
		next := make(chan conn, 1)
		go func() {
			defer close(next)
			if w.cfg.Leads {
				return
			}
			// Of two streams one is left over from a connection that broke without a word.
			select {
			case newer := <-w.streams:
				next <- newer
				cancel()
			case <-running.Done():
			}
		}()
		link := NewLink(w.carried.over(stream), func(word Word) { w.heard(engine, word) })
		w.board.link(true)
		w.turn.attach(cancel)
		w.log.Info("the other side is reached", "node", w.cfg.Peer)
		err := w.run(running, cancel, engine, link)
		w.board.link(false)
		w.turn.detach()
		w.log.Info("the stream to the other side has ended", "node", w.cfg.Peer)
		if closeErr := link.Close(); err == nil && !errors.Is(closeErr, net.ErrClosed) {
			err = closeErr
		}
		cancel()
		var problem Problem
		switch {
		case errors.As(err, &problem):
			w.report(problem)
			// A tree that is there again before anybody has looked is not missed by anybody else.
			w.board.set(func() { w.board.passing = true })
		case err != nil:
			w.log.Warn("the synchronization was interrupted", "error", err)
			w.board.set(func() { w.board.peer = err.Error() })
		}
		stream = <-next
	}
}

// run runs the engine over a link once no directory is being replaced.
func (w *worker) run(ctx context.Context, cancel context.CancelFunc, engine Engine, link *Link) error {
	admitting, gone := context.WithCancel(ctx)
	defer gone()
	go func() {
		select {
		case <-link.Ended():
			gone()
		case <-admitting.Done():
		}
	}()
	release, err := w.mover.admit(admitting, cancel)
	if err != nil {
		return ignoreEnd(admitting, err)
	}
	defer release()
	w.board.set(func() { w.board.apart = w.mover.apartNow() })
	defer w.after.rests()
	return engine.Run(ctx, link)
}

func (w *worker) heard(engine Engine, word Word) {
	if word.Problem != "" {
		w.board.set(func() { w.board.peer = w.cfg.Peer + ": " + word.Problem })
	}
	engine.Heard(word)
}
