package worker

import (
	"context"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
)

// want has what was written through links be brought over before its time: somebody waits for it.
func (m *mover) want() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wanted = true
}

// asked tells whether it is time for that.
func (m *mover) asked() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wanted && time.Since(m.brought) > max(bringAgain, sparing*m.bringing)
}

// bring brings over what was written through links. Where that has not made the roots equal a short time ago, dates do not tell what differs.
func (m *mover) bring(ctx context.Context) {
	m.mu.Lock()
	thorough := !m.brought.IsZero() && time.Since(m.brought) < coldRetry
	m.mu.Unlock()
	began := time.Now()
	result := cold.Bring(ctx, m.here, m.there, thorough)
	m.log.Info("what was written through links is brought over, since somebody waits for it", "contents", thorough, "problems", result.Problems)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wanted, m.brought, m.bringing = result.Unreached != "", time.Now(), time.Since(began)
	m.unbrought = first(result.Problems)
}

// interrupted tells whether a run is to be made again soon, since a side was not reached, and notes that. What lasts is a problem.
func (m *mover) interrupted(unreached string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if unreached == "" {
		m.unreached = time.Time{}
		return false
	}
	m.log.Info("moving old directories was interrupted", "reason", unreached)
	if m.unreached.IsZero() {
		m.unreached = time.Now()
	}
	if time.Since(m.unreached) > coldRetry {
		m.status.Problem = shortened(printable(unreached))
	}
	return true
}
