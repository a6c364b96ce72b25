package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/agent/probes"
	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/edge/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/probe"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

const (
	clusterName = "web"
	patience    = 40 * time.Second
)

// world is a cluster whose agents run in this process, on loopback addresses of its own. Its mesh is a fake: a node is in
// it while its driver runs and the mesh as a whole is up.
type world struct {
	t          *testing.T
	key        *trust.SigningKey
	a, b       byte
	cluster    store.Record
	generation uint64
	// group is the database's servers, nil when the agents have no engine.
	group *group
	// trees are the pairs' trees, nil when the agents have no driver of pairs.
	trees *fakeTrees

	mu     sync.Mutex
	down   bool
	joined map[string]*fakeMesh
}

func newWorld(t *testing.T) *world {
	t.Helper()
	key, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, key: key, joined: map[string]*fakeMesh{}, generation: uint64(time.Now().UnixMilli())}
	w.a, w.b = claimNetworks(t)
	w.cluster = w.sign(clusterName, spec.Cluster{MeshCIDR: netip.MustParsePrefix("10.66.0.0/16"), Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()})
	return w
}

// claimNetworks returns the second and the third byte of a loopback network that, as the one after it, no other test uses, in this
// process or another, until the test ends.
func claimNetworks(t *testing.T) (a, b byte) {
	t.Helper()
	var lc net.ListenConfig
	for range 100 {
		a, b = byte(1+rand.IntN(250)), byte(2*(1+rand.IntN(120)))
		claim, err := lc.Listen(t.Context(), "tcp", fmt.Sprintf("127.%d.%d.254:%d", a, b, spec.DefaultPorts().API))
		if err != nil {
			continue // taken
		}
		t.Cleanup(func() { _ = claim.Close() })
		return a, b
	}
	t.Fatal("no loopback network is free")
	return 0, 0
}

func (w *world) root() trust.Root { return trust.Root{Cluster: clusterName, Key: w.key.Public()} }

// sign returns the record of an object with the next generation.
func (w *world) sign(name string, body spec.Body) store.Record {
	w.t.Helper()
	w.generation++
	o, err := spec.NewObject(clusterName, name, w.generation, uint64(time.Now().UnixMilli()), body)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.signed(o)
}

func (w *world) tombstone(node string) store.Record { return w.tombstoneOf(spec.KindNode, node) }

func (w *world) tombstoneOf(kind spec.Kind, name string) store.Record {
	w.t.Helper()
	w.generation = max(w.generation+1, uint64(time.Now().UnixMilli()))
	return w.signed(spec.NewTombstone(clusterName, spec.Ref{Kind: kind, Name: name}, w.generation, uint64(time.Now().UnixMilli())))
}

