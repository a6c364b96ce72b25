package databases

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/router"
	"github.com/atollhq/terraform-provider-atoll/internal/router/rolecheck"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

const (
	// routeInterval is how often routers are looked at, routeApply how often they are applied when nothing has changed.
	routeInterval = time.Second
	routeApply    = 30 * time.Second
	routeRetry    = 2 * time.Second
	routePatience = 2 * time.Minute
	// roleFresh is how long what was seen of a member is told.
	roleFresh = 5 * time.Second
	// A route is bad once it has been so for so long: routeDown when it is only this node's, longer than a failover takes
	// when the database as a whole takes no writes, since then no other node serves better. A node whose member is not with its group, or
	// that has lost the others, is taken to be alone: that the others have a majority is likelier than that they are dead.
	routeDown   = 3 * time.Second
	routeOutage = 15 * time.Second
)

// route is how applications on this node reach a database.
type route struct {
	said    spec.RouterStatus
	problem string
	// elsewhere tells that some member takes writes, so that only this node's way to it is bad. Apart tells that the member here runs
	// and is not with its group, or that this node does not reach half of its cluster, so that others may take writes, of which nothing is heard.
	elsewhere, apart bool
	// bad is since when it leads to no writable member, zero while it does.
	bad time.Time
	// counted tells that it has been bad for so long that it counts.
	counted bool
	stuck   stuckRouter
	// reached tells whether this node reached a member that takes writes when it asked last, asking that it asks now.
	reached, asking bool
	// resumed tells that this is what an earlier start of the agent saw.
	resumed bool
}

// apart tells whether a member in that state runs and is not with a majority of its group.
func apart(s spec.MemberState) bool {
	return s == spec.MemberBlocked || s == spec.MemberStranded || s == spec.MemberRecovering
}

// patience is how long the way may be bad until that counts.
func (r *route) patience() time.Duration {
	if r.elsewhere || r.apart {
		return routeDown
	}
	return routeOutage
}

// counts tells whether the way has been bad for so long that it counts. From then on it does until there is one again: who takes writes
// may be unheard of for a moment, which makes nothing better here.
func (r *route) counts(now time.Time) bool {
	r.counted = !r.bad.IsZero() && (r.counted || now.Sub(r.bad) >= r.patience())
	return r.counted
}

func (r *route) status() spec.RouterStatus {
	if r == nil {
		return spec.RouterStatus{}
	}
	return r.said
}

// trouble returns what keeps the router from running, "" for nothing.
func (r *route) trouble() string {
	switch {
	case r == nil:
		return "not started yet"
	case r.problem != "":
		return r.problem
	case !r.said.Running:
		return cmpFirst(r.said.Problem, "not running")
	}
	return ""
}

// Health returns what strangers may read of the databases' part in this node's health: "" while applications here reach a
// member that takes writes, and for a moment longer. None tells that there is no database on this node.
func (m *Manager) Health() (problem string, none bool) {
	sight, _ := m.cfg.See()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range sight.Databases {
		r := m.routes[d.Name]
		if r == nil {
			problem = cmpFirst(problem, "not started yet")
			continue
		}
		if !r.counts(time.Now()) {
			continue
		}
		text := "no way to a member that takes writes"
		if !r.said.Running {
			text = "the router does not run"
		}
		problem = cmpFirst(problem, text)
	}
	return problem, len(sight.Databases) == 0
}

// watchRouters keeps the routers and looks at them, until ctx ends.
func (m *Manager) watchRouters(ctx context.Context) {
	tick := time.NewTicker(routeInterval)
	defer tick.Stop()
	var applied string
	var next time.Time
	problems := map[spec.RouterDriver]string{}
	var asking sync.WaitGroup
	defer asking.Wait()
	for {
		sight, changed := m.cfg.See()
		if sight.Known {
			configs, unknown := m.routerConfigs(sight)
			if digest := digestOfConfigs(configs); digest != applied || !time.Now().Before(next) {
				ok := true
				for name, driver := range m.cfg.Routers {
					problems[name] = m.applyRouter(ctx, name, driver, configs[name], problems[name])
					ok = ok && problems[name] == ""
				}
				applied, next = digest, time.Now().Add(routeApply)
				if !ok {
					next = time.Now().Add(routeRetry)
				}
			}
			m.lookAtRouters(ctx, &asking, sight, configs, problems, unknown)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
			// News come all the time; what matters here is looked at often enough.
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			case <-time.After(routeInterval / 4):
			}
		case <-tick.C:
		}
	}
}

