// Package databases keeps a node's part in replicated databases: the member of each group, by an engine's driver and the
// decisions of package recovery, and the routers by which applications on the node reach them.
//
// Each member has a watcher, which looks at the server several times a second, decides and publishes; what takes time (a copy,
// a restart) is done beside it, one thing at a time.
package databases

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/recovery"
	"github.com/atollhq/terraform-provider-atoll/internal/router"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// State keeps small records on the disk, by name. What Write has returned of survives a power cut.
type State interface {
	Read(name string, into any) (found bool, err error)
	Write(name string, v any) error
	Remove(name string) error
	// Names returns the names of all records that begin with prefix.
	Names(prefix string) ([]string, error)
}

// Sight is what a node knows of its cluster at one moment.
type Sight struct {
	// Known tells that the objects of the cluster and of this node are there and that this node is admitted. While it is not,
	// what is there stays.
	Known     bool
	Databases []topology.Database
	// Gone tells whether the operator has removed a database, or this node's part in it.
	Gone func(name string) bool
	// Generations returns those of a database's object and of the object of this node's part in it.
	Generations func(name string) Generations
	Statuses    map[string]spec.Status
}

// Generations are those of the objects that a member follows from.
type Generations struct{ Database, Member uint64 }

// Config is what a Manager works with. All fields but Alone and Cut are required.
type Config struct {
	Node    string
	State   State
	Engines map[spec.DatabaseEngine]database.Driver
	Routers map[spec.RouterDriver]router.Driver
	// OpenKey opens a database's key that is sealed to this node.
	OpenKey func(sealed string) (*trust.DatabaseKey, error)
	// See returns what is known now, and a channel that is closed when that changes.
	See func() (Sight, <-chan struct{})
	// Bind maps a mesh address to the one where this node's servers listen.
	Bind func(netip.Addr) netip.Addr
	// Changed is called when what All returns has changed; urgent tells that others wait for it.
	Changed func(urgent bool)
	// Now is the clock for dates.
	Now func() time.Time
	Log *slog.Logger
	// RestartPatience is how long a member may take to come back with new settings before a rollout stops; 0 is five minutes.
	RestartPatience time.Duration
	// Alone tells whether this node reaches less than half of its cluster; nil means that it never does.
	Alone func() bool
	// Cut lets a test end a member's work after a step, as a power cut would.
	Cut func(step string) error
}

// Manager keeps a node's part in databases. Make it with New; Run it once. Its other methods are safe for concurrent use.
type Manager struct {
	cfg     Config
	hearing hearing

	mu      sync.Mutex
	parts   map[string]*part
	cancels map[string]context.CancelFunc
	// status is what this node says of each database; problems are those that no part has.
	status   map[string]spec.DatabaseStatus
	problems map[string]string
	// told are the generations of the objects that each member's server was told last.
	told map[string]Generations
	// seen is when each member was looked at last.
	seen   map[string]time.Time
	routes map[string]*route
	// began is when the manager was made.
	began time.Time
	// kept holds what an earlier start of the agent said.
	kept map[string]spec.DatabaseStatus
}

// hearing is recovery.Hearing for several goroutines.
type hearing struct {
	mu sync.Mutex
	h  *recovery.Hearing
}

func (h *hearing) listen(statuses map[string]spec.Status) map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.h.Listen(statuses, now)
	out := map[string]bool{}
	for node := range statuses {
		out[node] = h.h.Fresh(node, now)
	}
	return out
}

const (
	defaultRestartPatience = 5 * time.Minute
	// settling is how long after a start it is no news that nothing is known yet.
	settling = 10 * time.Second
)

// New returns a manager that has done nothing yet.
func New(cfg Config) *Manager {
	if cfg.RestartPatience == 0 {
		cfg.RestartPatience = defaultRestartPatience
	}
	if cfg.Alone == nil {
		cfg.Alone = func() bool { return false }
	}
	if cfg.Cut == nil {
		cfg.Cut = func(string) error { return nil }
	}
	sight, _ := cfg.See()
	m := &Manager{
		cfg: cfg, began: time.Now(), hearing: hearing{h: recovery.NewHearing(sight.Statuses)},
		parts: map[string]*part{}, cancels: map[string]context.CancelFunc{}, status: map[string]spec.DatabaseStatus{},
		problems: map[string]string{}, told: map[string]Generations{}, seen: map[string]time.Time{}, routes: map[string]*route{}, kept: maps.Clone(sight.Statuses[cfg.Node].Databases),
	}
	for name, s := range m.kept {
		if s.Router.Writable {
			// An agent's restart does not interrupt applications: what is not known yet is not bad for a moment.
			m.routes[name] = &route{said: s.Router, bad: time.Now(), resumed: true}
		}
	}
	return m
}

