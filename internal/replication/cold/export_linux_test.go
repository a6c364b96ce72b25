package cold

import "time"

// ErrKilled is how a step ends a side.
var ErrKilled = errKilled

// SetStep has fn be called before each operation that changes something.
func (m *Mover) SetStep(fn func(name string) error) { m.step = fn }

// SetNow sets the clock.
func (m *Mover) SetNow(now func() time.Time) { m.now = now }

// Slot returns where a directory is put aside next.
func (m *Mover) Slot(dir string) (string, error) { return m.slot(dir) }

// Exchange is the operation itself.
func Exchange(a, b string) error { return exchange(a, b) }

// Lease and KeepsLease are the operations themselves.
var (
	Lease      = lease
	KeepsLease = keepsLease
)
