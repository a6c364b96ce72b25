package platform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// PayloadVersion is the version of the payload. An agent refuses what is newer than it knows.
//
//	1: cluster, node, signing key, ticket and its key, objects (first release).
const PayloadVersion = 1

// MaxPayload is the largest payload in bytes. It is Linode's limit for user-data before its base64 encoding.
const MaxPayload = 65535

// Payload is everything that a machine needs to join a cluster. It holds a secret (TicketKey) and prints without it.
type Payload struct {
	// Atoll is PayloadVersion; its key in the JSON form is what tells the payload from other data.
	Atoll   int    `json:"atoll"`
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
	// SigningKey is the cluster's root of trust.
	SigningKey trust.PublicKey `json:"signing_key"`
	Ticket     trust.Envelope  `json:"ticket"`
	// TicketKey is the private half of the ticket. Whoever has it can join as Node until the ticket expires.
	TicketKey ticketSeed `json:"ticket_key"`
	// Objects are what the node knows of its cluster from the start, at best the cluster object and its own node object.
	Objects []trust.Envelope `json:"objects,omitempty"`
}

// Root returns the trust root that the payload names.
func (p Payload) Root() trust.Root { return trust.Root{Cluster: p.Cluster, Key: p.SigningKey} }

// ticketSeed is a ticket's key that, unlike trust.TicketKey, becomes JSON: the payload is where it belongs.
type ticketSeed []byte

// Format prints that the key is redacted, whatever the verb.
func (ticketSeed) Format(f fmt.State, verb rune) { trust.TicketKey(nil).Format(f, verb) }

// Format prints what the payload is for, whatever the verb: no way of printing shows the secret.
func (p Payload) Format(f fmt.State, _ rune) {
	// A fmt.State never fails to write; its owner reports what the final writer says.
	_, _ = fmt.Fprintf(f, "first-boot payload of node %q in cluster %q", p.Node, p.Cluster)
}

// LogValue returns cluster and node.
func (p Payload) LogValue() slog.Value {
	return slog.GroupValue(slog.String("cluster", p.Cluster), slog.String("node", p.Node))
}

// UnknownKeyError says that a payload has a key which this version does not know. What is not understood cannot be obeyed.
type UnknownKeyError struct {
	// Key is the key as it was written.
	Key string
}

// Error names the key.
func (e *UnknownKeyError) Error() string {
	return fmt.Sprintf("unknown key %q in the first-boot payload: correct it, or update the agent", e.Key)
}

// VersionError says that a payload has a version which this agent does not know.
type VersionError struct {
	Version int
}

// Error names both versions.
func (e *VersionError) Error() string {
	return fmt.Sprintf("the first-boot payload has version %d, this agent knows version %d: update the agent", e.Version, PayloadVersion)
}

// SizeError says that a payload is larger than its carriers allow.
type SizeError struct {
	// Size is the payload's size in bytes.
	Size int
}

// Error names size and limit.
func (e *SizeError) Error() string {
	return fmt.Sprintf("the first-boot payload has %d bytes, more than the %d that fit into user-data: give it fewer objects",
		e.Size, MaxPayload)
}

// NewPayload returns the payload for the machine that the ticket was issued for. The result is secret. It fails with
// *SizeError when it would not fit into user-data.
func NewPayload(root trust.Root, ticket *trust.IssuedTicket, objects []trust.Envelope) ([]byte, error) {
	data, err := json.Marshal(Payload{
		Atoll: PayloadVersion, Cluster: root.Cluster, Node: ticket.Ticket.Node, SigningKey: root.Key,
		Ticket: ticket.Envelope, TicketKey: ticketSeed(ticket.Key), Objects: objects,
	})
	if err != nil {
		return nil, fmt.Errorf("encode the first-boot payload of %q: %w", ticket.Ticket.Node, err)
	}
	if len(data) > MaxPayload {
		return nil, &SizeError{Size: len(data)}
	}
	return data, nil
}

// ParsePayload reads a payload in its JSON form. It refuses unknown and repeated keys (*UnknownKeyError for the former),
// unknown versions (*VersionError) and everything that is missing. Signatures are the caller's to verify.
func ParsePayload(data []byte) (*Payload, error) {
	if len(data) > MaxPayload {
		return nil, &SizeError{Size: len(data)}
	}
	if err := checkKeys(data); err != nil {
		return nil, err
	}
	var p Payload
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return nil, fmt.Errorf("read the first-boot payload: %w", withoutContent(err))
	}
	if err := p.complete(); err != nil {
		return nil, fmt.Errorf("read the first-boot payload: %w", err)
	}
	return &p, nil
}

func (p Payload) complete() error {
	if p.Atoll != PayloadVersion {
		return &VersionError{Version: p.Atoll}
	}
	ps := append(spec.ValidateName("cluster", p.Cluster), spec.ValidateName("node", p.Node)...)
	if err := ps.Err(); err != nil {
		return err
	}
	switch {
	case p.SigningKey == trust.PublicKey{}:
		return errors.New("signing_key is missing")
	case p.Ticket.Payload == "":
		return errors.New("ticket is missing")
	case len(p.TicketKey) == 0:
		return errors.New("ticket_key is missing")
	}
	return nil
}

// payloadKeys are the keys of the payload's first level. The decoder alone would accept them in any letter case.
func payloadKeys() []string {
	return []string{"atoll", "cluster", "node", "signing_key", "ticket", "ticket_key", "objects"}
}

// checkKeys walks over the first level of data. Version 0 or a newer one is reported before an unknown key, since a newer
// version is why a key is unknown.
func checkKeys(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("read the first-boot payload: it is no JSON object")
	}
	seen := map[string]bool{}
	unknown := ""
	for d.More() {
		t, err := d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return fmt.Errorf("read the first-boot payload: it is no valid JSON near byte %d", d.InputOffset())
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("read the first-boot payload: the value of %q is no valid JSON", key)
		}
		if seen[key] {
			return fmt.Errorf("read the first-boot payload: key %q is there twice", key)
		}
		seen[key] = true
		if key == "atoll" {
			var version int
			if json.Unmarshal(value, &version) == nil && version != PayloadVersion {
				return &VersionError{Version: version}
			}
		}
		if unknown == "" && !known(key) {
			unknown = key
		}
	}
	if unknown != "" {
		return &UnknownKeyError{Key: unknown}
	}
	if _, err := d.Token(); err != nil {
		return errors.New("read the first-boot payload: it ends too early")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("read the first-boot payload: something follows its end")
	}
	return nil
}

func known(key string) bool {
	for _, k := range payloadKeys() {
		if k == key {
			return true
		}
	}
	return false
}

// withoutContent drops the offending value from a decoder's error: it may be the secret.
func withoutContent(err error) error {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		return fmt.Errorf("%q has the wrong type", wrongType.Field)
	}
	return err
}
