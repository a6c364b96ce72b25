package databases

import "time"

// StuckRouter finds routers that have to be started again.
type StuckRouter struct{ s stuckRouter }

// Look takes in whether a way should be there that is not, and tells whether to start the router again.
func (s *StuckRouter) Look(missing bool, now time.Time) bool { return s.s.look(missing, now) }
