package store

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Key names a record: "cluster/web", "node/hk1", "link/hk1.sg1", "proof/hk1", "status/hk1", and "tombstone/hk1" for the
// newest tombstone of a node.
type Key string

const (
	prefixProof     = "proof/"
	prefixStatus    = "status/"
	prefixTombstone = "tombstone/"
)

// ObjectKey returns the key of a living object, and of a tombstone of anything but a node.
func ObjectKey(ref spec.Ref) Key { return Key(ref.String()) }

// ProofKey returns the key of a node's proof.
func ProofKey(node string) Key { return Key(prefixProof + node) }

// StatusKey returns the key of a node's status.
func StatusKey(node string) Key { return Key(prefixStatus + node) }

// TombstoneKey returns the key of a node's newest tombstone.
func TombstoneKey(node string) Key { return Key(prefixTombstone + node) }

// keyOf returns the key of a valid object.
func keyOf(o spec.Object) Key {
	if o.Deleted && o.Kind == spec.KindNode {
		return TombstoneKey(o.Name)
	}
	return ObjectKey(o.Ref())
}

// known tells whether this version could hold a record of that key.
func (k Key) known() bool {
	kind, _, _ := strings.Cut(string(k), "/")
	switch kind + "/" {
	case prefixProof, prefixStatus, prefixTombstone:
		return true
	}
	for _, known := range spec.Kinds() {
		if kind == string(known) {
			return true
		}
	}
	return false
}

// Record is one signed thing that stores exchange. Exactly one field is set.
type Record struct {
	Object *trust.Envelope `json:"object,omitempty"`
	Proof  *trust.Proof    `json:"proof,omitempty"`
	Status *trust.Envelope `json:"status,omitempty"`
}

// ObjectRecord returns the record of a signed object.
func ObjectRecord(e trust.Envelope) Record { return Record{Object: &e} }

// ProofRecord returns the record of a proof.
func ProofRecord(p trust.Proof) Record { return Record{Proof: &p} }

// StatusRecord returns the record of a signed status.
func StatusRecord(e trust.Envelope) Record { return Record{Status: &e} }

// payload returns what is signed, of a proof what differs between proofs.
func (r Record) payload() string {
	switch {
	case r.Object != nil:
		return r.Object.Payload
	case r.Proof != nil:
		return r.Proof.Claim.Payload
	case r.Status != nil:
		return r.Status.Payload
	default:
		return ""
	}
}

// equal tells whether two records are the same to the last bit, signatures included.
func (r Record) equal(o Record) bool { return reflect.DeepEqual(r, o) }

// Version orders the records of one key. Generation is an object's generation, a status' sequence, or when a proof's
// ticket was issued in Unix milliseconds; Digest is the hash of what is signed, for a proof after the time of its making.
type Version struct {
	Generation uint64 `json:"generation"`
	Digest     string `json:"digest"`
}

// Newer tells whether v wins over o: by the higher generation, among equals by the larger digest.
func (v Version) Newer(o Version) bool {
	if v.Generation != o.Generation {
		return v.Generation > o.Generation
	}
	return v.Digest > o.Digest
}

// Digest is the version of every record of a store, from which another store finds what either lacks.
type Digest map[Key]Version

// Result is what became of a record.
type Result string

// The results of a merge.
const (
	// Accepted is for a record that was taken and written to disk.
	Accepted Result = "Accepted"
	// Unchanged is for a record that the store has already.
	Unchanged Result = "Unchanged"
	// Older is for a record that is superseded by what the store has.
	Older Result = "Older"
	// Conflict is for an object of the same generation as the stored one with other content. Merge keeps the larger digest,
	// Offer what was there.
	Conflict Result = "Conflict"
	// Refused is for a record that is not believed, or could not be written.
	Refused Result = "Refused"
)

// Outcome is what became of one record. Key is empty when the record could not be read that far.
type Outcome struct {
	Key     Key          `json:"key"`
	Result  Result       `json:"result"`
	Reason  trust.Reason `json:"reason,omitempty"`
	Message string       `json:"message,omitempty"`
}

// Settled tells whether sending the record again would be pointless: the store has it or something better.
func (o Outcome) Settled() bool { return o.Result != Refused }

func digestOf(payloads ...[]byte) string {
	h := sha256.New()
	for _, p := range payloads {
		sum := sha256.Sum256(p)
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// cutNode returns the name in the key of a living node object.
func cutNode(k Key) (string, bool) {
	return strings.CutPrefix(string(k), string(spec.KindNode)+"/")
}

// IsStatus tells whether k is the key of a status.
func (k Key) IsStatus() bool { return strings.HasPrefix(string(k), prefixStatus) }
