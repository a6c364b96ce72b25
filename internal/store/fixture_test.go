package store_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

const clusterName = "web"

// noon is the time of every store in these tests.
func noon() time.Time { return time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC) }

// at returns noon plus some milliseconds as generations and times of signing have it.
func at(ms int) uint64 { return uint64(noon().UnixMilli() + int64(ms)) }

// failer is a testing.TB or a rapid.T.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// operator signs records.
type operator struct {
	t   failer
	key *trust.SigningKey
}

func newOperator(t failer) operator {
	t.Helper()
	key, err := trust.NewSigningKey()
	if err != nil {
		t.Fatalf("make signing key: %v", err)
	}
	return operator{t, key}
}

func (o operator) root() trust.Root { return trust.Root{Cluster: clusterName, Key: o.key.Public()} }

func (o operator) sign(obj spec.Object) store.Record {
	o.t.Helper()
	e, err := trust.SignObject(o.key, obj)
	if err != nil {
		o.t.Fatalf("sign: %v", err)
	}
	return store.ObjectRecord(e)
}

func (o operator) object(name string, generation uint64, body spec.Body) store.Record {
	o.t.Helper()
	obj, err := spec.NewObject(clusterName, name, generation, generation, body)
	if err != nil {
		o.t.Fatalf("make object: %v", err)
	}
	return o.sign(obj)
}

func (o operator) cluster(generation uint64) store.Record {
	return o.object(clusterName, generation, spec.Cluster{MeshCIDR: netip.MustParsePrefix("10.66.0.0/16"), Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()})
}

// node returns a node's object; site makes its content differ.
func (o operator) node(name string, generation uint64, site string, pin trust.PublicKey) store.Record {
	body := spec.Node{
		Provider: "lab", Site: site, MeshAddress: netip.MustParseAddr("10.66.0.1"), Machine: spec.Machine{Variant: spec.MachineManual},
	}
	if !pin.IsZero() {
		body.Identity = pin.String()
	}
	return o.object(name, generation, body)
}

func (o operator) link(a, b string, generation uint64, mtu int) store.Record {
	l := spec.Link{From: a, To: b, Settings: spec.LinkSettings{MTU: mtu}}
	return o.object(l.Name(), generation, l)
}

func (o operator) tombstone(kind spec.Kind, name string, generation uint64) store.Record {
	return o.sign(spec.NewTombstone(clusterName, spec.Ref{Kind: kind, Name: name}, generation, generation))
}

// machine is a node with its keys.
type machine struct {
	name  string
	id    *trust.Identity
	proof trust.Proof
}

// machine makes a node whose ticket was issued at a time and lasts an hour.
func (o operator) machine(name string, issued time.Time) machine {
	o.t.Helper()
	ticket := o.ticket(name, issued)
	return o.use(ticket, issued)
}

func (o operator) ticket(name string, issued time.Time) *trust.IssuedTicket {
	o.t.Helper()
	ticket, err := trust.IssueTicket(o.key, trust.TicketRequest{Cluster: clusterName, Node: name, Lifetime: time.Hour, Now: issued})
	if err != nil {
		o.t.Fatalf("issue ticket: %v", err)
	}
	return ticket
}

// use makes a new identity with a ticket.
func (o operator) use(ticket *trust.IssuedTicket, made time.Time) machine {
	o.t.Helper()
	id, err := trust.NewIdentity()
	if err != nil {
		o.t.Fatalf("make identity: %v", err)
	}
	return machine{ticket.Ticket.Node, id, o.prove(ticket, id, made)}
}

func (o operator) prove(ticket *trust.IssuedTicket, id *trust.Identity, made time.Time) trust.Proof {
	o.t.Helper()
	p, err := trust.MakeProof(ticket.Envelope, ticket.Key, id, trust.Claim{Made: made})
	if err != nil {
		o.t.Fatalf("make proof: %v", err)
	}
	return p
}

func (m machine) record() store.Record { return store.ProofRecord(m.proof) }

func (o operator) status(m machine, sequence uint64, version string) store.Record {
	o.t.Helper()
	e, err := trust.SignStatus(m.id, spec.Status{Cluster: clusterName, Node: m.name, Sequence: sequence, Version: version})
	if err != nil {
		o.t.Fatalf("sign status: %v", err)
	}
	return store.StatusRecord(e)
}

func (o operator) memory() *store.Store { return store.New(o.root(), store.Options{Now: noon}) }

// open opens a store on disk that is closed with the test.
func (o operator) open(t testing.TB, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir, o.root(), store.Options{Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// merge merges and demands the results in order.
func merge(t failer, s *store.Store, recs []store.Record, want ...store.Result) []store.Outcome {
	t.Helper()
	out := s.Merge(recs)
	for i, w := range want {
		if out[i].Result != w {
			t.Fatalf("outcome %d = %+v, want %s", i, out[i], w)
		}
	}
	return out
}

func ref(kind spec.Kind, name string) spec.Ref { return spec.Ref{Kind: kind, Name: name} }

func nodeName(i int) string { return fmt.Sprintf("n%d", i) }
