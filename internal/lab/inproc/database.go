package inproc

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/router"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// RefusedSetting is a setting that no server of these machines takes, and BrokenSetting one that its server takes and then does not
// start with: the member whose node it names stays away.
const (
	RefusedSetting = "no_such_variable"
	BrokenSetting  = "breaks_node"
)

// engine is the database software of all machines: groups whose members agree at once, since they are in one process.
type engine struct {
	mu     sync.Mutex
	groups map[string]*group
}

// group is the members of one database that are connected, by machine.
type group struct {
	members map[*server]bool
	primary *server
	// at counts the group's transactions, users are what is in its data.
	at    uint64
	users map[string]database.User
}

// server is a machine's member. Its data outlives the machine's power.
type server struct {
	engine *engine
	on     bool
	member *database.Member
	// has is how much data it has, own whether some of it is nobody else's.
	has   uint64
	fresh bool
	// started tells that the server has run with some settings, stopped that it does not come up with those that it has.
	started bool
	stopped bool
	running map[string]string
	wanted  map[string]string
	users   map[string]database.User
	aside   int
}

func (e *engine) group(name string) *group {
	if e.groups == nil {
		e.groups = map[string]*group{}
	}
	g := e.groups[name]
	if g == nil {
		g = &group{members: map[*server]bool{}}
		e.groups[name] = g
	}
	return g
}

// leave takes a server out of its group, and chooses another primary.
func (e *engine) leave(s *server) {
	for _, g := range e.groups {
		if !g.members[s] {
			continue
		}
		s.has = g.at
		delete(g.members, s)
		if g.primary != s {
			continue
		}
		g.primary = nil
		for _, other := range slices.SortedFunc(maps.Keys(g.members), func(a, b *server) int {
			if a.member.Weight != b.member.Weight {
				return b.member.Weight - a.member.Weight
			}
			return strings.Compare(a.member.Node, b.member.Node)
		}) {
			g.primary = other
			return
		}
	}
}

// newDatabase is the driver of the machine's server, which is on from now on.
func (m *Machine) newDatabase(host.System, *slog.Logger) database.Driver {
	e := &m.all.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if m.server == nil {
		m.server = &server{engine: e, fresh: true}
	}
	m.server.on = true
	return m.server
}

// powerOff stops the machine's server, if it has one.
func (m *Machine) powerOff() {
	e := &m.all.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if m.server != nil {
		m.server.on = false
		e.leave(m.server)
	}
}

// DatabaseUsers returns the passwords of the applications' users that a machine's server knows, by name, and how often data was
// kept aside there.
func (m *Machine) DatabaseUsers() (passwords map[string]string, aside int) {
	e := &m.all.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	passwords = map[string]string{}
	if m.server == nil {
		return passwords, 0
	}
	for name, u := range m.server.users {
		passwords[name] = u.Password
	}
	return passwords, m.server.aside
}

// Machines returns all machines that were ever made, in the order in which they were.
func (m *Machines) Machines() []*Machine {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.all)
}

// Apply implements database.Driver.
func (s *server) Apply(_ context.Context, m *database.Member) error {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	if m == nil {
		s.engine.leave(s)
		if s.member != nil && !s.fresh {
			s.aside++
		}
		*s = server{engine: s.engine, on: s.on, fresh: true, aside: s.aside}
		return nil
	}
	if _, refused := m.Settings[RefusedSetting]; refused {
		return &database.SettingsError{Message: fmt.Sprintf("unknown variable '%s=%s'", RefusedSetting, m.Settings[RefusedSetting])}
	}
	if s.member != nil && s.member.Group != m.Group && !s.fresh {
		return fmt.Errorf("there is data of group %s in the way", s.member.Group)
	}
	s.member, s.wanted = m, maps.Clone(m.Settings)
	if !s.started || s.stopped && s.wanted[BrokenSetting] != m.Node {
		s.running, s.started, s.stopped = maps.Clone(s.wanted), true, false
	}
	return nil
}

func digest(settings map[string]string) string {
	text := "settings"
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		text += " " + name + "=" + settings[name]
	}
	return text
}

// Status implements database.Driver.
func (s *server) Status(context.Context) (database.Status, error) {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	out := database.Status{State: spec.MemberDown, Problem: "the server does not start"}
	if s.member == nil || s.stopped || !s.on {
		return out, nil
	}
	g := s.engine.group(s.member.Group)
	out = database.Status{
		State: spec.MemberStranded, Version: "9.7.4", Fresh: s.fresh, Running: digest(s.running), Wanted: digest(s.wanted),
		RestartNeeded: digest(s.running) != digest(s.wanted), View: map[string]spec.MemberState{},
	}
	if !g.members[s] {
		return out, nil
	}
	out.State, out.Writable = spec.MemberOnline, g.primary == s
	if g.primary != nil {
		out.Primary = g.primary.member.Node
	}
	for other := range g.members {
		out.View[other.member.Node] = spec.MemberOnline
	}
	return out, nil
}