func (w *world) signed(o spec.Object) store.Record {
	w.t.Helper()
	e, err := trust.SignObject(w.key, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return store.ObjectRecord(e)
}

// machine is one computer: its disk and what runs on it.
type machine struct {
	w     *world
	i     int
	name  string
	root  string
	state string
	host  *hosttest.Host
	mesh  *fakeMesh
	proxy fakeProxy
	// router leads to the world's database.
	router fakeRouter
	// metadata is where the machine's metadata service answers.
	metadata []string
	// transport leads to the metadata service in place of the network.
	transport http.RoundTripper
	// network is what keeps the machine from reaching others.
	network string
	// outside is the address that the node's object gives, where that is not the machine's own.
	outside string
	// blind takes the right to probe away.
	blind bool
	// links are what measures links; nil for nothing.
	links func(probe.Options, *slog.Logger) (probes.Prober, error)
	// now is the machine's clock.
	now func() time.Time

	mu      sync.Mutex
	console []string

	stop func() error
}

// machine returns a new computer, number i (from 1) and called name.
func (w *world) machine(i int, name string) *machine {
	w.t.Helper()
	root := w.t.TempDir()
	m := &machine{
		w: w, i: i, name: name, root: root, state: filepath.Join(root, "var/lib/atoll"), host: hosttest.New(), now: time.Now,
		stop: func() error { return nil },
	}
	m.host.Handle("nft", func(host.Command) (host.Output, error) {
		return host.Output{}, &host.CommandError{Command: "nft", ExitCode: 1, Err: errors.New("no such table")}
	})
	m.mesh = &fakeMesh{w: w, m: m}
	w.t.Cleanup(func() { _ = m.stop() })
	return m
}

func (m *machine) public() string {
	return netip.AddrFrom4([4]byte{127, m.w.a, m.w.b, byte(m.i)}).String()
}

func (m *machine) meshAddress() netip.Addr { return netip.AddrFrom4([4]byte{10, 66, 0, byte(m.i)}) }

func (m *machine) endpoint() string { return fmt.Sprintf("%s:%d", m.public(), spec.DefaultPorts().API) }

// node returns the machine's node object, signed now.
func (m *machine) node(pin string) store.Record {
	m.w.t.Helper()
	address := m.outside
	if address == "" {
		address = m.public()
	}
	return m.w.sign(m.name, spec.Node{
		Provider: "lab", Site: fmt.Sprintf("site-%d", m.i), MeshAddress: m.meshAddress(), Addresses: []string{address},
		Identity: pin, Machine: spec.Machine{Variant: spec.MachineManual},
	})
}

// ticketFor is how a ticket differs from a good one.
type ticketFor struct {
	node, cluster string
	issued        time.Time
	key           *trust.SigningKey
	seeds         []string
}

func (m *machine) ticket(f ticketFor) *trust.IssuedTicket {
	m.w.t.Helper()
	if f.node == "" {
		f.node = m.name
	}
	if f.cluster == "" {
		f.cluster = clusterName
	}
	if f.issued.IsZero() {
		f.issued = time.Now()
	}
	if f.key == nil {
		f.key = m.w.key
	}
	ticket, err := trust.IssueTicket(f.key, trust.TicketRequest{
		Cluster: f.cluster, Node: f.node, Lifetime: time.Hour, Seeds: f.seeds, Now: f.issued,
	})
	if err != nil {
		m.w.t.Fatal(err)
	}
	return ticket
}

// payload returns first-boot data with a ticket, the cluster's object and the records of nodes.
func (m *machine) payload(ticket *trust.IssuedTicket, nodes ...store.Record) []byte {
	m.w.t.Helper()
	var objects []trust.Envelope
	for _, r := range append([]store.Record{m.w.cluster}, nodes...) {
		objects = append(objects, *r.Object)
	}
	data, err := platform.NewPayload(m.w.root(), ticket, objects)
	if err != nil {
		m.w.t.Fatal(err)
	}
	return data
}

func (m *machine) firstBootFile() string { return filepath.Join(m.root, platform.FirstBootFile) }

// provision puts first-boot data onto the machine.
func (m *machine) provision(payload []byte) {
	m.w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.firstBootFile()), 0o755); err != nil {
		m.w.t.Fatal(err)
	}
	if err := os.WriteFile(m.firstBootFile(), payload, 0o600); err != nil {
		m.w.t.Fatal(err)
	}
}

