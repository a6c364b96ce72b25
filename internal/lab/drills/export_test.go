//go:build linux

package drills

import (
	"context"
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// WithoutLab returns options whose clusters are nothing but names, and tells up and down of them.
func WithoutLab(up, down func(cluster string) error) Options {
	return Options{field: func(_ context.Context, c *Cluster) (*Field, func() error, error) {
		if err := up(c.Name); err != nil {
			return nil, nil, err
		}
		return &Field{Site: &rig.Site{}}, func() error { return down(c.Name) }, nil
	}}
}

// Demanded takes what applications say and returns the versions that have to be there afterwards, sorted, and those one of which may be
// there instead.
func Demanded(lines ...string) (ids []string, instead map[string][]string) {
	a := newAccount()
	for _, l := range lines {
		a.note(l)
	}
	instead = map[string][]string{}
	for id := range a.demanded() {
		ids = append(ids, id)
		if next := a.successors(id); len(next) > 0 {
			instead[id] = next
		}
	}
	slices.Sort(ids)
	return ids, instead
}

// IsFor is isFor.
func IsFor(name, want string) bool { return isFor(name, want) }

// Application is the program that writes files.
func Application() string { return application }

// Echoes are what ping said of echoes from a moment on, one line each.
func Echoes(lines []string, fault time.Time) (s Seen, share float64, until int, missing int, gap time.Duration) {
	e := &echoes{}
	for _, l := range lines {
		e.note(l)
	}
	s = e.seen(fault)
	share, until = e.minute(fault)
	return s, share, until, e.missing(fault), e.longestGap(fault)
}
