package api_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

const clusterName = "web"

// fixture is an operator and one agent, hk1, that serves the API on loopback.
type fixture struct {
	t     *testing.T
	key   *trust.SigningKey
	id    *trust.Identity
	proof trust.Proof
	store *store.Store
	// left and woken count the calls of the backend.
	left, woken atomic.Int32
	// called is the last caller that was a node, and its start.
	called atomic.Pointer[[2]string]
	// late makes the agent's clock say once that it is an hour later.
	late atomic.Bool
	// digests counts who has asked for which.
	mu      sync.Mutex
	digests map[string]int
}

func (f *fixture) now() time.Time {
	if f.late.CompareAndSwap(true, false) {
		return time.Now().Add(61 * time.Minute)
	}
	return time.Now()
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	key, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, key: key, digests: map[string]int{}}
	f.id, f.proof = f.machine("hk1", time.Now())
	f.store = store.New(f.root(), store.Options{})
	f.store.Merge([]store.Record{store.ProofRecord(f.proof)})
	return f
}

func (f *fixture) root() trust.Root { return trust.Root{Cluster: clusterName, Key: f.key.Public()} }

func (f *fixture) machine(name string, issued time.Time) (*trust.Identity, trust.Proof) {
	f.t.Helper()
	id, err := trust.NewIdentity()
	if err != nil {
		f.t.Fatal(err)
	}
	ticket, err := trust.IssueTicket(f.key, trust.TicketRequest{Cluster: clusterName, Node: name, Lifetime: time.Hour, Now: issued})
	if err != nil {
		f.t.Fatal(err)
	}
	proof, err := trust.MakeProof(ticket.Envelope, ticket.Key, id, trust.Claim{Made: issued})
	if err != nil {
		f.t.Fatal(err)
	}
	return id, proof
}

func (f *fixture) sign(o spec.Object) store.Record {
	f.t.Helper()
	e, err := trust.SignObject(f.key, o)
	if err != nil {
		f.t.Fatal(err)
	}
	return store.ObjectRecord(e)
}

func (f *fixture) node(name string, generation uint64, site string) store.Record {
	f.t.Helper()
	o, err := spec.NewObject(clusterName, name, generation, generation, spec.Node{
		Provider: "lab", Site: site, MeshAddress: netip.MustParseAddr("10.66.0.1"), Machine: spec.Machine{Variant: spec.MachineManual},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return f.sign(o)
}

// serve starts the agent's API on address and returns the address and what stops it.
func (f *fixture) serve(address string) (endpoint string, stop func()) {
	f.t.Helper()
	config, err := trust.ServerTLS(f.id, func() trust.Proof { return f.proof }, f.root())
	if err != nil {
		f.t.Fatal(err)
	}
	server := api.NewServer(config, api.NewHandler(f.root(), backend{api.StoreBackend{Store: f.store, Node: "hk1"}, f}, f.now), slog.New(slog.DiscardHandler))
	l, err := (&net.ListenConfig{}).Listen(f.t.Context(), "tcp", address)
	if err != nil {
		f.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(l, "", "") }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			f.t.Errorf("serve: %v", err)
		}
	}
	f.t.Cleanup(stop)
	return l.Addr().String(), stop
}

func (f *fixture) operator(endpoints ...string) *api.Client {
	return f.client(api.Target{Cluster: clusterName, Node: "hk1", Endpoints: endpoints})
}

func (f *fixture) client(t api.Target) *api.Client {
	c := api.NewOperatorClient(f.key, t)
	f.t.Cleanup(c.Close)
	return c
}

func (f *fixture) asNode(id *trust.Identity, proof trust.Proof, endpoint string) *api.Client {
	c := api.NewNodeClient(id, proof, f.root(), "", api.Target{Cluster: clusterName, Node: "hk1", Endpoints: []string{endpoint}})
	f.t.Cleanup(c.Close)
	return c
}

type backend struct {
	api.StoreBackend
	f *fixture
}

func (b backend) Info() api.Info {
	return api.Info{Cluster: clusterName, Node: "hk1", Version: "1.2.3", Wire: spec.WireVersion, Identity: b.f.id.Public(), Joined: true}
}

func (b backend) Leave(context.Context) error {
	b.f.left.Add(1)
	return nil
}

func (b backend) CertificateRequest(_ context.Context, r api.CertificateRequest) (api.CertificateRequestAnswer, error) {
	return api.CertificateRequestAnswer{Request: "request for " + r.LoadBalancer}, nil
}

func (b backend) Called(node, boot string) { b.f.called.Store(&[2]string{node, boot}) }

func (b backend) Wake() { b.f.woken.Add(1) }
