package agent_test

import (
	"context"
	"errors"
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

// group is a database whose servers are fakes: a group goes on while more than half of it runs.
type group struct {
	mu      sync.Mutex
	engines map[string]*fakeEngine
	// view is who is in the group, in the order in which they came; the first one that runs is the primary.
	view []string
	// began counts how often a group was begun.
	began []string
	// broken are settings with which a server does not come up.
	broken string
	writes int
	// restarted are the nodes whose servers were, in that order.
	restarted []string
}

func newGroup() *group { return &group{engines: map[string]*fakeEngine{}} }

// fakeEngine is one node's server: its data and whether it runs.
type fakeEngine struct {
	g    *group
	node string

	member  *database.Member
	running string
	up      bool
	// in tells that the server is in the group.
	in   bool
	data []int
	// fails is what Apply says, unfit what Status does; refuses is a setting that is refused.
	fails    error
	refuses  string
	unfit    string
	maintain int
	// keptFor is who was in the group when the primary was told last to keep what replicates.
	keptFor []string
	left    int
	// started counts how often the server was.
	started int
}

var _ database.Driver = (*fakeEngine)(nil)

func (g *group) engine(node string) *fakeEngine {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.engines[node] == nil {
		g.engines[node] = &fakeEngine{g: g, node: node}
	}
	return g.engines[node]
}

func (g *group) alive() []string {
	return slices.DeleteFunc(slices.Clone(g.view), func(n string) bool { return !g.engines[n].in || !g.engines[n].up })
}

func (g *group) quorate() bool { return 2*len(g.alive()) > len(g.view) }

// settle lets the group drop its dead and share what it has.
func (g *group) settle() {
	if len(g.view) == 0 || !g.quorate() {
		return
	}
	g.view = g.alive()
	var all []int
	for _, n := range g.view {
		all = append(all, g.engines[n].data...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	for _, n := range g.view {
		g.engines[n].data = all
	}
}

func (g *group) primary() string {
	if len(g.view) == 0 || !g.quorate() {
		return ""
	}
	return g.alive()[0]
}

// write is an acknowledged write, false when nobody takes it.
func (g *group) write() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.settle()
	if g.primary() == "" {
		return false
	}
	g.writes++
	for _, n := range g.view {
		g.engines[n].data = append(slices.Clone(g.engines[n].data), g.writes)
	}
	return true
}

// kill ends a server; keepUp of the next Apply starts it.
func (g *group) kill(nodes ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range nodes {
		g.engines[n].up, g.engines[n].in = false, false
	}
	g.settle()
}

func (g *group) do(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

// Apply implements database.Driver.
func (f *fakeEngine) Apply(_ context.Context, m *database.Member) error {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	if m == nil {
		f.up, f.in, f.member = false, false, nil
		f.g.settle()
		return nil
	}
	if f.fails != nil {
		return f.fails
	}
	var refused error
	if value := m.Settings["setting"]; f.refuses != "" && value == f.refuses {
		refused = &database.SettingsError{Message: "no such value: " + value}
	} else {
		f.member = m
	}
	if !f.in && !f.up {
		return errors.Join(f.start(), refused)
	}
	return refused
}

func (f *fakeEngine) start() error {
	want := f.wanted()
	if f.g.broken != "" && want == f.g.broken {
		f.up, f.in = false, false
		return errors.New("the server does not start with these settings")
	}
	f.running, f.up, f.in = want, true, false
	f.started++
	return nil
}

func (f *fakeEngine) wanted() string {
	if f.member == nil {
		return ""
	}
	return f.member.Settings["setting"]
}

// Status implements database.Driver.
func (f *fakeEngine) Status(context.Context) (database.Status, error) {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	st := database.Status{State: spec.MemberDown, Running: "digest of " + f.running, Wanted: "digest of " + f.wanted()}
	st.RestartNeeded = st.Running != st.Wanted
	if !f.up {
		st.Problem = "the server does not run"
		return st, nil
	}
	st.Version, st.State, st.Fresh = "9.7.4", spec.MemberStranded, len(f.data) == 0
	if !f.in {
		return st, nil
	}
	f.g.settle()
	st.View = map[string]spec.MemberState{}
	for _, n := range f.g.view {
		st.View[n] = spec.MemberOnline
	}
	st.State, st.Unfit = spec.MemberBlocked, f.unfit
	if f.g.quorate() {
		st.State, st.Primary = spec.MemberOnline, f.g.primary()
		st.Writable = st.Primary == f.node
	}
	return st, nil
}

// Preflight implements database.Driver.
func (*fakeEngine) Preflight(context.Context) ([]database.Finding, error) {
	return []database.Finding{{Check: "memory", Severity: database.Warns, Message: "little"}}, nil
}

// Bootstrap implements database.Driver.
func (f *fakeEngine) Bootstrap(context.Context) error {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	if !f.up {
		return errors.New("no server")
	}
	f.g.writes++
	f.data, f.in = append(slices.Clone(f.data), f.g.writes), true
	f.g.view, f.g.began = []string{f.node}, append(f.g.began, f.node)
	return nil
}

// Join implements database.Driver.
func (f *fakeEngine) Join(context.Context) error {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	f.g.settle()
	if !f.up || f.g.primary() == "" || f.in {
		return errors.New("nobody of the group answers")
	}
	have := f.g.engines[f.g.primary()].data
	if own := slices.DeleteFunc(slices.Clone(f.data), func(n int) bool { return slices.Contains(have, n) }); len(own) > 0 {
		return &database.DivergedError{Node: f.node, Own: position(own)}
	}
	f.data, f.in = have, true
	f.g.view = append(f.g.view, f.node)
	return nil
}

// Leave implements database.Driver.
func (f *fakeEngine) Leave(context.Context) error {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	f.left++
	if f.in && f.g.quorate() {
		f.g.view = slices.DeleteFunc(f.g.view, func(n string) bool { return n == f.node })
	}
	f.in = false
	return nil
}

// Restart implements database.Driver.
func (f *fakeEngine) Restart(ctx context.Context) error {
	if err := f.Leave(ctx); err != nil {
		return err
	}
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	f.g.restarted = append(f.g.restarted, f.node)
	return f.start()
}

// Position implements database.Driver.
func (f *fakeEngine) Position(context.Context) (string, error) {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	return position(f.data), nil
}

func position(data []int) string {
	texts := make([]string, len(data))
	for i, n := range data {
		texts[i] = strconv.Itoa(n)
	}
	return strings.Join(texts, ",")
}

// Compare implements database.Driver.
func (*fakeEngine) Compare(_ context.Context, a, b string) (database.Order, error) {
	inOther := func(a, b string) bool {
		other := strings.Split(b, ",")
		return a == "" || !slices.ContainsFunc(strings.Split(a, ","), func(n string) bool { return !slices.Contains(other, n) })
	}
	switch less, more := inOther(a, b), inOther(b, a); {
	case less && more:
		return database.Equal, nil
	case less:
		return database.Less, nil
	case more:
		return database.Greater, nil
	}
	return database.Diverged, nil
}

// SwitchOver implements database.Driver.
func (f *fakeEngine) SwitchOver(_ context.Context, to string, _ time.Duration) error {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	if !slices.Contains(f.g.view, to) {
		return &database.SwitchoverError{To: to, Reason: "unknown-member", Message: "it is not in the group"}
	}
	f.g.view = append([]string{to}, slices.DeleteFunc(slices.Clone(f.g.view), func(n string) bool { return n == to })...)
	return nil
}

// CheckSwitchover implements database.Driver.
func (f *fakeEngine) CheckSwitchover(_ context.Context, to string) (database.SwitchoverCheck, error) {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	out := database.SwitchoverCheck{From: f.g.primary(), Queue: 3, MostQueue: 500}
	if !slices.Contains(f.g.view, to) {
		out.Reason, out.Message = "unknown-member", "it is not in the group"
	}
	return out, nil
}

// Maintain implements database.Driver.
func (f *fakeEngine) Maintain(_ context.Context, m *database.Member) error {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	f.maintain++
	f.keptFor = slices.Sorted(slices.Values(f.g.view))
	if m.Users["web"].Password != "correct horse" {
		return fmt.Errorf("the password is %q", m.Users["web"].Password)
	}
	return nil
}

// fakeRouter leads to the primary.
type fakeRouter struct {
	g *group

	mu     sync.Mutex
	config *router.Config
	down   bool
}

// Apply implements router.Driver.
func (f *fakeRouter) Apply(_ context.Context, c *router.Config) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.config = c
	return nil
}

// Status implements router.Driver.
func (f *fakeRouter) Status(context.Context) (router.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := router.Status{Writers: map[string]string{}}
	if f.config == nil || f.down {
		return out, nil
	}
	out.Running = true
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	for _, d := range f.config.Databases {
		out.Writers[d.Name] = f.g.primary()
	}
	return out, nil
}

func (f *fakeRouter) set(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

func (f *fakeRouter) routes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.config == nil {
		return nil
	}
	names := map[string]bool{}
	for _, d := range f.config.Databases {
		names[d.Name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// newFakeDatabases and newFakeRouters are what a machine's agent has for databases.
func (m *machine) newFakeDatabases() map[spec.DatabaseEngine]database.New {
	if m.w.group == nil {
		return nil
	}
	return map[spec.DatabaseEngine]database.New{spec.DatabaseMySQL: func(host.System, *slog.Logger) database.Driver { return m.w.group.engine(m.name) }}
}

func (m *machine) newFakeRouters() map[spec.RouterDriver]router.New {
	if m.w.group == nil {
		return nil
	}
	m.router.g = m.w.group
	return map[spec.RouterDriver]router.New{spec.RouterMySQL: func(host.System, *slog.Logger) router.Driver { return &m.router }}
}
