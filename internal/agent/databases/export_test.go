package databases

import (
	"context"
	"net/netip"
	"time"
)

// StuckRouter finds routers that have to be started again.
type StuckRouter struct{ s stuckRouter }

// Due takes in whether a way is missing and whether this node reaches who takes writes, and tells whether to start the router again,
// which then happens.
func (s *StuckRouter) Due(missing, reached bool, now time.Time) bool {
	due := s.s.due(missing, reached, now)
	if due {
		s.s.again(now)
	}
	return due
}

// Reaches tells whether one of the servers accepts a connection from here.
func Reaches(ctx context.Context, servers ...netip.AddrPort) bool {
	return stuck{writers: servers}.reaches(ctx)
}

// RoutePatience is how long the way to the database may be bad until that counts.
func RoutePatience(elsewhere, blocked bool) time.Duration {
	return (&route{elsewhere: elsewhere, blocked: blocked}).patience()
}
