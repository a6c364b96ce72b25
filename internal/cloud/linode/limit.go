package linode

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// window lets at most Limit requests start within any span of Period. It remembers the start of the last Limit requests, so
// unlike a token bucket it never lets two bursts through within one period.
type window struct {
	limit  int
	period time.Duration

	mu     sync.Mutex
	starts []time.Time
}

// reserve books the next free start and returns it.
func (w *window) reserve(now time.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	start := now
	if len(w.starts) >= w.limit {
		if free := w.starts[len(w.starts)-w.limit].Add(w.period); free.After(start) {
			start = free
		}
		w.starts = w.starts[len(w.starts)-w.limit+1:]
	}
	w.starts = append(w.starts, start)
	return start
}

// limits are Linode's published limits, one window each. Safe for concurrent use.
type limits struct{ create, images, list, rest window }

func newLimits() *limits {
	return &limits{
		create: window{limit: 20, period: 15 * time.Second},
		images: window{limit: 20, period: time.Minute},
		list:   window{limit: 200, period: time.Minute},
		rest:   window{limit: 1600, period: time.Minute},
	}
}

// wait returns when r may be sent, or with the context's error. A start beyond the context's deadline is refused at once.
func (l *limits) wait(ctx context.Context, r *http.Request) error {
	w := &l.rest
	switch {
	case creates(r):
		w = &l.create
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/images"):
		w = &l.images
	case r.Method == http.MethodGet && r.URL.Query().Has("page"):
		w = &l.list
	}
	return sleep(ctx, time.Until(w.reserve(time.Now())))
}

// creates tells whether a request makes an instance.
func creates(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/linode/instances")
}

// sleep waits for d. When the context's deadline comes first it returns context.DeadlineExceeded without waiting.
func sleep(ctx context.Context, d time.Duration) error {
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
