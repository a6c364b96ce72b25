package databases

import (
	"context"
	"net/netip"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
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
func RoutePatience(elsewhere bool, own spec.MemberState) time.Duration {
	return (&route{elsewhere: elsewhere, apart: apart(own)}).patience()
}

// Route is how applications on a node reach a database.
type Route struct{ r route }

// Bad makes the way bad since then.
func (r *Route) Bad(since time.Time) { r.r.bad = since }

// Elsewhere says whether some member is known to take writes.
func (r *Route) Elsewhere(is bool) { r.r.elsewhere = is }

// Counts tells whether the way has been bad for long enough.
func (r *Route) Counts(now time.Time) bool { return r.r.counts(now) }
