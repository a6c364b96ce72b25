package worker

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// errUnaware is why a side whose pair takes turns with another one takes no stream of a node that does not know of that.
var errUnaware = errors.New("the node that leads does not know yet that this pair takes turns with another one")

// turn is whether this side's pair may carry changes over, where it takes turns with another pair of the same tree on this node (Config.Alternates). The
// node that does not lead decides: it is the one that has both pairs. It is safe for concurrent use.
type turn struct {
	mu sync.Mutex
	// told tells that it is this pair's turn, carries that a synchronization is under way which was begun then.
	told, carries bool
	// cancel ends the synchronization that is under way, nil while there is none; settle has it begin nothing new and waits for the end of what it
	// is about.
	cancel context.CancelFunc
	settle func(context.Context) (end func())
}

// attach notes how a synchronization that begins is ended.
func (t *turn) attach(cancel context.CancelFunc) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cancel = cancel
}

// detach notes that it has ended, and nothing of it is left.
func (t *turn) detach() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.carries, t.cancel = false, nil
}

// take tells whether the synchronization that is under way may carry changes over: as it begins, so it goes on until its end.
func (t *turn) take() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.carries = t.told
	return t.carries
}

// rests tells that nothing is carried over, and will not be until somebody says so.
func (t *turn) rests() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.told && !t.carries
}

// tell says whose turn it is. It does not wait until that is so.
func (t *turn) tell(ctx context.Context, carry bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	changed := t.told != carry
	t.told = carry
	if !changed || t.cancel == nil || t.carries == carry {
		return
	}
	cancel, settle := t.cancel, t.settle
	if settle == nil {
		cancel()
		return
	}
	go func() {
		// One that is ended in the middle has brought files over of which it knows nothing, or not written down what both sides have.
		end := settle(ctx)
		cancel()
		end()
	}()
}

// serveTurn answers whoever says whose turn it is.
func (w *worker) serveTurn(rw http.ResponseWriter, r *http.Request) {
	carry, err := strconv.ParseBool(r.URL.Query().Get("carry"))
	switch {
	case err != nil:
		http.Error(rw, "carry is neither true nor false", http.StatusBadRequest)
	case !w.cfg.Alternates || w.cfg.Leads:
		http.Error(rw, "this side takes no turns, or the other one decides", http.StatusConflict)
	default:
		w.turn.tell(context.WithoutCancel(r.Context()), carry)
		answer(rw, struct{}{})
	}
}

// Turn says whether it is the turn of the side's pair to carry changes over, on the node that does not lead. It does not wait until that is so: see
// replication.Status.Resting.
func (c *Client) Turn(ctx context.Context, carry bool) error {
	var out struct{}
	return c.ask(ctx, http.MethodPost, "/turn?carry="+strconv.FormatBool(carry), &out)
}

// Agree settles over a new link whether the synchronization that begins carries changes over. On the node that leads, hello is what it has to say
// first, and it asks the other one; on that, hello is the question.
func (h *Host) Agree(ctx context.Context, link *Link, hello Word) (carries bool, err error) {
	defer func() {
		if err == nil {
			h.board.set(func() { h.board.resting = !carries })
		}
	}()
	if h.Config.Leads {
		hello.Hello, hello.Asks = true, h.Config.Alternates
		if err := link.Say(hello); err != nil || !hello.Asks {
			return true, err
		}
		select {
		case w := <-link.Hello():
			return w.Carry, nil
		case <-link.Ended():
			return false, errors.New("the other side has not said whether it is this pair's turn")
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	if h.Config.Alternates && !hello.Asks {
		_ = link.Say(Word{Problem: errUnaware.Error()}) // the link may be gone
		return false, errUnaware
	}
	carries = !h.Config.Alternates || h.turn.take()
	if hello.Asks {
		err = link.Say(Word{Hello: true, Carry: carries})
	}
	return carries, err
}

// Observed tells that the program has looked at both sides and carried nothing over, since it is not this pair's turn. Equal tells that it has found
// no difference in all of the trees.
func (h *Host) Observed(equal bool) {
	h.board.set(func() {
		h.board.working, h.board.once, h.board.peer, h.board.failing = false, true, "", Failing{}
	})
	if !equal {
		return
	}
	if err := h.state.caughtUp(); err != nil {
		h.Log.Warn("the state of the tree cannot be kept", "error", err)
	}
}

// Alike tells that no difference between both sides is known any more while nothing is carried over.
func (h *Host) Alike() { h.board.set(func() { h.board.synced = time.Now() }) }

// Resting tells that what runs now carries nothing over.
func (h *Host) Resting() (resting bool) {
	h.board.set(func() { resting = h.board.resting })
	return resting
}
