package worker

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// settleFor is how long whoever wants the program to rest waits for the end of what it is about, settleLook how often that is looked at.
	settleFor  = 10 * time.Second
	settleLook = 20 * time.Millisecond
)

// errResting is why a program is told of nothing new.
var errResting = errors.New("it is to rest: directories are being replaced")

// rest holds the program back. One that was ended in the middle of a round has brought files over of which it knows nothing: what is changed in them
// before the next round would be a conflict.
type rest struct {
	mu sync.Mutex
	// over is closed when nobody is held back any more, and nil while nobody is.
	over chan struct{}
	// waits tells that the program waits for an answer that is held back.
	waits bool
}

// begin holds answers back until the function that it returns is called, when the program is being ended.
func (r *rest) begin() (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	over := make(chan struct{})
	r.over, r.waits = over, false
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.over = nil
		close(over)
	})
}

// pass waits while answers are held back, and fails then: the program is being ended.
func (r *rest) pass() error {
	r.mu.Lock()
	over := r.over
	r.waits = r.waits || over != nil
	r.mu.Unlock()
	if over == nil {
		return nil
	}
	<-over
	return errResting
}

func (r *rest) waiting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waits
}

// settle has the program begin nothing new and waits until it has ended what it is about, or for a while. The function that it returns is to be called
// as soon as the program is being ended.
func (h *Host) settle(ctx context.Context) (end func()) {
	end = h.rest.begin()
	tick := time.NewTicker(settleLook)
	defer tick.Stop()
	for until := time.Now().Add(settleFor); time.Now().Before(until) && !h.rest.waiting() && !h.rested(); {
		select {
		case <-ctx.Done():
			return end
		case <-tick.C:
		}
	}
	return end
}

// still tells that the program is not in the middle of a round.
func (h *Host) still() bool { return !h.board.isLinked() || h.rested() }

// rested tells that the program waits for changes.
func (h *Host) rested() bool {
	h.syncing.Lock()
	defer h.syncing.Unlock()
	return h.ended == h.rounds
}
