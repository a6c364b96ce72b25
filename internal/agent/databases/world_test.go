package databases_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/databases"
	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

const group = "2f9d6a0e-1c1d-4d4e-9a3e-0b6f0c5d7e11"

// server is a member whose server is as a test says. It counts what it is told to do.
type server struct {
	mu sync.Mutex
	// status is what it says, refused the settings that it does not take.
	status  database.Status
	refused string
	// applied is what the server does with a description that it takes; nil for nothing.
	applied func(*database.Member)
	// handOver is what becomes of a switchover.
	handOver func(to string) error
	// join is what becomes of a join; nil for nothing. looks counts how often the server was looked at.
	join  func(context.Context) error
	looks int
	did   map[string]int
	order []string
}

var _ database.Driver = (*server)(nil)

func (s *server) note(what string) {
	s.did[what]++
	s.order = append(s.order, what)
}

// do changes the server.
func (s *server) do(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// times returns how often something was done.
func (s *server) times(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.did[what]
}

func (s *server) Apply(_ context.Context, m *database.Member) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("apply")
	if _, bad := m.Settings[s.refused]; bad {
		return &database.SettingsError{Message: "there is no variable " + s.refused}
	}
	if s.applied != nil {
		s.applied(m)
	}
	return nil
}

func (s *server) Status(context.Context) (database.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	return s.status, nil
}

func (*server) Preflight(context.Context) ([]database.Finding, error) { return nil, nil }

func (s *server) done(what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(what)
	return nil
}

func (s *server) Bootstrap(context.Context) error { return s.done("bootstrap") }
func (s *server) Restart(context.Context) error   { return s.done("restart") }

func (s *server) Join(ctx context.Context) error {
	s.mu.Lock()
	s.note("join")
	join := s.join
	s.mu.Unlock()
	if join == nil {
		return nil
	}
	return join(ctx)
}

func (s *server) Leave(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("leave")
	s.status = database.Status{State: spec.MemberStranded, Unfit: s.status.Unfit}
	return nil
}

func (*server) Position(context.Context) (string, error) { return group + ":1-9", nil }

func (*server) Compare(context.Context, string, string) (database.Order, error) {
	return database.Equal, nil
}

func (s *server) SwitchOver(_ context.Context, to string, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("switch over to " + to)
	return s.handOver(to)
}

func (*server) CheckSwitchover(context.Context, string) (database.SwitchoverCheck, error) {
	return database.SwitchoverCheck{}, nil
}

func (*server) Maintain(context.Context, *database.Member) error { return nil }

// memory is a disk.
type memory struct {
	mu    sync.Mutex
	files map[string][]byte
}

func (m *memory) Read(name string, into any) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, found := m.files[name]
	if !found {
		return false, nil
	}
	return true, json.Unmarshal(data, into)
}

func (m *memory) Write(name string, v any) error {
	data, err := json.Marshal(v)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[name] = data
	return err
}

func (m *memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, name)
	return nil
}

func (m *memory) Names(prefix string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for name := range m.files {
		if strings.HasPrefix(name, prefix) {
			out = append(out, name)
		}
	}
	return out, nil
}

// lines keeps what is logged.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

// with returns how many lines have some words in them.
func (l *lines) with(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for line := range strings.Lines(l.all.String()) {
		if strings.Contains(line, words) {
			n++
		}
	}
	return n
}

// node is hk1, a member of a database, among others that say what a test has them say.
type node struct {
	manager *databases.Manager
	server  *server
	log     *lines
	// port is the servers'.
	port int

	mu sync.Mutex
	// news is called when the node has news for others.
	news       func()
	settings   map[string]string
	generation uint64
	others     map[string]spec.DatabaseStatus
	sequence   uint64
}

// others are two members that are well.
func others() map[string]spec.DatabaseStatus {
	out := map[string]spec.DatabaseStatus{}
	for _, n := range []string{"hk2", "sg1"} {
		out[n] = spec.DatabaseStatus{
			State: spec.MemberOnline, Primary: "hk1", Incarnation: 1, View: view("hk1", "hk2", "sg1"),
			Rollout: spec.RolloutStatus{Generation: 1, Running: "a", Wanted: "a"},
		}
	}
	return out
}

