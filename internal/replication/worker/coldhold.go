package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
)

const (
	// turnFor is how long the engine has at most between two rests, should it not find both sides equal before, and turnLook how often that is looked at.
	turnFor  = time.Minute
	turnLook = 100 * time.Millisecond
	// followAgain is how soon after directories that one node alone has moved were to be moved on the other that is tried again; not before sparing times
	// as long as it took.
	followAgain = 10 * time.Second
)

// admit waits until the engine may run, and keeps directories from being replaced while it does. On the node that leads it first finds out which
// directories are moved on one node alone: the engine has to leave them alone, or it would take that for a change. Cancel ends the run.
func (m *mover) admit(ctx context.Context, cancel context.CancelFunc) (release func(), err error) {
	if m == nil {
		return func() {}, nil
	}
	select {
	case m.running <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if m.cfg.Leads {
		dirs, err := cold.Apart(ctx, m.here, m.there)
		if err != nil {
			<-m.running
			return nil, fmt.Errorf("see which old directories are moved: %w", err)
		}
		m.setApart(dirs)
	}
	m.setRest(cancel)
	return func() {
		m.setRest(nil)
		<-m.running
	}, nil
}

// setApart notes which directories are moved on one of the nodes alone.
func (m *mover) setApart(dirs []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.apart = dirs; len(dirs) == 0 {
		m.followed, m.unfollowed = time.Time{}, ""
	}
}

// attach tells it of the engine's host.
func (m *mover) attach(h *Host) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.host = h
}

// apartNow returns what the engine has to leave alone.
func (m *mover) apartNow() []string {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.apart
}

// behind tells whether it is time to move what one node alone has moved on the other, too.
func (m *mover) behind() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.apart) > 0 && time.Since(m.followed) > max(followAgain, sparing*m.following)
}

// follow does so.
func (m *mover) follow(ctx context.Context) {
	began := time.Now()
	r := cold.Follow(ctx, m.here, m.there, m.hold, m.log)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.following = time.Since(began)
	// Where everything is moved the engine's next start has said so.
	m.unfollowed = first(r.Problems)
	if m.followed = time.Now(); len(r.Problems)+len(r.Busy) == 0 {
		m.followed = time.Time{}
	}
}

// turn waits until the engine has made both sides equal since it last rested, or has had its time.
func (m *mover) turn(ctx context.Context) error {
	tick := time.NewTicker(turnLook)
	defer tick.Stop()
	for {
		m.mu.Lock()
		rested := m.rested
		m.mu.Unlock()
		if time.Since(rested) > turnFor || m.synced().After(rested) {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (m *mover) setRest(cancel context.CancelFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rest = cancel
}

// hold is cold.Hold. The engine has its turn between two rests: there may be many.
func (m *mover) hold(ctx context.Context) (release func(), err error) {
	if err := m.turn(ctx); err != nil {
		return nil, err
	}
	return m.holdNow(ctx)
}

// holdNow keeps the engine from running, and ends it.
func (m *mover) holdNow(ctx context.Context) (release func(), err error) {
	m.mu.Lock()
	m.resting++
	m.mu.Unlock()
	done := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.resting--
		m.heard, m.rested = time.Now(), time.Now()
	}
	m.mu.Lock()
	host := m.host
	if m.rest == nil {
		host = nil
	}
	m.mu.Unlock()
	ended := func() {}
	if host != nil {
		ended = host.settle(ctx)
	}
	for {
		m.mu.Lock()
		if m.rest != nil {
			m.rest()
		}
		m.mu.Unlock()
		ended()
		select {
		case m.running <- struct{}{}:
			return func() {
				<-m.running
				done()
			}, nil
		case <-time.After(holdAgain):
		case <-ctx.Done():
			done()
			return nil, ctx.Err()
		}
	}
}

// errNotAlone is why a node that was to move alone does not.
var errNotAlone = errors.New("the other node is there again")

// holdAlone is cold.Hold for a node that is alone. What the other node is told of this one's directories, before its engine starts, is told either
// before such a hold, which then fails, or after it.
func (m *mover) holdAlone(ctx context.Context) (func(), error) {
	release, err := m.holdNow(ctx)
	if err != nil {
		return nil, err
	}
	m.swapping <- struct{}{} // soon: whoever asks leaves at once
	if m.linked() || !m.permitted() {
		<-m.swapping
		release()
		return nil, errNotAlone
	}
	return func() {
		<-m.swapping
		release()
	}, nil
}
