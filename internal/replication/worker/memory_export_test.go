//go:build linux

package worker

import "time"

// Pressure is what finds out whether a unit is short of memory.
type Pressure struct{ p *pressure }

// NewPressure makes one of a control group's directory.
func NewPressure(group string) Pressure { return Pressure{&pressure{group: group}} }

// Warning says that the unit is short of memory.
func (p Pressure) Warning(now time.Time) string { return p.p.warning(now) }

// IsFull is full.
func IsFull(tree string) bool { return full(tree) }
