package databases

import (
	"context"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/router"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

const (
	// routerStuck is how long a router may lead to no member that takes writes although this node's own member, which is online, knows one:
	// routers look every second at the latest. routerRest is how long it then has at least until it is started again once more.
	routerStuck = 10 * time.Second
	routerRest  = time.Minute
)

// stuckRouter finds routers that have to be started again: MySQL Router 9.7, when it had lost all members for some seconds, was seen to have
// closed its port for writes, and not to open it when it knew the primary again.
type stuckRouter struct {
	since, restarted time.Time
}

// look takes in whether a way should be there that is not, and tells whether to start the router again.
func (s *stuckRouter) look(missing bool, now time.Time) bool {
	switch {
	case !missing:
		s.since = time.Time{}
		return false
	case s.since.IsZero():
		s.since = now
	}
	if now.Sub(s.since) < routerStuck || !s.restarted.IsZero() && now.Sub(s.restarted) < routerRest {
		return false
	}
	s.restarted = now
	return true
}

// missesWay tells whether a router runs that leads nowhere although the member on this node is in a group that has a primary: what the
// server reaches, its router has to reach.
func (r *route) missesWay(own spec.DatabaseStatus) bool {
	return r.said.Running && !r.said.Writable && r.problem == "" && r.elsewhere && own.State == spec.MemberOnline && own.Primary != ""
}

// restartRouters starts routers of databases again that are stuck.
func (m *Manager) restartRouters(ctx context.Context, stuck []topology.Database) {
	for _, d := range stuck {
		driver, can := m.cfg.Routers[d.Router.Driver].(router.Restarter)
		if !can {
			continue
		}
		m.cfg.Log.Warn("the router does not find the member that takes writes, starting it again", "database", d.Name)
		if err := driver.Restart(ctx, d.Name); err != nil && ctx.Err() == nil {
			m.cfg.Log.Warn("the router cannot be started again", "database", d.Name, "error", err)
		}
	}
}
