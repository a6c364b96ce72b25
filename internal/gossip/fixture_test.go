package gossip_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/gossip"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

const (
	clusterName = "web"
	patience    = 30 * time.Second
)

// world is a cluster of agents in this process, on loopback addresses of its own. Each node has a mesh address and a public
// one, which can be cut apart from each other.
type world struct {
	t    testing.TB
	key  *trust.SigningKey
	nets [2]int
	// cluster is signed once: twice with other times would be a conflict.
	cluster store.Record

	mu     sync.Mutex
	cut    map[string]bool
	agents []*agent
}

func newWorld(t testing.TB) *world {
	t.Helper()
	key, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, key: key, nets: [2]int{1 + rand.IntN(250), 2 * (1 + rand.IntN(100))}, cut: map[string]bool{}}
	w.cluster = w.sign(clusterName, 1, spec.Cluster{MeshCIDR: netip.MustParsePrefix("10.66.0.0/16"), Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()})
	return w
}

func (w *world) root() trust.Root { return trust.Root{Cluster: clusterName, Key: w.key.Public()} }

func (w *world) address(i, plane int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(w.nets[0]), byte(w.nets[1] + plane), byte(i + 1)})
}

// sign returns the record of an object that the operator signs now.
func (w *world) sign(name string, generation uint64, body spec.Body) store.Record {
	w.t.Helper()
	o, err := spec.NewObject(clusterName, name, generation, uint64(time.Now().UnixMilli()), body)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.signed(o)
}

