package databases

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/router"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

const (
	// routerStuck is how long a router may lead to no member that takes writes although this node reaches one all the while. Routers look
	// every second at the latest, and wait for a member that hangs for three seconds, once.
	routerStuck = 6 * time.Second
	// routerRest is how long a router that was started again in vain then has at least until it is once more, doubled each time up to
	// routerMostRest: what is wrong is something else, and connections for reads may work.
	routerRest     = 15 * time.Second
	routerMostRest = 2 * time.Minute
	// reachPatience is how long a member may take to accept a connection: the packet that asks for it is sent again after a second.
	reachPatience = 3 * time.Second
)

// stuckRouter finds routers that have to be started again. What it guards against was MySQL Router 9.7 with epoll (see the driver): when it
// had lost all members for some seconds it kept its port for writes closed, also when it knew the primary again.
type stuckRouter struct {
	// since is when it was first found that the way is missing and should be there, zero while that is not so. One look that knows of
	// nobody who is reached does not end that: unreached tells that the last look was one.
	since     time.Time
	unreached bool
	// restarted is when the router was started again last, vain how often since it last led to a member that takes writes.
	restarted time.Time
	vain      int
}

// due takes in whether the way to a member that takes writes is missing, and whether this node reaches one, and tells whether to start the
// router again. A way that is there again forgives everything: the next time has another cause.
func (s *stuckRouter) due(missing, reached bool, now time.Time) bool {
	if !missing {
		*s = stuckRouter{}
		return false
	}
	again := s.unreached
	s.unreached = !reached
	if !reached {
		if again {
			s.since = time.Time{}
		}
		return false
	}
	if s.since.IsZero() {
		s.since = now
	}
	return now.Sub(s.since) >= routerStuck && (s.vain == 0 || now.Sub(s.restarted) >= s.rest())
}

// rest is how long a router that was started again in vain has.
func (s *stuckRouter) rest() time.Duration {
	rest := routerRest
	for range s.vain - 1 {
		rest = min(2*rest, routerMostRest)
	}
	return rest
}

// again takes in that the router is started again.
func (s *stuckRouter) again(now time.Time) {
	s.since, s.restarted = time.Time{}, now
	s.vain++
}

// missesWay tells whether a router runs that leads nowhere although some member takes writes.
func (r *route) missesWay() bool {
	return r.said.Running && !r.said.Writable && r.problem == "" && r.elsewhere
}

// stuck is a database whose router may be stuck, and the servers of members that take writes.
type stuck struct {
	database topology.Database
	writers  []netip.AddrPort
}

// mayBeStuck returns the databases whose routers led nowhere when they were looked at last, although some member takes writes.
func (m *Manager) mayBeStuck(sight Sight) []stuck {
	fresh := m.hearing.listen(sight.Statuses)
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []stuck
	for _, d := range sight.Databases {
		r := m.routes[d.Name]
		if _, can := m.cfg.Routers[d.Router.Driver].(router.Restarter); !can || r == nil || !r.missesWay() {
			continue
		}
		s := stuck{database: d}
		for _, v := range d.Members {
			if v.Node != m.cfg.Node && fresh[v.Node] && sight.Statuses[v.Node].Databases[d.Name].Writable {
				s.writers = append(s.writers, m.address(v.MeshAddress, d.Port))
			}
		}
		if m.status[d.Name].Writable {
			s.writers = append(s.writers, m.address(d.Self.MeshAddress, d.Port))
		}
		all = append(all, s)
	}
	return all
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

// askReach asks beside the looks whether this node reaches the writers of databases whose routers may be stuck, one question at a time for
// each: a line that loses packets, and a machine that has too much to do, need more time than there is for a look.
func (m *Manager) askReach(ctx context.Context, asking *sync.WaitGroup, all []stuck) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range all {
		r := m.routes[s.database.Name]
		if r == nil || r.asking {
			continue
		}
		r.asking = true
		asking.Go(func() {
			reached := s.reaches(ctx)
			m.mu.Lock()
			defer m.mu.Unlock()
			r.asking, r.reached = false, reached
		})
	}
}

// restartRouters starts routers of databases again that are stuck.
func (m *Manager) restartRouters(ctx context.Context, all []topology.Database) {
	for _, d := range all {
		driver, can := m.cfg.Routers[d.Router.Driver].(router.Restarter)
		if !can {
			continue
		}
		m.mu.Lock()
		vain := 0
		if r := m.routes[d.Name]; r != nil {
			vain = r.stuck.vain
			r.stuck.again(time.Now())
		}
		m.mu.Unlock()
		m.cfg.Log.Warn("the router does not find the member that takes writes, which this node reaches: starting it again", "database", d.Name, "before", vain)
		if err := driver.Restart(ctx, d.Name); err != nil && ctx.Err() == nil {
			m.cfg.Log.Warn("the router cannot be started again", "database", d.Name, "error", err)
		}
	}
}
