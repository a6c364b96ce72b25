package cli_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// keeper is what an agent answers out of a real store.
type keeper struct{ api.StoreBackend }

func (keeper) Info() api.Info              { return api.Info{} }
func (keeper) Leave(context.Context) error { return nil }
func (keeper) Wake()                       {}

// TestPin settles the conflict that a second machine with a node's ticket raises.
func TestPin(t *testing.T) {
	tests := []struct {
		name string
		// args follow "pin". RIVAL stands for the identity that was refused.
		args []string
		// rivalWins tells whose identity is pinned in the end.
		rivalWins bool
		removed   bool
		wantErr   string
	}{
		{name: "for the one that is admitted", args: []string{"sg1"}},
		{name: "for the other", args: []string{"sg1", "--identity", "RIVAL"}, rivalWins: true},
		{name: "a node that nobody knows", args: []string{"sg9"}, wantErr: `no node that answers knows node "sg9"`},
		{name: "no identity at all", args: []string{"sg1", "--identity", "sg1"}, wantErr: `the identity of node "sg1"`},
		{name: "a node that was removed", args: []string{"sg1"}, removed: true, wantErr: "was removed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := newOperator(t)
			key := o.withKey(t)
			root := trust.Root{Cluster: "web", Key: key.Public()}
			held := store.New(root, store.Options{Now: func() time.Time { return now }})
			ticket, err := trust.IssueTicket(key, trust.TicketRequest{Cluster: "web", Node: "sg1", Lifetime: time.Hour, Now: now})
			if err != nil {
				t.Fatal(err)
			}
			first, rival := prove(t, ticket), prove(t, ticket)
			held.Merge([]store.Record{store.ProofRecord(first.proof)})
			describe := spec.Node{
				Provider: "linode", Site: "ap-south", MeshAddress: netip.MustParseAddr("10.66.0.5"),
				Identity: first.identity, Machine: spec.Machine{Variant: spec.MachineLinode},
			}
			held.Merge([]store.Record{signed(t, key, describe)})
			if out := held.MergeRemote([]store.Record{store.ProofRecord(rival.proof)}); out[0].Reason != trust.ReasonSecondIdentity {
				t.Fatalf("the second identity: %+v", out[0])
			}
			if len(held.Snapshot().Conflicts) == 0 {
				t.Fatal("the second identity raises no conflict")
			}
			if tt.removed {
				e, err := trust.SignObject(key, spec.NewTombstone("web", spec.Ref{Kind: spec.KindNode, Name: "sg1"}, 2, 2))
				if err != nil {
					t.Fatal(err)
				}
				held.Merge([]store.Record{store.ObjectRecord(e)})
			}
			endpoint, _ := (&agent{Backend: keeper{api.StoreBackend{Store: held, Node: "hk1"}}}).serve(t, key, "hk1")

			args := []string{"pin", "--cluster", "web", "--endpoint", endpoint}
			for _, a := range tt.args {
				args = append(args, strings.ReplaceAll(a, "RIVAL", rival.identity))
			}
			r := o.run(t, args...)
			if tt.wantErr != "" {
				if r.code != cli.Failed || !strings.Contains(r.stderr, tt.wantErr) {
					t.Errorf("exit code %d, %q; want %q", r.code, r.stderr, tt.wantErr)
				}
				return
			}
			if r.code != cli.Healthy {
				t.Fatalf("exit code %d: %s", r.code, r.stderr)
			}
			want := first.identity
			if tt.rivalWins {
				want = rival.identity
			}
			seen := held.Snapshot()
			if got := seen.Nodes["sg1"]; got.Identity != want || got.Site != "ap-south" {
				t.Errorf("the node is %+v, want identity %s and the rest as it was", got, want)
			}
			if got := seen.Members["sg1"].Identity.String(); got != want {
				t.Errorf("admitted is %s, want %s", got, want)
			}
			if len(seen.Conflicts) != 0 {
				t.Errorf("conflicts are left: %+v", seen.Conflicts)
			}
		})
	}
}

type proven struct {
	identity string
	proof    trust.Proof
}

func prove(t *testing.T, ticket *trust.IssuedTicket) proven {
	t.Helper()
	id, err := trust.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	proof, err := trust.MakeProof(ticket.Envelope, ticket.Key, id, trust.Claim{Made: now})
	if err != nil {
		t.Fatal(err)
	}
	return proven{id.Public().String(), proof}
}

func signed(t *testing.T, key *trust.SigningKey, n spec.Node) store.Record {
	t.Helper()
	o, err := spec.NewObject("web", "sg1", 1, 1, n)
	if err != nil {
		t.Fatal(err)
	}
	e, err := trust.SignObject(key, o)
	if err != nil {
		t.Fatal(err)
	}
	return store.ObjectRecord(e)
}
