package linode

import "time"

// Window is window, for tests.
type Window struct{ w window }

// NewWindow returns a window.
func NewWindow(limit int, period time.Duration) *Window {
	return &Window{w: window{limit: limit, period: period}}
}

// Reserve books the next free start.
func (w *Window) Reserve(now time.Time) time.Time { return w.w.reserve(now) }
