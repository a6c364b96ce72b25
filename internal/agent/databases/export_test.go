package databases

import (
	"context"
	"net/netip"
	"time"
)

// StuckRouter finds routers that have to be started again.
type StuckRouter struct{ s stuckRouter }

// Due takes in whether a way should be there that is not, and tells whether to start the router again, which then happens.
func (s *StuckRouter) Due(missing bool, now time.Time) bool {
	due := s.s.due(missing, now)
	if due {
		s.s.again(now)
	}
	return due
}

// Reaches tells whether one of the servers accepts a connection from here.
func Reaches(ctx context.Context, servers ...netip.AddrPort) bool {
	return stuck{writers: servers}.reaches(ctx)
}