// applyRouter returns what is wrong with a driver's routers, "" for nothing. What was wrong before is not logged again.
func (m *Manager) applyRouter(ctx context.Context, name spec.RouterDriver, driver router.Driver, c *router.Config, before string) string {
	ctx, cancel := context.WithTimeout(ctx, routePatience)
	defer cancel()
	err := driver.Apply(ctx, c)
	if err == nil {
		return ""
	}
	text := err.Error()
	if text != before {
		m.cfg.Log.Warn("the router is not as it should be", "driver", string(name), "error", err)
	}
	return text
}

// routerConfigs returns what each driver is to route, nil for nothing, and what is wrong with databases that none can.
func (m *Manager) routerConfigs(sight Sight) (configs map[spec.RouterDriver]*router.Config, unknown map[string]string) {
	configs, unknown = map[spec.RouterDriver]*router.Config{}, map[string]string{}
	for _, d := range sight.Databases {
		if m.cfg.Routers[d.Router.Driver] == nil {
			unknown[d.Name] = "this agent does not know router " + string(d.Router.Driver) + ": update it"
			continue
		}
		key, err := m.cfg.OpenKey(d.Self.Key)
		if err != nil {
			unknown[d.Name] = "open the database's key: " + err.Error()
			continue
		}
		password, err := key.Password(accountRouter)
		if err != nil {
			unknown[d.Name] = err.Error()
			continue
		}
		c := configs[d.Router.Driver]
		if c == nil {
			c = &router.Config{}
			configs[d.Router.Driver] = c
		}
		c.Databases = append(c.Databases, m.routed(d, password))
	}
	return configs, unknown
}

func (m *Manager) routed(d topology.Database, password string) router.Database {
	out := router.Database{
		Name: d.Name, Group: d.Group, WritePort: d.Router.WritePort, ReadPort: d.Router.ReadPort, Node: m.cfg.Node,
		User: routerUser, Password: password,
	}
	for _, peer := range d.Members {
		out.Members = append(out.Members, router.Member{
			Node: peer.Node, Address: m.address(peer.MeshAddress, d.Port), Check: m.address(peer.MeshAddress, spec.RolePort),
		})
	}
	return out
}

// lookAtRouters records how each database is reached. What it begins to ask beside that is in asking.
func (m *Manager) lookAtRouters(ctx context.Context, asking *sync.WaitGroup, sight Sight, configs map[spec.RouterDriver]*router.Config, problems map[spec.RouterDriver]string, unknown map[string]string) {
	found := map[spec.RouterDriver]router.Status{}
	m.askReach(ctx, asking, m.mayBeStuck(sight))
	for name := range configs {
		looking, cancel := context.WithTimeout(ctx, lookPatience)
		status, err := m.cfg.Routers[name].Status(looking)
		cancel()
		if err != nil {
			status = router.Status{Problem: err.Error()}
		}
		found[name] = status
	}
	if ctx.Err() != nil {
		return
	}
	fresh, alone := m.hearing.listen(sight.Statuses), m.cfg.Alone()
	m.mu.Lock()
	loud := len(m.routes) != len(sight.Databases)
	for name := range m.routes {
		if _, still := find(sight, name); !still {
			delete(m.routes, name)
		}
	}
	var all []topology.Database
	for _, d := range sight.Databases {
		r := m.routes[d.Name]
		if r == nil {
			r = &route{bad: time.Now()}
			r.said.Since = m.cfg.Now().UTC()
			m.routes[d.Name] = r
		}
		r.resumed = false
		status := found[d.Router.Driver]
		said := spec.RouterStatus{Running: status.Running, Writer: status.Writers[d.Name], Problem: status.Problem, Since: r.said.Since}
		said.Writable = said.Running && said.Writer != ""
		r.problem = cmpFirst(unknown[d.Name], problems[d.Router.Driver])
		said.Problem = cmpFirst(r.problem, said.Problem)
		if said.Running != r.said.Running || said.Writable != r.said.Writable || said.Writer != r.said.Writer {
			said.Since = m.cfg.Now().UTC()
			m.cfg.Log.Info("way to the database changed", "database", d.Name, "running", said.Running, "writer", said.Writer, "problem", said.Problem)
		}
		loud = loud || said != r.said
		r.said = said
		r.elsewhere, r.apart = m.writableLocked(d, sight, fresh), alone || apart(m.status[d.Name].State)
		switch {
		case said.Writable:
			r.bad, r.counted, r.reached = time.Time{}, false, false
		case r.bad.IsZero():
			r.bad = time.Now()
		}
		if r.stuck.due(r.missesWay(), r.reached, time.Now()) {
			all = append(all, d)
		}
	}
	m.mu.Unlock()
	m.restartRouters(ctx, all)
	if loud {
		m.cfg.Changed(true)
	}
}

