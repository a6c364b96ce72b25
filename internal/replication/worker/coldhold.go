package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
)

// admit waits until the engine may run, and keeps directories from being replaced while it does. On the node that leads it first sees to it that no
// directory is moved on one node alone: the engine would take that for a change. Cancel ends the run.
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
		if err := cold.Agree(ctx, m.here, m.there, m.follows); err != nil {
			<-m.running
			return nil, fmt.Errorf("see which old directories are moved: %w", err)
		}
	}
	m.follows(0)
	m.setRest(cancel)
	return func() {
		m.setRest(nil)
		<-m.running
	}, nil
}

// follows notes how many directories are moved on one of the nodes before the engine may run, since the other one has moved them.
func (m *mover) follows(number int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.following = number
}

func (m *mover) setRest(cancel context.CancelFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rest = cancel
}

// hold is cold.Hold.
func (m *mover) hold(ctx context.Context) (release func(), err error) {
	m.mu.Lock()
	m.resting++
	m.mu.Unlock()
	done := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.resting--
		m.heard = time.Now()
	}
	for {
		m.mu.Lock()
		if m.rest != nil {
			m.rest()
		}
		m.mu.Unlock()
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
	release, err := m.hold(ctx)
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
