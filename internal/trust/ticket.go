package trust

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Skew is how wrong a clock may be before a ticket's times are held against it. Clocks that are five minutes wrong must do;
// the other five are for the way of a ticket and for two clocks that are wrong in opposite directions.
const Skew = 10 * time.Minute

// Bounds of a ticket's lifetime.
const (
	MinTicketLifetime = time.Minute
	MaxTicketLifetime = 30 * 24 * time.Hour
)

// Ticket is the operator's permission for one named node to join, until it expires.
type Ticket struct {
	Wire    int       `json:"wire"`
	ID      string    `json:"id"`
	Cluster string    `json:"cluster"`
	Node    string    `json:"node"`
	Key     PublicKey `json:"key"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
	// Seeds are endpoints (host:port) of agents that the joining node asks for the others.
	Seeds []string `json:"seeds,omitempty"`
}

// TicketRequest is what a ticket is issued for.
type TicketRequest struct {
	Cluster, Node string
	Lifetime      time.Duration
	Seeds         []string
	// Now is the operator's clock.
	Now time.Time
}

// IssuedTicket is a signed ticket with its private half, which goes to the named node alone.
type IssuedTicket struct {
	Envelope Envelope
	Key      TicketKey
	Ticket   Ticket
}

// Format prints whose ticket it is and never the key, whatever the verb.
func (t IssuedTicket) Format(f fmt.State, _ rune) {
	// A fmt.State never fails to write; its owner reports what the final writer says.
	_, _ = fmt.Fprintf(f, "%s, key %s", t.Ticket.subject(), redacted)
}

// IssueTicket makes and signs a ticket.
func IssueTicket(k *SigningKey, q TicketRequest) (*IssuedTicket, error) {
	var ps spec.Problems
	ps = append(ps, spec.ValidateName("cluster", q.Cluster)...)
	ps = append(ps, spec.ValidateName("node", q.Node)...)
	if q.Lifetime < MinTicketLifetime || q.Lifetime > MaxTicketLifetime {
		ps = append(ps, spec.Problem{
			Field: "lifetime", Message: fmt.Sprintf("is %s", q.Lifetime),
			Remedy: fmt.Sprintf("choose between %s and %s", MinTicketLifetime, MaxTicketLifetime),
		})
	}
	for _, seed := range q.Seeds {
		ps = append(ps, spec.ValidateEndpoint("seeds", seed)...)
	}
	if err := ps.Err(); err != nil {
		return nil, fmt.Errorf("issue ticket for node %q: %w", q.Node, err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make ticket key: %w", err)
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return nil, fmt.Errorf("make ticket id: %w", err)
	}
	issued := q.Now.UTC().Truncate(time.Millisecond)
	t := Ticket{
		Wire: spec.WireVersion, ID: hex.EncodeToString(id), Cluster: q.Cluster, Node: q.Node, Key: publicKeyFrom(public),
		Issued: issued, Expires: issued.Add(q.Lifetime), Seeds: q.Seeds,
	}
	e, err := seal(PayloadTicket, t, k.secret)
	if err != nil {
		return nil, err
	}
	return &IssuedTicket{Envelope: e, Key: TicketKey(private.Seed()), Ticket: t}, nil
}

// VerifyTicket returns the ticket of an envelope that the operator signed for this cluster. It does not look at the clock.
func (r Root) VerifyTicket(e Envelope) (Ticket, error) {
	var t Ticket
	payload, err := open(e, PayloadTicket, "ticket", r.Key)
	if err != nil {
		return Ticket{}, err
	}
	if err := decode(payload, "ticket", &t); err != nil {
		return Ticket{}, err
	}
	if t.Cluster != r.Cluster {
		return Ticket{}, wrongCluster(t.subject(), t.Cluster, r.Cluster)
	}
	if err := spec.ValidateName("node", t.Node).Err(); err != nil {
		return Ticket{}, refuse(ReasonInvalid, "ticket", err.Error())
	}
	if t.ID == "" || t.Key.IsZero() || t.Issued.IsZero() || t.Expires.Before(t.Issued) {
		return Ticket{}, refuse(ReasonInvalid, t.subject(), "lacks its id, key or times; issue a new one")
	}
	return t, nil
}

// CheckTime returns a Refusal when the ticket is not valid at now, give or take Skew.
func (t Ticket) CheckTime(now time.Time) error {
	switch {
	case now.After(t.Expires.Add(Skew)):
		return refuse(ReasonExpired, t.subject(), fmt.Sprintf("expired at %s, it is %s now; issue a new ticket (and check the clock if that surprises)",
			stamp(t.Expires), stamp(now)))
	case now.Before(t.Issued.Add(-Skew)):
		return refuse(ReasonNotYetValid, t.subject(), fmt.Sprintf("was issued at %s, which is in the future: it is %s here; set the clock of this machine or of the operator's right",
			stamp(t.Issued), stamp(now)))
	default:
		return nil
	}
}

func (t Ticket) subject() string {
	return fmt.Sprintf("ticket %s of node %q", clip(t.ID), clip(t.Node))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