func view(nodes ...string) map[string]spec.MemberState {
	out := map[string]spec.MemberState{}
	for _, n := range nodes {
		out[n] = spec.MemberOnline
	}
	return out
}

// primary is the status of a server that takes writes.
func primary() database.Status {
	return database.Status{State: spec.MemberOnline, Version: "9.7.4", Primary: "hk1", Writable: true, View: view("hk1", "hk2", "sg1"), Running: "a", Wanted: "a"}
}

// newNode runs hk1's part in the database until the test ends.
func newNode(t *testing.T, st database.Status) *node {
	t.Helper()
	return newNodeWith(t, st, func(*node, *databases.Config) {})
}

// newNodeWith is newNode with another configuration.
func newNodeWith(t *testing.T, st database.Status, change func(*node, *databases.Config)) *node {
	t.Helper()
	signing, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := trust.DatabaseKeyOf(signing, "web", "app", group)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{
		server: &server{status: st, did: map[string]int{}, handOver: func(string) error { return nil }},
		log:    &lines{}, settings: map[string]string{"good": "1"}, generation: 1, others: others(), port: 3306,
	}
	config := databases.Config{
		Node: "hk1", State: &memory{files: map[string][]byte{}}, Engines: map[spec.DatabaseEngine]database.Driver{spec.DatabaseMySQL: n.server},
		OpenKey: func(string) (*trust.DatabaseKey, error) { return key, nil },
		See:     func() (databases.Sight, <-chan struct{}) { return n.sight(), nil },
		Bind:    func(a netip.Addr) netip.Addr { return a }, Now: time.Now,
		Changed: func(bool) {
			n.mu.Lock()
			news := n.news
			n.mu.Unlock()
			if news != nil {
				news()
			}
		},
		Log: slog.New(slog.NewTextHandler(n.log, nil)),
	}
	change(n, &config)
	n.manager = databases.New(config)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = n.manager.Run(ctx) // it ends with ctx
	}()
	t.Cleanup(func() { stop(); <-ended })
	return n
}

// set changes the settings of the database.
func (n *node) set(settings map[string]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.settings, n.generation = settings, n.generation+1
}

// hear changes what another member says.
func (n *node) hear(who string, s spec.DatabaseStatus) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.others[who] = s
}

// sight is what the node knows; each time the others have just said it again.
func (n *node) sight() databases.Sight {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sequence++
	d := topology.Database{Name: "app", Database: spec.Database{
		Engine: spec.DatabaseMySQL, Group: group, Votes: 3, Bootstrap: spec.Bootstrap{Node: "hk1", Epoch: 1}, Port: n.port, Settings: n.settings,
		Router: spec.DatabaseRouter{Driver: spec.RouterMySQL, WritePort: 6446, ReadPort: 6447},
	}}
	for i, name := range []string{"hk1", "hk2", "sg1"} {
		m := topology.DatabaseMember{
			Member:      spec.Member{Database: "app", Node: name, Role: spec.MemberVoter, Weight: 80 - 10*i},
			MeshAddress: netip.AddrFrom4([4]byte{10, 66, 0, byte(i + 1)}), Admitted: true,
		}
		d.Members = append(d.Members, m)
	}
	d.Self = d.Members[0]
	out := databases.Sight{Known: true, Databases: []topology.Database{d}, Statuses: map[string]spec.Status{}}
	generation := n.generation
	out.Gone = func(string) bool { return false }
	out.Generations = func(string) databases.Generations {
		return databases.Generations{Database: generation, Member: 1}
	}
	for name, s := range n.others {
		out.Statuses[name] = spec.Status{Node: name, Sequence: n.sequence, Reported: time.Now(), Databases: map[string]spec.DatabaseStatus{"app": s}}
	}
	return out
}

// did returns what the server was told to do beside what goes on all the time.
func (n *node) did() []string {
	n.server.mu.Lock()
	defer n.server.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(n.server.order), func(what string) bool { return what == "apply" })
}