// Preflight implements database.Driver.
func (*server) Preflight(context.Context) ([]database.Finding, error) { return nil, nil }

// Bootstrap implements database.Driver.
func (s *server) Bootstrap(context.Context) error {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	g := s.engine.group(s.member.Group)
	if len(g.members) > 0 {
		return fmt.Errorf("a second group of %s would begin at %s", s.member.Database, s.member.Node)
	}
	g.members[s], g.primary = true, s
	g.at, s.fresh = s.has+1, false
	return nil
}

// Join implements database.Driver.
func (s *server) Join(context.Context) error {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	g := s.engine.group(s.member.Group)
	if len(g.members) == 0 {
		return fmt.Errorf("no member of %s answers", s.member.Database)
	}
	if s.has > g.at {
		return &database.DivergedError{Node: s.member.Node, Own: strconv.FormatUint(s.has, 10)}
	}
	g.members[s], s.fresh = true, false
	s.users = maps.Clone(g.users)
	return nil
}

// Leave implements database.Driver.
func (s *server) Leave(context.Context) error {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	s.engine.leave(s)
	return nil
}

// Restart implements database.Driver.
func (s *server) Restart(context.Context) error {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	s.engine.leave(s)
	s.running = maps.Clone(s.wanted)
	if s.member != nil && s.wanted[BrokenSetting] == s.member.Node {
		s.stopped = true
		return fmt.Errorf("the server does not start with %s", BrokenSetting)
	}
	return nil
}

// Position implements database.Driver.
func (s *server) Position(context.Context) (string, error) {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	if s.fresh || s.has == 0 {
		return "", nil
	}
	return s.member.Group + ":1-" + strconv.FormatUint(s.has, 10), nil
}

// Compare implements database.Driver.
func (*server) Compare(_ context.Context, a, b string) (database.Order, error) {
	count := func(position string) uint64 {
		n, err := strconv.ParseUint(position[strings.LastIndex(position, "-")+1:], 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	switch x, y := count(a), count(b); {
	case x < y:
		return database.Less, nil
	case x > y:
		return database.Greater, nil
	default:
		return database.Equal, nil
	}
}

// SwitchOver implements database.Driver.
func (s *server) SwitchOver(_ context.Context, to string, _ time.Duration) error {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	g := s.engine.group(s.member.Group)
	for other := range g.members {
		if other.member.Node == to {
			g.primary = other
			return nil
		}
	}
	return &database.SwitchoverError{To: to, Reason: "not-online", Message: "it is not in the group"}
}

// CheckSwitchover implements database.Driver.
func (s *server) CheckSwitchover(_ context.Context, to string) (database.SwitchoverCheck, error) {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	out := database.SwitchoverCheck{Reason: "not-online", Message: "it is not in the group"}
	if s.member == nil {
		return out, nil
	}
	g := s.engine.group(s.member.Group)
	if g.primary != nil {
		out.From = g.primary.member.Node
	}
	for other := range g.members {
		if other.member.Node == to {
			out.Reason, out.Message = "", ""
		}
	}
	return out, nil
}

// Maintain implements database.Driver.
func (s *server) Maintain(_ context.Context, m *database.Member) error {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	g := s.engine.group(m.Group)
	if g.primary == s {
		g.users = maps.Clone(m.Users)
		for other := range g.members {
			other.users = maps.Clone(m.Users)
		}
	}
	return nil
}

// databaseRouter is a router of which only the configuration exists; it leads to whoever is the primary.
type databaseRouter struct {
	engine *engine
	mu     sync.Mutex
	config *router.Config
}

func (m *Machine) newRouter(host.System, *slog.Logger) router.Driver {
	return &databaseRouter{engine: &m.all.engine}
}

// Apply implements router.Driver.
func (r *databaseRouter) Apply(_ context.Context, c *router.Config) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.config = c
	return nil
}

// Status implements router.Driver.
func (r *databaseRouter) Status(context.Context) (router.Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := router.Status{Running: r.config != nil, Writers: map[string]string{}}
	if r.config == nil {
		return out, nil
	}
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	for _, d := range r.config.Databases {
		if g := r.engine.group(d.Group); g.primary != nil {
			out.Writers[d.Name] = g.primary.member.Node
		}
	}
	return out, nil
}