// roundInterval is how often it is looked which databases there are when nothing has changed.
const roundInterval = 2 * time.Second

// Run keeps the node's part in databases until ctx ends, which is the only error, or a test cuts it.
func (m *Manager) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { m.watchRouters(ctx) })
	work.Go(func() { m.answerRouters(ctx) })
	tick := time.NewTicker(roundInterval)
	defer tick.Stop()
	for {
		sight, changed := m.cfg.See()
		m.round(ctx, sight, func(ctx context.Context, p *part) {
			work.Go(func() {
				if err := p.run(ctx); err != nil {
					stop(err)
				}
			})
		})
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		case <-tick.C:
		}
	}
}

// round begins and ends parts.
func (m *Manager) round(ctx context.Context, sight Sight, begin func(context.Context, *part)) {
	if !sight.Known {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, p := range m.parts {
		if p.ended() {
			m.cancels[name]()
			delete(m.parts, name)
			delete(m.cancels, name)
			m.cfg.Changed(true)
		}
	}
	wanted, problems := m.wanted(sight)
	for name, engine := range wanted {
		if m.parts[name] == nil {
			partCtx, cancel := context.WithCancel(ctx)
			p := newPart(m, name, engine)
			m.parts[name], m.cancels[name] = p, cancel
			begin(partCtx, p)
		}
	}
	if !maps.Equal(problems, m.problems) {
		m.problems = problems
		m.cfg.Changed(true)
	}
}

// wanted returns the databases that this node has, or has had, a member of, with their engines, and what is wrong with others.
func (m *Manager) wanted(sight Sight) (wanted map[string]spec.DatabaseEngine, problems map[string]string) {
	wanted, problems = map[string]spec.DatabaseEngine{}, map[string]string{}
	taken := map[spec.DatabaseEngine]string{}
	names, err := m.cfg.State.Names(journalPrefix)
	if err != nil {
		problems[""] = err.Error()
		return wanted, problems
	}
	for _, file := range names {
		var r record
		name := strings.TrimPrefix(file, journalPrefix)
		if _, err := m.cfg.State.Read(file, &r); err != nil {
			// Whoever cannot read what it has promised must not act.
			problems[name] = fmt.Sprintf("the journal of this node's member cannot be read, so that it does nothing: %v; if the machine is sound, remove the member and add it again", err)
			continue
		}
		wanted[name], taken[r.Engine] = r.Engine, name
	}
	for _, d := range sight.Databases {
		if _, had := wanted[d.Name]; had || !d.SelfVotes() || problems[d.Name] != "" {
			continue
		}
		if m.cfg.Engines[d.Engine] == nil {
			problems[d.Name] = fmt.Sprintf("this agent does not know engine %q: update it", d.Engine)
			continue
		}
		if other := taken[d.Engine]; other != "" {
			problems[d.Name] = fmt.Sprintf("this node has a member of database %q already, and one server of %s is all that it can have: use another node", other, d.Engine)
			continue
		}
		wanted[d.Name], taken[d.Engine] = d.Engine, d.Name
	}
	return wanted, problems
}

// All returns what this node says of its part in each database.
func (m *Manager) All() map[string]spec.DatabaseStatus {
	sight, _ := m.cfg.See()
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]spec.DatabaseStatus{}
	for _, d := range sight.Databases {
		s := spec.DatabaseStatus{State: spec.MemberClientOnly}
		if d.SelfVotes() {
			// Before the first look nothing is said: what others knew of this member does not hold any more.
			s.State, s.Problem = spec.MemberPreparing, m.problems[d.Name]
			if s.Problem != "" {
				s.State = spec.MemberFailed
			}
		}
		if known, ok := m.status[d.Name]; ok {
			s = known
		} else if d.SelfVotes() && s.Problem == "" {
			continue
		}
		s.Router = m.routes[d.Name].status()
		out[d.Name] = s
	}
	for name, s := range m.status {
		if _, listed := out[name]; !listed {
			// It is being taken back.
			out[name] = s
		}
	}
	return out
}

// looked records that a member was looked at, and what its server was told: what is known of it holds.
func (m *Manager) looked(name string, told Generations) {
	m.mu.Lock()
	news := m.told[name] != told
	m.seen[name], m.told[name] = time.Now(), told
	m.mu.Unlock()
	if news {
		m.cfg.Changed(true)
	}
}

