package trust_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// noon is the time at which everything in these tests happens.
func noon() time.Time { return time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC) }

// operator is a cluster's operator.
type operator struct {
	t       testing.TB
	key     *trust.SigningKey
	cluster string
}

func newOperator(t testing.TB, cluster string) operator {
	t.Helper()
	key, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	return operator{t, key, cluster}
}

func (o operator) root() trust.Root { return trust.Root{Cluster: o.cluster, Key: o.key.Public()} }

func (o operator) ticket(node string) *trust.IssuedTicket {
	o.t.Helper()
	issued, err := trust.IssueTicket(o.key, trust.TicketRequest{
		Cluster: o.cluster, Node: node, Lifetime: time.Hour, Seeds: []string{"198.51.100.1:7443"}, Now: noon(),
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return issued
}

func (o operator) object(generation uint64) spec.Object {
	o.t.Helper()
	obj, err := spec.NewObject(o.cluster, "hk1", generation, uint64(noon().UnixMilli()), spec.Node{
		Provider: "linode", Site: "singapore", MeshAddress: netip.MustParseAddr("10.66.0.1"),
		Machine: spec.Machine{Variant: spec.MachineManual},
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return obj
}

func newIdentity(t testing.TB) *trust.Identity {
	t.Helper()
	id, err := trust.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func prove(t testing.TB, issued *trust.IssuedTicket, id *trust.Identity) trust.Proof {
	t.Helper()
	p, err := trust.MakeProof(issued.Envelope, issued.Key, id, trust.Claim{
		MeshKeys: map[spec.MeshDriver]string{spec.MeshTinc: "key of the mesh"}, Made: noon(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
