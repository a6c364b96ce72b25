package trust_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// TestTicketsRefused has one row for every way in which a ticket can be wrong: each has a reason of its own and a message
// that says what to do.
func TestTicketsRefused(t *testing.T) {
	op, stranger := newOperator(t, "web"), newOperator(t, "web")
	foreign := operator{t, op.key, "shop"}
	id := newIdentity(t)
	judge := func(p trust.Proof, now time.Time) error {
		m, err := op.root().VerifyProof(p)
		if err != nil {
			return err
		}
		return m.Ticket.CheckTime(now)
	}
	tests := []struct {
		name   string
		proof  func(t *testing.T) trust.Proof
		now    time.Time
		reason trust.Reason
		says   string
	}{
		{
			"good", func(t *testing.T) trust.Proof { return prove(t, op.ticket("hk1"), id) },
			noon(), "", "",
		},
		{
			"good by a clock five minutes slow", func(t *testing.T) trust.Proof { return prove(t, op.ticket("hk1"), id) },
			noon().Add(-5 * time.Minute), "", "",
		},
		{
			"good by a clock five minutes fast", func(t *testing.T) trust.Proof { return prove(t, op.ticket("hk1"), id) },
			noon().Add(time.Hour + 5*time.Minute), "", "",
		},
		{
			"good by a clock five minutes slow that reads it a while later", func(t *testing.T) trust.Proof { return prove(t, op.ticket("hk1"), id) },
			noon().Add(-5*time.Minute - 30*time.Second), "", "",
		},
		{
			"good between two clocks five minutes off in opposite directions", func(t *testing.T) trust.Proof { return prove(t, op.ticket("hk1"), id) },
			noon().Add(time.Hour + 10*time.Minute), "", "",
		},
		{
			"expired", func(t *testing.T) trust.Proof { return prove(t, op.ticket("hk1"), id) },
			noon().Add(time.Hour + 11*time.Minute), trust.ReasonExpired, "issue a new ticket",
		},
		{
			"from the future", func(t *testing.T) trust.Proof { return prove(t, op.ticket("hk1"), id) },
			noon().Add(-11 * time.Minute), trust.ReasonNotYetValid, "set the clock",
		},
		{
			"forged: another key", func(t *testing.T) trust.Proof { return prove(t, stranger.ticket("hk1"), id) },
			noon(), trust.ReasonBadSignature, "another cluster or signing key",
		},
		{
			"forged: changed after signing", func(t *testing.T) trust.Proof {
				p := prove(t, op.ticket("hk1"), id)
				p.Ticket = rewrite(t, p.Ticket, func(m map[string]any) { m["expires"] = "2099-01-01T00:00:00Z" })
				return p
			},
			noon(), trust.ReasonBadSignature, "forged",
		},
		{
			"forged: somebody else's signature on the claim", func(t *testing.T) trust.Proof {
				p := prove(t, op.ticket("hk1"), id)
				p.Claim = prove(t, op.ticket("hk1"), id).Claim
				return p
			},
			noon(), trust.ReasonBadSignature, "signed by key",
		},
		{
			"of another cluster", func(t *testing.T) trust.Proof { return prove(t, foreign.ticket("hk1"), id) },
			noon(), trust.ReasonWrongCluster, `belongs to cluster "shop", this is "web"`,
		},
		{
			"renamed", func(t *testing.T) trust.Proof {
				issued := op.ticket("hk1")
				p := prove(t, issued, id)
				p.Claim = claimAs(t, issued, id, func(c *trust.Claim) { c.Node = "sg1" })
				return p
			},
			noon(), trust.ReasonWrongNode, "issue a ticket for the right name",
		},
		{
			"of another ticket", func(t *testing.T) trust.Proof {
				issued := op.ticket("hk1")
				p := prove(t, issued, id)
				p.Claim = claimAs(t, issued, id, func(c *trust.Claim) { c.Ticket = "another" })
				return p
			},
			noon(), trust.ReasonWrongNode, "was made for ticket",
		},
		{
			"of a newer Atoll", func(t *testing.T) trust.Proof {
				issued := op.ticket("hk1")
				p := prove(t, issued, id)
				p.Claim = claimAs(t, issued, id, func(c *trust.Claim) { c.Wire = spec.WireVersion + 1 })
				return p
			},
			noon(), trust.ReasonUnknownWireVersion, "update it",
		},
		{
			"with too many keys", func(t *testing.T) trust.Proof {
				issued := op.ticket("hk1")
				p := prove(t, issued, id)
				p.Claim = claimAs(t, issued, id, func(c *trust.Claim) {
					c.MeshKeys = map[spec.MeshDriver]string{"tinc": strings.Repeat("x", 9000)}
				})
				return p
			},
			noon(), trust.ReasonInvalid, "too long",
		},
		{
			"with a claim that only the ticket key signed", func(t *testing.T) trust.Proof {
				p := prove(t, op.ticket("hk1"), id)
				p.Claim.Signatures = p.Claim.Signatures[:1]
				return p
			},
			noon(), trust.ReasonBadSignature, "1 signatures instead of 2",
		},
		{
			"whose identity is the ticket's key", func(t *testing.T) trust.Proof {
				issued := op.ticket("hk1")
				p := prove(t, issued, id)
				p.Claim = claimAs(t, issued, id, func(c *trust.Claim) { c.Identity = issued.Ticket.Key })
				return p
			},
			noon(), trust.ReasonInvalid, "key of its own",
		},
		{
			"swapped with its claim", func(t *testing.T) trust.Proof {
				p := prove(t, op.ticket("hk1"), id)
				return trust.Proof{Ticket: p.Claim, Claim: p.Ticket}
			},
			noon(), trust.ReasonMalformed, "is a",
		},
		{"empty", func(*testing.T) trust.Proof { return trust.Proof{} }, noon(), trust.ReasonMalformed, "is a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := judge(tt.proof(t), tt.now)
			if got := trust.ReasonOf(err); got != tt.reason {
				t.Fatalf("reason = %q (%v), want %q", got, err, tt.reason)
			}
			if tt.says != "" && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %q does not say %q", err, tt.says)
			}
		})
	}
}

