package worker

import (
	"context"
	"log/slog"
	"time"
)

// Mover keeps an engine and moves apart.
type Mover struct{ m *mover }

// NewMover makes one; linked tells whether the other side is reached.
func NewMover(leads bool, linked func() bool) Mover {
	return Mover{newMover(Config{Leads: leads, Cold: &Cold{}}, linked, time.Now, slog.New(slog.DiscardHandler))}
}

// Permit tells it that the other node is gone.
func (m Mover) Permit() {
	m.m.mu.Lock()
	defer m.m.mu.Unlock()
	m.m.alone = time.Now().Add(permitFor)
}

// Meet tells it that the other node asks for directories.
func (m Mover) Meet() { m.m.meet() }

// HoldAlone keeps the engine from running while a directory is replaced on this node alone.
func (m Mover) HoldAlone(ctx context.Context) (release func(), err error) { return m.m.holdAlone(ctx) }

// Hold does so for both.
func (m Mover) Hold(ctx context.Context) (release func(), err error) { return m.m.hold(ctx) }

// Admit lets the engine run; cancel ends it.
func (m Mover) Admit(ctx context.Context, cancel context.CancelFunc) (release func(), err error) {
	return m.m.admit(ctx, cancel)
}

// NewMoverThat makes one that is told when both sides were found equal last.
func NewMoverThat(synced func() time.Time) Mover {
	return Mover{newMover(Config{Leads: true, Cold: &Cold{}}, func() bool { return true }, synced, slog.New(slog.DiscardHandler))}
}
