package databases

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/router"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

const (
	// routerStuck is how long a router may lead to no member that takes writes although one is there that this node reaches: routers look
	// every second at the latest. routerRest is how long it then has at least until it is started again once more.
	routerStuck = 10 * time.Second
	routerRest  = time.Minute
	// reachPatience is how long a member may take to accept a connection.
	reachPatience = time.Second
)

// stuckRouter finds routers that have to be started again: MySQL Router 9.7, when it had lost all members for some seconds, was seen to have
// closed its port for writes, and not to open it when it knew the primary again.
type stuckRouter struct {
	since, restarted time.Time
}

// due takes in whether a way should be there that is not, and tells whether to start the router again.
func (s *stuckRouter) due(missing bool, now time.Time) bool {
	switch {
	case !missing:
		s.since = time.Time{}
		return false
	case s.since.IsZero():
		s.since = now
	}
	return now.Sub(s.since) >= routerStuck && (s.restarted.IsZero() || now.Sub(s.restarted) >= routerRest)
}

// again takes in that the router is started again.
func (s *stuckRouter) again(now time.Time) { s.restarted = now }

// missesWay tells whether a router runs that leads nowhere although some member takes writes.
func (r *route) missesWay() bool {
	return r.said.Running && !r.said.Writable && r.problem == "" && r.elsewhere
}

// stuck is a database whose router may be stuck, and the servers of members that take writes.
type stuck struct {
	database topology.Database
	writers  []netip.AddrPort
}

// stuckLocked returns what is known of a database whose router may be stuck.
func (m *Manager) stuckLocked(d topology.Database, sight Sight, fresh map[string]bool) stuck {
	s := stuck{database: d}
	for _, v := range d.Members {
		if v.Node != m.cfg.Node && fresh[v.Node] && sight.Statuses[v.Node].Databases[d.Name].Writable {
			s.writers = append(s.writers, m.address(v.MeshAddress, d.Port))
		}
	}
	return s
}

// reaches tells whether one of the servers accepts a connection from this node: what the agent reaches, the router has to reach.
func (s stuck) reaches(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()
	return slices.ContainsFunc(s.writers, func(at netip.AddrPort) bool {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", at.String())
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
}

// restartRouters starts routers of databases again that are stuck.
func (m *Manager) restartRouters(ctx context.Context, all []stuck) {
	for _, s := range all {
		name := s.database.Name
		driver, can := m.cfg.Routers[s.database.Router.Driver].(router.Restarter)
		if !can || !s.reaches(ctx) {
			continue
		}
		m.mu.Lock()
		if r := m.routes[name]; r != nil {
			r.stuck.again(time.Now())
		}
		m.mu.Unlock()
		m.cfg.Log.Warn("the router does not find the member that takes writes, starting it again", "database", name)
		if err := driver.Restart(ctx, name); err != nil && ctx.Err() == nil {
			m.cfg.Log.Warn("the router cannot be started again", "database", name, "error", err)
		}
	}
}