func TestObjectsRefused(t *testing.T) {
	op, stranger := newOperator(t, "web"), newOperator(t, "web")
	good, err := trust.SignObject(op.key, op.object(7))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		root   trust.Root
		e      trust.Envelope
		reason trust.Reason
	}{
		{"good", op.root(), good, ""},
		{"another signing key", stranger.root(), good, trust.ReasonBadSignature},
		{"another cluster", trust.Root{Cluster: "shop", Key: op.key.Public()}, good, trust.ReasonWrongCluster},
		{"changed", op.root(), rewrite(t, good, func(m map[string]any) { m["generation"] = 8 }), trust.ReasonBadSignature},
		{"another payload type", op.root(), with(good, func(e *trust.Envelope) { e.PayloadType = trust.PayloadTicket }), trust.ReasonMalformed},
		{"no signature", op.root(), with(good, func(e *trust.Envelope) { e.Signatures = nil }), trust.ReasonBadSignature},
		{"a signature too many", op.root(), with(good, func(e *trust.Envelope) { e.Signatures = append(e.Signatures, e.Signatures[0]) }), trust.ReasonBadSignature},
		{"another key id", op.root(), with(good, func(e *trust.Envelope) { e.Signatures[0].KeyID = "" }), trust.ReasonBadSignature},
		{"padded payload", op.root(), with(good, func(e *trust.Envelope) { e.Payload += "\n" }), trust.ReasonMalformed},
		{"padded signature", op.root(), with(good, func(e *trust.Envelope) { e.Signatures[0].Sig += "\n" }), trust.ReasonMalformed},
		{"a newer Atoll", op.root(), reseal(t, op, good, func(m map[string]any) { m["wire"] = 2; m["flavour"] = "new" }), trust.ReasonUnknownWireVersion},
		{"no version", op.root(), reseal(t, op, good, func(m map[string]any) { delete(m, "wire") }), trust.ReasonMalformed},
		{"an unknown field", op.root(), reseal(t, op, good, func(m map[string]any) { m["flavour"] = "new" }), trust.ReasonMalformed},
		{"an invalid body", op.root(), reseal(t, op, good, func(m map[string]any) { m["body"] = map[string]any{"provider": ""} }), trust.ReasonInvalid},
		{"an unknown kind", op.root(), reseal(t, op, good, func(m map[string]any) { m["kind"] = "moon" }), trust.ReasonInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := tt.root.VerifyObject(tt.e)
			if got := trust.ReasonOf(err); got != tt.reason {
				t.Fatalf("reason = %q (%v), want %q", got, err, tt.reason)
			}
			if tt.reason == "" && o.Generation != 7 {
				t.Errorf("generation = %d, want 7", o.Generation)
			}
		})
	}
	bad := op.object(7)
	bad.Generation = 0
	if _, err := trust.SignObject(op.key, bad); err == nil {
		t.Error("an invalid object was signed")
	}
}

