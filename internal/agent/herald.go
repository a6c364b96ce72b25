package agent

import (
	"log/slog"
	"sync"
	"time"
)

// How often people are told what the agent waits for.
const (
	// tellAgain is how often the same thing is said again.
	tellAgain = 10 * time.Minute
	// tellGap is how long one line stays the last one, so that what changes back and forth does not fill a console.
	tellGap = 5 * time.Second
)

// herald tells whoever looks at the machine's console, and the log, what the agent waits for: once when that changes, and
// again after tellAgain. It is safe for concurrent use.
type herald struct {
	console func(line string)
	log     *slog.Logger

	mu  sync.Mutex
	key string
	at  time.Time
}

// tell says a line unless the same was said lately. Lines with one key are the same, for their text may name the time or a
// port of the moment. What comes too soon after another line is dropped, so whoever calls must go on to call.
func (h *herald) tell(key, line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := time.Since(h.at)
	if !h.at.IsZero() && (key == h.key && since < tellAgain || since < tellGap) {
		return
	}
	h.key, h.at = key, time.Now()
	h.log.Info("waiting", "for", line)
	h.console(line)
}

// done says a line that ends the waiting, at once.
func (h *herald) done(line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.key, h.at = "", time.Time{}
	h.console(line)
}