// Applied takes back from the generations that a node has put into effect what its servers were not told yet. What it returns
// may be the map that was given.
func (m *Manager) Applied(all map[spec.Ref]uint64) map[spec.Ref]uint64 {
	sight, _ := m.cfg.See()
	m.mu.Lock()
	defer m.mu.Unlock()
	names := map[string]bool{}
	for _, d := range sight.Databases {
		if d.SelfVotes() {
			names[d.Name] = true
		}
	}
	for name := range m.parts {
		// Also one that is being taken away.
		names[name] = true
	}
	copied := false
	for name := range names {
		for ref, told := range map[spec.Ref]uint64{
			{Kind: spec.KindDatabase, Name: name}:                            m.told[name].Database,
			{Kind: spec.KindMember, Name: spec.MemberName(name, m.cfg.Node)}: m.told[name].Member,
		} {
			if all[ref] <= told {
				continue
			}
			if !copied {
				all, copied = maps.Clone(all), true
			}
			if all[ref] = told; told == 0 {
				delete(all, ref)
			}
		}
	}
	return all
}

// publish records what a member says.
func (m *Manager) publish(name string, s spec.DatabaseStatus, urgent bool) {
	m.mu.Lock()
	m.status[name] = s
	m.mu.Unlock()
	m.cfg.Changed(urgent)
}

// forget drops what was said of a database.
func (m *Manager) forget(name string) {
	m.mu.Lock()
	delete(m.status, name)
	delete(m.seen, name)
	delete(m.told, name)
	delete(m.kept, name)
	m.mu.Unlock()
	m.cfg.Changed(true)
}

// State of a condition that nothing is said of: the node has no part in a database, or was not looked at yet.
const (
	conditionNone    spec.ConditionStatus = ""
	conditionPending spec.ConditionStatus = "pending"
)

// Pending tells that a condition cannot be told yet, None that there is none.
func Pending(s spec.ConditionStatus) bool { return s == conditionPending }

// None tells that a node has no part in a database, and so no such condition.
func None(s spec.ConditionStatus) bool { return s == conditionNone }

// Condition is how this node's part in all databases is: for DatabaseReady.
func (m *Manager) Condition() (status spec.ConditionStatus, reason, message string) {
	sight, _ := m.cfg.See()
	m.mu.Lock()
	defer m.mu.Unlock()
	var texts []string
	pending := false
	for _, d := range sight.Databases {
		if problem := m.problems[d.Name]; problem != "" {
			reason, texts = cmpFirst(reason, "Failed"), append(texts, "database "+d.Name+": "+problem)
		} else if d.SelfVotes() {
			p := m.parts[d.Name]
			if _, looked := m.seen[d.Name]; p == nil || !looked {
				pending = true
				reason, texts = cmpFirst(reason, "Waiting"), append(texts, "database "+d.Name+": has just started")
			} else if why, text := p.condition(); why != "" {
				reason, texts = cmpFirst(reason, why), append(texts, "database "+d.Name+": "+text)
			}
		}
		r := m.routes[d.Name]
		pending = pending || r == nil || r.resumed
		if text := r.trouble(); text != "" {
			reason, texts = cmpFirst(reason, "RouterDown"), append(texts, "database "+d.Name+": router: "+text)
		}
	}
	switch {
	case m.problems[""] != "":
		return spec.ConditionFalse, "Failed", m.problems[""]
	case !sight.Known, pending && time.Since(m.began) < settling:
		return conditionPending, "", ""
	case len(sight.Databases) == 0 && len(m.parts) == 0:
		return conditionNone, "", ""
	case len(texts) > 0:
		return spec.ConditionFalse, reason, strings.Join(texts, "; ")
	}
	return spec.ConditionTrue, "Ready", ""
}

func cmpFirst(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// TakeBack removes what the agent made for databases from its machine: members leave their groups, the primary hands over
// first, and data is kept aside. It may be repeated. No manager may run.
func TakeBack(ctx context.Context, cfg Config) error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(cfg.Routers)) {
		if err := cfg.Routers[name].Apply(ctx, nil); err != nil {
			problems = append(problems, fmt.Errorf("remove the router of driver %s: %w", name, err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Engines)) {
		if err := remove(ctx, cfg.Engines[name], cfg.Log); err != nil {
			problems = append(problems, fmt.Errorf("remove the member of engine %s: %w", name, err))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	names, err := cfg.State.Names(journalPrefix)
	if err != nil {
		return err
	}
	for _, name := range names {
		problems = append(problems, cfg.State.Remove(name))
	}
	return errors.Join(problems...)
}

// leavePatience is how long a member that is removed may take to hand over and leave.
const leavePatience = 45 * time.Second

// remove takes a member out of its group and its server off the machine. A member that cannot leave in order is missed by its
// group as if it had died.
func remove(ctx context.Context, driver database.Driver, log *slog.Logger) error {
	leaving, cancel := context.WithTimeout(ctx, leavePatience)
	if err := driver.Leave(leaving); err != nil {
		log.Info("the member does not leave its group in order", "error", err)
	}
	cancel()
	return driver.Apply(ctx, nil)
}
