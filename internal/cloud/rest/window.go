package rest

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Window lets at most a number of requests start within any span of time of a given length. It remembers the start of the last
// of them, so unlike a token bucket it never lets two bursts through within one span. Safe for concurrent use.
type Window struct {
	limit  int
	period time.Duration

	mu     sync.Mutex
	starts []time.Time
	held   time.Time
}

// NewWindow returns a window of limit requests, at least 1, within any period.
func NewWindow(limit int, period time.Duration) *Window {
	return &Window{limit: max(limit, 1), period: period}
}

// Reserve books the next free start and returns it.
func (w *Window) Reserve(now time.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	start := now
	if w.held.After(start) {
		start = w.held
	}
	if len(w.starts) >= w.limit {
		if free := w.starts[len(w.starts)-w.limit].Add(w.period); free.After(start) {
			start = free
		}
		w.starts = w.starts[len(w.starts)-w.limit+1:]
	}
	w.starts = append(w.starts, start)
	return start
}

// Hold lets nothing start before a moment, for a vendor that refuses everything until then. An earlier moment than one that
// is held already changes nothing.
func (w *Window) Hold(until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if until.After(w.held) {
		w.held = until
	}
}

// Wait returns when a request may start. A start beyond the context's deadline is refused at once, with a *WaitError.
func (w *Window) Wait(ctx context.Context) error {
	start := w.Reserve(time.Now())
	if err := Sleep(ctx, time.Until(start)); err != nil {
		return &WaitError{Until: start, Err: err}
	}
	return nil
}

// WaitError is returned when a request may not start before the caller's time is over.
type WaitError struct {
	// Until is when it might have started.
	Until time.Time
	// Err is the context's error.
	Err error
}

// Error says how long the request would have had to wait.
func (e *WaitError) Error() string {
	return fmt.Sprintf("the vendor's rate limit allows no request for another %s: %v", time.Until(e.Until).Round(time.Second), e.Err)
}

// Unwrap returns the context's error.
func (e *WaitError) Unwrap() error { return e.Err }

// Sleep waits for d. When the context's deadline comes first it returns context.DeadlineExceeded without waiting.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return context.DeadlineExceeded
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
