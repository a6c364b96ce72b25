package trust

import (
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Bounds of what a node may claim, so that a stolen ticket cannot fill everybody's disk.
const (
	maxMeshKeys      = 8
	maxMeshKeyLength = 8 << 10
)

// Claim is what a node says of itself when it uses its ticket: these are my keys.
type Claim struct {
	Wire     int                        `json:"wire"`
	Cluster  string                     `json:"cluster"`
	Node     string                     `json:"node"`
	Ticket   string                     `json:"ticket"`
	Identity PublicKey                  `json:"identity"`
	MeshKeys map[spec.MeshDriver]string `json:"mesh_keys,omitempty"`
	Made     time.Time                  `json:"made"`
}

// Proof shows that the holder of an identity was given a ticket. It is public and anybody can check it offline.
type Proof struct {
	Ticket Envelope `json:"ticket"`
	Claim  Envelope `json:"claim"`
}

// Member is what a valid proof says.
type Member struct {
	Node     string
	Identity PublicKey
	MeshKeys map[spec.MeshDriver]string
	Ticket   Ticket
	Claim    Claim
	Proof    Proof
}

// MakeProof uses a ticket: it signs the claim with the ticket's key and with the identity, and fills in the claim's Wire,
// Cluster, Node, Ticket and Identity. Both sign, because the ticket's key has travelled: with it alone somebody who found
// it later could still put other mesh keys under an identity that is already admitted.
func MakeProof(ticket Envelope, ticketKey []byte, id *Identity, c Claim) (Proof, error) {
	if len(ticketKey) != ed25519.SeedSize {
		return Proof{}, refuse(ReasonMalformed, "ticket key", fmt.Sprintf("has %d bytes instead of %d", len(ticketKey), ed25519.SeedSize))
	}
	payload, err := peek(ticket, PayloadTicket, "ticket")
	if err != nil {
		return Proof{}, err
	}
	var t Ticket
	if err := decode(payload, "ticket", &t); err != nil {
		return Proof{}, err
	}
	key := hide(ed25519.NewKeyFromSeed(ticketKey))
	if key.public() != t.Key {
		return Proof{}, refuse(ReasonMalformed, t.subject(), "does not belong to this ticket key; take both from the same first-boot data")
	}
	c.Wire, c.Cluster, c.Node, c.Ticket, c.Identity = spec.WireVersion, t.Cluster, t.Node, t.ID, id.Public()
	c.Made = c.Made.UTC().Truncate(time.Millisecond)
	e, err := seal(PayloadClaim, c, key, id.secret)
	if err != nil {
		return Proof{}, err
	}
	return Proof{Ticket: ticket, Claim: e}, nil
}

// VerifyProof checks the chain from the signing key to the identity. It does not look at the clock: a member stays one
// after its ticket has expired, which is the store's to judge.
func (r Root) VerifyProof(p Proof) (Member, error) {
	t, err := r.VerifyTicket(p.Ticket)
	if err != nil {
		return Member{}, err
	}
	subject := fmt.Sprintf("proof of node %q", t.Node)
	// The claim names the identity that must have signed it, so it is read before it is believed.
	payload, err := peek(p.Claim, PayloadClaim, subject)
	if err != nil {
		return Member{}, err
	}
	var c Claim
	if err := decode(payload, subject, &c); err != nil {
		return Member{}, err
	}
	// Before the signatures are looked at, because the DSSE library takes one key for one signature.
	if c.Identity == t.Key || c.Identity == r.Key {
		return Member{}, refuse(ReasonInvalid, subject, "its identity is not a key of its own")
	}
	if _, err := open(p.Claim, PayloadClaim, subject, t.Key, c.Identity); err != nil {
		return Member{}, err
	}
	switch {
	case c.Cluster != r.Cluster:
		return Member{}, wrongCluster(subject, c.Cluster, r.Cluster)
	case c.Node != t.Node:
		return Member{}, refuse(ReasonWrongNode, subject, fmt.Sprintf("claims to be node %q, but the ticket is for %q; issue a ticket for the right name", clip(c.Node), t.Node))
	case c.Ticket != t.ID:
		return Member{}, refuse(ReasonWrongNode, subject, fmt.Sprintf("was made for ticket %q, not %q", clip(c.Ticket), t.ID))
	case len(c.MeshKeys) > maxMeshKeys:
		return Member{}, refuse(ReasonInvalid, subject, fmt.Sprintf("claims %d mesh keys, more than %d", len(c.MeshKeys), maxMeshKeys))
	}
	for driver, key := range c.MeshKeys {
		if len(key) > maxMeshKeyLength || len(driver) > spec.MaxNameLength {
			return Member{}, refuse(ReasonInvalid, subject, fmt.Sprintf("its %s key is too long", clip(string(driver))))
		}
	}
	return Member{Node: t.Node, Identity: c.Identity, MeshKeys: c.MeshKeys, Ticket: t, Claim: c, Proof: p}, nil
}