func TestStatusesRefused(t *testing.T) {
	id, other := newIdentity(t), newIdentity(t)
	e, err := trust.SignStatus(id, spec.Status{Cluster: "web", Node: "hk1", Sequence: 3})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		node   string
		key    trust.PublicKey
		reason trust.Reason
	}{
		{"good", "hk1", id.Public(), ""},
		{"another identity", "hk1", other.Public(), trust.ReasonBadSignature},
		{"another node", "sg1", id.Public(), trust.ReasonWrongNode},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := trust.VerifyStatus(tt.node, tt.key, e)
			if got := trust.ReasonOf(err); got != tt.reason {
				t.Fatalf("reason = %q (%v), want %q", got, err, tt.reason)
			}
			if tt.reason == "" && s.Sequence != 3 {
				t.Errorf("sequence = %d, want 3", s.Sequence)
			}
		})
	}
}

func TestMakeProofNeedsItsOwnTicketKey(t *testing.T) {
	op := newOperator(t, "web")
	a, b := op.ticket("hk1"), op.ticket("hk1")
	for name, key := range map[string][]byte{"another ticket's": b.Key, "a short one": a.Key[:31], "none": nil} {
		if _, err := trust.MakeProof(a.Envelope, key, newIdentity(t), trust.Claim{}); trust.ReasonOf(err) != trust.ReasonMalformed {
			t.Errorf("%s key: error = %v, want a refusal", name, err)
		}
	}
}

func TestIssueTicketRefuses(t *testing.T) {
	op := newOperator(t, "web")
	good := trust.TicketRequest{Cluster: "web", Node: "hk1", Lifetime: time.Hour, Now: noon()}
	tests := []struct {
		name   string
		change func(*trust.TicketRequest)
		says   string
	}{
		{"no name", func(q *trust.TicketRequest) { q.Node = "" }, "node"},
		{"a life too long", func(q *trust.TicketRequest) { q.Lifetime = 1000 * time.Hour }, "lifetime"},
		{"no life", func(q *trust.TicketRequest) { q.Lifetime = 0 }, "lifetime"},
		{"a seed without port", func(q *trust.TicketRequest) { q.Seeds = []string{"198.51.100.1"} }, "host:port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := good
			tt.change(&q)
			if _, err := trust.IssueTicket(op.key, q); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error = %v, want one that names %q", err, tt.says)
			}
		})
	}
}

// with returns a changed copy of an envelope.
func with(e trust.Envelope, change func(*trust.Envelope)) trust.Envelope {
	e.Signatures = append(e.Signatures[:0:0], e.Signatures...)
	change(&e)
	return e
}

// rewrite changes an envelope's payload and leaves the signatures as they were.
func rewrite(t testing.TB, e trust.Envelope, change func(map[string]any)) trust.Envelope {
	t.Helper()
	payload := changed(t, trust.Payload(e), change)
	return with(e, func(e *trust.Envelope) { e.Payload = base64.StdEncoding.EncodeToString(payload) })
}

// reseal changes an envelope's payload and signs it with the operator's key, as a newer or broken Atoll would.
func reseal(t testing.TB, op operator, e trust.Envelope, change func(map[string]any)) trust.Envelope {
	t.Helper()
	data, err := op.key.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, e.PayloadType, changed(t, trust.Payload(e), change), ed25519.NewKeyFromSeed(seed(t, data)))
}

// claimAs makes a claim that MakeProof would not.
func claimAs(t testing.TB, issued *trust.IssuedTicket, id *trust.Identity, change func(*trust.Claim)) trust.Envelope {
	t.Helper()
	c := trust.Claim{Wire: spec.WireVersion, Cluster: issued.Ticket.Cluster, Node: issued.Ticket.Node, Ticket: issued.Ticket.ID, Identity: id.Public(), Made: noon()}
	change(&c)
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	data, err := id.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, trust.PayloadClaim, payload, ed25519.NewKeyFromSeed(issued.Key), ed25519.NewKeyFromSeed(seed(t, data)))
}

func changed(t testing.TB, payload []byte, change func(map[string]any)) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(payload, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
