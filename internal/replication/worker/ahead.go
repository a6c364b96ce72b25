package worker

import (
	"errors"
	"io"
	"sync"
)

// frameAhead is the kind of frames with what comes ahead of what the programs say. An empty one is the end of that.
const frameAhead byte = 'a'

// errEnough is why nothing more is sent ahead.
var errEnough = errors.New("the other side has no use for more")

// ahead is what a link carries ahead of what the programs on its ends say. It is safe for concurrent use.
type ahead struct {
	mu sync.Mutex
	// wanted tells that the other side has nothing, enough that it wants no more. Held is not nil as long as the program has to wait.
	wanted, enough bool
	held           chan struct{}
	// open returns what takes what comes, once something does; nil for nothing. Taker is that.
	open  func() io.WriteCloser
	taker io.WriteCloser
	took  func(all bool)
}

// Ahead has the program wait with what it says from now on, until what send writes has been sent. It does not wait for that; the channel that it returns is
// closed then.
func (l *Link) Ahead(send func(io.Writer) error) <-chan struct{} {
	held := make(chan struct{})
	l.ahead.mu.Lock()
	l.ahead.held = held
	l.ahead.mu.Unlock()
	go func() {
		defer close(held)
		_ = send(aheadWriter{l})    // it knows what has come of it
		_ = l.send(frameAhead, nil) // the link may be gone, and with it the program
	}()
	return held
}

// TakeAhead has what open returns take what comes ahead, before what the other side's program says after it is given to anybody. Open is called once
// something comes, and took when its taker was closed, with whether the end has come. What comes without it is dropped.
func (l *Link) TakeAhead(open func() io.WriteCloser, took func(all bool)) {
	l.ahead.mu.Lock()
	l.ahead.open, l.ahead.took = open, took
	l.ahead.mu.Unlock()
}

// AheadWanted tells whether the other side of this link has said that it has nothing.
func (l *Link) AheadWanted() bool {
	l.ahead.mu.Lock()
	defer l.ahead.mu.Unlock()
	return l.ahead.wanted
}

// heard notes what the other side says of it.
func (a *ahead) heard(w Word) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wanted = a.wanted || w.Bare
	a.enough = a.enough || w.Enough
}

type aheadWriter struct{ link *Link }

// Write implements io.Writer.
func (w aheadWriter) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		w.link.ahead.mu.Lock()
		enough := w.link.ahead.enough
		w.link.ahead.mu.Unlock()
		if enough {
			return done, errEnough
		}
		n := min(len(p)-done, maxSent)
		if err := w.link.send(frameAhead, p[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return len(p), nil
}

// pass waits until the program may speak, and tells whether it ever may.
func (a *ahead) pass(ended <-chan struct{}) bool {
	a.mu.Lock()
	held := a.held
	a.mu.Unlock()
	if held == nil {
		return true
	}
	select {
	case <-held:
		return true
	case <-ended:
		return false
	}
}

// take takes in a frame. It waits until there is room for it, and at the end until all of it is where it belongs.
func (a *ahead) take(data []byte) {
	if len(data) == 0 {
		a.over(true)
		return
	}
	a.mu.Lock()
	if a.taker == nil && a.open != nil {
		a.taker = a.open()
	}
	taker := a.taker
	a.mu.Unlock()
	if taker != nil {
		_, _ = taker.Write(data) // it knows what it cannot take
	}
}

// over ends what comes.
func (a *ahead) over(all bool) {
	a.mu.Lock()
	taker, took := a.taker, a.took
	a.open, a.taker = nil, nil
	a.mu.Unlock()
	if taker != nil {
		_ = taker.Close() // the same
		took(all)
	}
}