func (m *machine) config() agent.Config {
	return agent.Config{
		StateDir: m.state, Machine: platform.Machine{Root: m.root, MetadataURLs: m.metadata}, Listen: m.public(), System: m.host, Version: "test",
		Drivers: map[spec.MeshDriver]mesh.New{spec.MeshTinc: func(host.System, *slog.Logger) mesh.Driver { return m.mesh }},
		Proxies: m.newFakeProxies(), Databases: m.newFakeDatabases(), Routers: m.newFakeRouters(), RolloutPatience: 5 * time.Second,
		Replications: m.newFakeReplications(),
		Links:        m.links,
		NewProber: func(*slog.Logger) (agent.Prober, error) {
			if m.blind {
				return nil, errors.New("operation not permitted")
			}
			return &fakeProber{w: m.w, self: m.name}, nil
		},
		MeshBind: func(a netip.Addr) netip.Addr {
			return netip.AddrFrom4([4]byte{127, m.w.a, m.w.b + 1, a.As4()[3]})
		},
		Console: func(line string) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.console = append(m.console, line)
		},
		Network: func() string { return m.network }, Commands: shell{}, Edge: cloudflare.Open,
		Now: m.now, Log: slog.New(slog.NewTextHandler(testWriter{m.w.t, m.name}, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
}

// start boots the machine's agent.
func (m *machine) start() {
	m.w.t.Helper()
	m.run(agent.New(m.config()))
}

func (m *machine) run(a *agent.Agent, ended ...func(error)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := a.Run(ctx)
		if err != nil {
			m.w.t.Logf("%s: the agent ended: %v", m.name, err)
		}
		for _, tell := range ended {
			tell(err)
		}
		done <- err
	}()
	var once sync.Once
	var err error
	m.stop = func() error {
		once.Do(func() {
			cancel()
			err = <-done
		})
		return err
	}
}

// restart starts the agent again.
func (m *machine) restart() {
	m.w.t.Helper()
	if err := m.stop(); err != nil {
		m.w.t.Fatalf("%s: %v", m.name, err)
	}
	m.start()
}

func (m *machine) operator() *api.Client {
	return api.NewOperatorClient(m.w.key, api.Target{Cluster: clusterName, Endpoints: []string{m.endpoint()}})
}

// push gives records to the machine's agent as the operator does, as soon as it answers.
func (m *machine) push(records ...store.Record) {
	m.w.t.Helper()
	client := m.operator()
	defer client.Close()
	m.w.wait(m.name+" takes records", func() error {
		out, err := client.Push(m.w.t.Context(), records)
		for _, o := range out {
			if o.Result == store.Refused {
				return fmt.Errorf("refused: %+v", o)
			}
		}
		return err
	})
}

func (m *machine) info() (api.Info, error) {
	client := m.operator()
	defer client.Close()
	return client.Info(m.w.t.Context())
}

func (m *machine) status() (api.ClusterStatus, error) {
	client := m.operator()
	defer client.Close()
	return client.Status(m.w.t.Context())
}

func (m *machine) health() (api.Health, error) {
	return api.FetchHealth(m.w.t.Context(), fmt.Sprintf("%s:%d", m.public(), spec.DefaultPorts().Health))
}

// waitHealth waits until the health endpoint says what is wanted.
func (m *machine) waitHealth(what string, good func(api.Health) bool) api.Health {
	m.w.t.Helper()
	var last api.Health
	m.w.wait(m.name+": "+what, func() error {
		h, err := m.health()
		if err != nil {
			return err
		}
		if !good(h) {
			return fmt.Errorf("health is %+v", h)
		}
		last = h
		return nil
	})
	return last
}

// condition returns a condition as the agent itself reports it.
func (m *machine) condition(t spec.ConditionType) (spec.Condition, error) {
	info, err := m.info()
	if err != nil {
		return spec.Condition{}, err
	}
	c, ok := spec.Status{Conditions: info.Conditions}.Condition(t)
	if !ok {
		return c, fmt.Errorf("%s has no condition %s", m.name, t)
	}
	return c, nil
}

func (m *machine) waitCondition(t spec.ConditionType, status spec.ConditionStatus, reason string) spec.Condition {
	m.w.t.Helper()
	var got spec.Condition
	m.w.wait(fmt.Sprintf("%s: %s is %s (%s)", m.name, t, status, reason), func() error {
		c, err := m.condition(t)
		if err != nil {
			return err
		}
		if c.Status != status || (reason != "" && c.Reason != reason) {
			return fmt.Errorf("it is %+v", c)
		}
		got = c
		return nil
	})
	return got
}

// waitReady waits until every machine finds the whole cluster healthy.
func (w *world) waitReady(machines ...*machine) {
	w.t.Helper()
	for _, m := range machines {
		w.wait(m.name+" finds the cluster healthy", func() error {
			s, err := m.status()
			if err != nil {
				return err
			}
			if !s.Healthy || len(s.Nodes) != len(machines) {
				return fmt.Errorf("%d nodes, reasons %v", len(s.Nodes), s.Reasons)
			}
			return nil
		})
	}
}

// wait polls until check has no complaint.
func (w *world) wait(what string, check func() error) {
	w.t.Helper()
	w.waitLong(patience, what, check)
}

// waitLong is wait for what takes longer than patience.
func (w *world) waitLong(patience time.Duration, what string, check func() error) {
	w.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for {
		err := check()
		if err == nil {
			return
		}
		if text := err.Error(); text != last {
			last = text
			w.t.Logf("waiting: %s: %s", what, text)
		}
		select {
		case <-deadline:
			w.t.Fatalf("not within %s: %s: %v", patience, what, err)
		case <-tick.C:
		}
	}
}

// setMeshDown takes the whole mesh down or up.
func (w *world) setMeshDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}

// testWriter is the log of one machine.
type testWriter struct {
	t    *testing.T
	name string
}

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s: %s", w.name, p)
	return len(p), nil
}

// readJoin returns the machine's join record.
func (m *machine) readJoin() map[string]any {
	m.w.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.state, "join.json"))
	if err != nil {
		m.w.t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		m.w.t.Fatal(err)
	}
	return out
}
