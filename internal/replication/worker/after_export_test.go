package worker

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// After is what tells when the command after changes runs, for tests: without a watcher, whose part they take.
type After struct {
	*after
	// Close ends it, as a worker's death does.
	Close func()
}

type flushed struct{}

func (flushed) Flush(context.Context) error { return nil }

// OpenAfter begins with what an earlier one has left in the state directory, and serves until Close is called.
func OpenAfter(ctx context.Context, cfg Config) (After, error) {
	cfg = cfg.WithPauses()
	for _, dir := range []string{cfg.StateDir, cfg.RunDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return After{}, err
		}
	}
	s, err := readState(cfg.StateDir)
	if err != nil {
		return After{}, err
	}
	a := newAfter(cfg, s, slog.New(slog.DiscardHandler))
	if err := a.begin(s); err != nil {
		return After{}, err
	}
	a.watched(flushed{}, watch.Fanotify)
	ctx, cancel := context.WithCancel(ctx)
	closeServer, err := a.serve(ctx, Account{UID: os.Getuid(), GID: os.Getgid()})
	if err != nil {
		cancel()
		return After{}, err
	}
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		a.keep(ctx)
	}()
	return After{a, func() {
		cancel()
		closeServer()
		<-kept
		a.mu.Lock() // what is being answered may write the state
		defer a.mu.Unlock()
	}}, nil
}

// Carry is a round of the engine that writes these paths.
func (a After) Carry(paths ...string) {
	a.writes()
	for _, path := range paths {
		a.wrote(path)
	}
	a.rests()
}

// Begin and End are a round, Arrive what is written in it.
func (a After) Begin() { a.writes() }

// End ends a round.
func (a After) End() { a.rests() }

// Arrive is a path that the engine writes.
func (a After) Arrive(path string) { a.wrote(path) }

// Missed takes in that changes were missed.
func (a After) Missed(reason string) { a.missed(watch.Batch{All: true, Reason: reason}) }

// stuck is a watcher that gets no further.
type stuck struct{}

func (stuck) Flush(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// Stuck has the watcher get no further.
func (a After) Stuck() { a.watched(stuck{}, watch.Fanotify) }

// Drain is what is done when the engine's program has ended.
func (a After) Drain() { a.drain() }

// Kept tells whether the state says that the command is due.
func (a After) Kept() bool { return a.state.due() }

// Settled tells that everything which has arrived was counted and kept.
func (a After) Settled() bool { return a.settled() }

// Writing has the state say what it says while the engine may be writing.
func (a After) Writing() error { return a.state.setUnsynced(true) }

// Warning is what an operator should know.
func (a After) Warning() string { return a.warning() }

// Left is what is left to do, or was done, during f.
func (a After) Left(ctx context.Context, f func()) string {
	mark, left := a.mark(ctx)
	f()
	return a.since(ctx, mark, left)
}

// Run has the command run and succeed, without a process, as often as something arrives.
func (a After) Run(times int) error {
	for range times {
		a.mu.Lock()
		a.count()
		work := a.start()
		a.mu.Unlock()
		if err := a.end(AfterResult{ID: work.ID}); err != nil {
			return err
		}
	}
	return nil
}

// Status is what others are told.
func (a After) Status() *spec.AfterStatus { return a.status() }

// Apart is how long the next run has to wait.
func (a After) Apart() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.apart()
}