func (w *world) signed(o spec.Object) store.Record {
	w.t.Helper()
	e, err := trust.SignObject(w.key, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return store.ObjectRecord(e)
}

// agent is what the node agent is made of, as far as it concerns this package.
type agent struct {
	w      *world
	i      int
	name   string
	dir    string
	id     *trust.Identity
	proof  trust.Proof
	seeds  []string
	store  *store.Store
	gossip *gossip.Gossip
	stop   func()
	// quiet agents compare digests with nobody by themselves.
	quiet bool

	mu    sync.Mutex
	heard map[string]error
	// breakOff is how many comparisons of digests this agent still breaks off without an answer.
	breakOff int
}

// add makes an agent that has a ticket issued at the given time, and knows the cluster and itself.
func (w *world) add(issued time.Time) *agent {
	w.t.Helper()
	i := len(w.agents)
	a := &agent{w: w, i: i, name: fmt.Sprintf("n%d", i+1), dir: w.t.TempDir(), heard: map[string]error{}}
	var err error
	if a.id, err = trust.NewIdentity(); err != nil {
		w.t.Fatal(err)
	}
	ticket, err := trust.IssueTicket(w.key, trust.TicketRequest{Cluster: clusterName, Node: a.name, Lifetime: time.Hour, Now: issued})
	if err != nil {
		w.t.Fatal(err)
	}
	if a.proof, err = trust.MakeProof(ticket.Envelope, ticket.Key, a.id, trust.Claim{Made: issued}); err != nil {
		w.t.Fatal(err)
	}
	w.agents = append(w.agents, a)
	return a
}

// addMany makes n agents that know the first one's public address as their seed.
func (w *world) addMany(n int) []*agent {
	w.t.Helper()
	for range n {
		a := w.add(time.Now())
		if a.i > 0 {
			a.seeds = []string{w.agents[0].endpoint()}
		}
	}
	return w.agents
}

func (a *agent) endpoint() string {
	return fmt.Sprintf("%s:%d", a.w.address(a.i, 1), spec.DefaultPorts().API)
}

func (a *agent) node(generation uint64, pin string) store.Record {
	a.w.t.Helper()
	return a.w.sign(a.name, generation, spec.Node{
		Provider: "lab", Site: fmt.Sprintf("site%d", a.i), MeshAddress: a.w.address(a.i, 0),
		Addresses: []string{a.w.address(a.i, 1).String()}, Identity: pin, Machine: spec.Machine{Variant: spec.MachineManual},
	})
}

// boot opens the agent's store and starts its API, Pusher and Syncer, and gossip when asked to.
func (a *agent) boot(withGossip bool) {
	t := a.w.t
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	var err error
	if a.store, err = store.Open(a.dir, a.w.root(), store.Options{Log: log}); err != nil {
		t.Fatal(err)
	}
	for _, o := range a.store.Merge([]store.Record{a.w.cluster, store.ProofRecord(a.proof)}) {
		if o.Result == store.Refused && o.Reason != trust.ReasonExpired {
			t.Fatalf("%s: %+v", a.name, o)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tls, err := trust.ServerTLS(a.id, func() trust.Proof { return a.proof }, a.w.root())
	if err != nil {
		t.Fatal(err)
	}
	server := api.NewServer(tls, api.NewHandler(a.w.root(), backend{StoreBackend: api.StoreBackend{Store: a.store, Node: a.name}, a: a}, time.Now), log)
	for plane := range 2 {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("%s:%d", a.w.address(a.i, plane), spec.DefaultPorts().API))
		if err != nil {
			t.Fatal(err)
		}
		tasks.Go(func() {
			if err := server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("%s: serve: %v", a.name, err)
			}
		})
	}
	if withGossip {
		a.startGossip()
	}
	direct := gossip.Direct{
		Node: a.name, Store: a.store, Log: log, Heard: a.hear,
		Client: func(target api.Target) *api.Client {
			target.Dial = a.dial
			return api.NewNodeClient(a.id, a.proof, a.w.root(), "", target)
		},
	}
	tasks.Go(func() { _ = gossip.NewPusher(direct).Run(ctx) })
	if !a.quiet {
		tasks.Go(func() { _ = gossip.NewSyncer(direct, func() []string { return a.seeds }).Run(ctx) })
	}
	a.stop = sync.OnceFunc(func() {
		cancel()
		_ = server.Close()
		if a.gossip != nil {
			_ = a.gossip.Close()
		}
		tasks.Wait()
		if err := a.store.Close(); err != nil {
			t.Errorf("%s: close store: %v", a.name, err)
		}
	})
	t.Cleanup(a.stop)
}

func (a *agent) startGossip() {
	a.w.t.Helper()
	g, err := gossip.Start(a.gossipConfig())
	if err != nil {
		a.w.t.Fatal(err)
	}
	a.gossip = g
}

func (a *agent) gossipConfig() gossip.Config {
	port := spec.DefaultPorts().Gossip
	return gossip.Config{
		Node: a.name, Bind: a.w.address(a.i, 0), Port: port, Store: a.store,
		Peers: func() []netip.AddrPort {
			var out []netip.AddrPort
			s := a.store.Snapshot()
			for name := range s.Members {
				if n, ok := s.Nodes[name]; ok && name != a.name {
					out = append(out, netip.AddrPortFrom(n.MeshAddress, uint16(port)))
				}
			}
			return out
		},
	}
}

func (a *agent) hear(peer string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard[peer] = err
}

// refusal returns why the peer refused this agent, or "".
func (a *agent) refusal(peer string) trust.Reason {
	a.mu.Lock()
	defer a.mu.Unlock()
	var e *api.Error
	if errors.As(a.heard[peer], &e) {
		return e.Reason
	}
	return ""
}

var errCut = errors.New("cut in this test")

func (a *agent) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, _ := strings.Cut(address, ":")
	a.w.mu.Lock()
	cut := a.w.cut[a.name+" "+host]
	a.w.mu.Unlock()
	if cut {
		return nil, errCut
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// setCut cuts or heals the way from a to b over the mesh (plane 0) or the public network (plane 1).
func (w *world) setCut(a, b *agent, plane int, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[a.name+" "+w.address(b.i, plane).String()] = cut
}

// operator returns a client with which the operator calls the agent.
func (a *agent) operator() *api.Client {
	return api.NewOperatorClient(a.w.key, api.Target{Cluster: clusterName, Node: a.name, Endpoints: []string{a.endpoint()}})
}

// push gives records to the agent as the operator does.
func (a *agent) push(recs ...store.Record) {
	a.w.t.Helper()
	client := a.operator()
	defer client.Close()
	out, err := client.Push(a.w.t.Context(), recs)
	if err != nil {
		a.w.t.Fatal(err)
	}
	for _, o := range out {
		if o.Result != store.Accepted && o.Result != store.Unchanged {
			a.w.t.Fatalf("push to %s: %+v", a.name, o)
		}
	}
}

// introduce has the operator push every node to the first agent.
func (w *world) introduce() {
	w.t.Helper()
	recs := []store.Record{w.cluster}
	for _, a := range w.agents {
		recs = append(recs, a.node(1, ""))
	}
	w.agents[0].push(recs...)
}

// waitFor polls until what holds.
func (w *world) waitFor(what string, holds func() bool) time.Duration {
	w.t.Helper()
	begin := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Since(begin) > patience {
			for _, a := range w.agents {
				if a.store != nil {
					a.mu.Lock()
					w.t.Logf("%s: %d records, heard %v", a.name, len(a.store.Digest()), a.heard)
					a.mu.Unlock()
				}
			}
			w.t.Fatalf("not within %s: %s", patience, what)
		}
		<-tick.C
	}
	return time.Since(begin)
}

// converge waits until the stores of the agents hold the same and everybody is a member.
func (w *world) converge(agents ...*agent) {
	w.t.Helper()
	w.waitFor("all stores equal", func() bool {
		want := agents[0].store.Digest()
		for _, a := range agents {
			if len(a.store.Snapshot().Members) != len(w.agents) || !cmp.Equal(want, a.store.Digest()) {
				return false
			}
		}
		return true
	})
}

type backend struct {
	api.StoreBackend
	a *agent
}

func (b backend) Info() api.Info {
	return api.Info{Cluster: clusterName, Node: b.a.name, Identity: b.a.id.Public()}
}

func (b backend) Sync(d store.Digest) ([]store.Record, []store.Key) {
	b.a.mu.Lock()
	broken := b.a.breakOff > 0
	if broken {
		b.a.breakOff--
	}
	b.a.mu.Unlock()
	if broken {
		panic(http.ErrAbortHandler)
	}
	return b.StoreBackend.Sync(d)
}

func (backend) Leave(context.Context) error { return nil }

func (backend) Wake() {}