// writableLocked tells whether some member of a database takes writes, as far as it was heard of.
func (m *Manager) writableLocked(d topology.Database, sight Sight, fresh map[string]bool) bool {
	return m.status[d.Name].Writable || slices.ContainsFunc(d.Members, func(v topology.DatabaseMember) bool {
		return v.Node != m.cfg.Node && fresh[v.Node] && sight.Statuses[v.Node].Databases[d.Name].Writable
	})
}

// answerRouters tells other nodes' routers what the members on this node are, while a router that asks that is wanted.
func (m *Manager) answerRouters(ctx context.Context) {
	server := rolecheck.Server{State: m.role}
	var at netip.AddrPort
	stop := func() {}
	defer func() { stop() }()
	tick := time.NewTicker(routeInterval)
	defer tick.Stop()
	for {
		sight, _ := m.cfg.See()
		want := netip.AddrPort{}
		for _, d := range sight.Databases {
			if d.SelfVotes() && d.Router.Driver == spec.RouterHAProxy {
				want = m.address(d.Self.MeshAddress, spec.RolePort)
			}
		}
		if sight.Known && want != at {
			stop()
			stop, at = func() {}, netip.AddrPort{}
			if want.IsValid() {
				var lc net.ListenConfig
				l, err := lc.Listen(ctx, "tcp", want.String())
				if err != nil {
					// The mesh may not be up yet.
					m.cfg.Log.Debug("routers cannot ask this node yet", "error", err)
				} else {
					serving, cancel := context.WithCancel(ctx)
					ended := make(chan struct{})
					go func() {
						defer close(ended)
						if err := server.Serve(serving, l); err != nil {
							m.cfg.Log.Warn("routers are not answered any more", "error", err)
						}
					}()
					at, stop = want, func() { cancel(); <-ended }
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// role returns what the member of a database on this node is to routers. What was not looked at yet, or not for long, is unknown: a
// start of the agent must cut nobody's connections. A server that hangs was looked at, and is down.
func (m *Manager) role(database string) rolecheck.State {
	sight, _ := m.cfg.See()
	if !sight.Known {
		return rolecheck.Unknown
	}
	if d, there := find(sight, database); !there || !d.SelfVotes() {
		return rolecheck.None
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, at := m.status[database], m.seen[database] // no time at all, and so long ago, before the first look
	switch {
	case time.Since(at) > roleFresh:
		return rolecheck.Unknown
	case s.State == spec.MemberOnline && s.Writable:
		return rolecheck.Writer
	case s.State == spec.MemberOnline, s.State == spec.MemberBlocked:
		// Without a majority nothing new comes, and what is there may be read.
		return rolecheck.Reader
	default:
		return rolecheck.None
	}
}

// digestOfConfigs returns what two equal sets of configurations have in common. It is kept in memory only.
func digestOfConfigs(configs map[spec.RouterDriver]*router.Config) string {
	var b strings.Builder
	for _, name := range spec.RouterDrivers() {
		if c := configs[name]; c != nil {
			b.WriteString(string(name) + "\x00" + digestOf(c))
		}
	}
	return b.String()
}
