package worker

import "context"

// Resting is a host whose program can be held back.
type Resting struct{ h *Host }

// NewResting returns one whose program is in the middle of a round.
func NewResting() Resting { return Resting{&Host{rounds: 1, carried: &carried{}}} }

// Settle holds the program back.
func (r Resting) Settle(ctx context.Context) (end func()) { return r.h.settle(ctx) }

// Pass is what Gate asks first.
func (r Resting) Pass() error { return r.h.rest.pass() }

// Rests tells that the program waits for changes.
func (r Resting) Rests() { r.h.Rests() }
