package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// entry is a record with what it says. Entries are immutable once they are part of a state.
type entry struct {
	key     Key
	record  Record
	version Version

	// One group is set, as in the record.
	object spec.Object
	body   spec.Body
	member *trust.Member
	status *spec.Status

	// conflict is when another object of the same generation was seen, zero when none was.
	conflict time.Time
	// received is when a status arrived by this machine's clock, which unlike Reported can be compared with now.
	received time.Time
	// local tells that the record came from here or from the operator, so that it is on this node to spread it.
	local bool
}

// class orders entries so that each finds what it depends on: objects, then proofs, then statuses.
func (e *entry) class() int {
	switch {
	case e.member != nil:
		return 1
	case e.record.Status != nil:
		return 2
	default:
		return 0
	}
}

// read verifies a record as far as that needs no other record. The signature of a status is checked when it is applied,
// since only the member's proof says by whom it must be.
func read(root trust.Root, r Record) (*entry, error) {
	set := 0
	for _, is := range []bool{r.Object != nil, r.Proof != nil, r.Status != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		return nil, &trust.Refusal{Reason: trust.ReasonMalformed, Subject: "record", Message: fmt.Sprintf("has %d parts instead of one", set)}
	}
	switch {
	case r.Object != nil:
		return readObject(root, r)
	case r.Proof != nil:
		m, err := root.VerifyProof(*r.Proof)
		if err != nil {
			return nil, err
		}
		return &entry{
			key: ProofKey(m.Node), record: r, member: &m,
			version: Version{
				Generation: millis(m.Ticket.Issued),
				Digest:     fmt.Sprintf("%016x-%s", millis(m.Claim.Made), digestOf(trust.Payload(r.Proof.Ticket), trust.Payload(r.Proof.Claim))),
			},
		}, nil
	default:
		node, err := trust.StatusNode(*r.Status)
		if err != nil {
			return nil, err
		}
		return &entry{key: StatusKey(node), record: r, status: &spec.Status{Node: node}}, nil
	}
}

func readObject(root trust.Root, r Record) (*entry, error) {
	o, err := root.VerifyObject(*r.Object)
	if err != nil {
		return nil, err
	}
	e := &entry{
		key: keyOf(o), record: r, object: o,
		version: Version{Generation: o.Generation, Digest: digestOf(trust.Payload(*r.Object))},
	}
	if !o.Deleted {
		if e.body, err = o.Decode(); err != nil {
			return nil, &trust.Refusal{Reason: trust.ReasonInvalid, Subject: "object " + o.Ref().String(), Message: err.Error()}
		}
	}
	return e, nil
}

// readStatus verifies the status of e against the identity that is admitted for its node.
func readStatus(root trust.Root, e *entry, identity trust.PublicKey) (*entry, error) {
	s, err := trust.VerifyStatus(e.status.Node, identity, *e.record.Status)
	if err != nil {
		return nil, err
	}
	if s.Cluster != root.Cluster {
		return nil, &trust.Refusal{
			Reason: trust.ReasonWrongCluster, Subject: fmt.Sprintf("status of node %q", s.Node),
			Message: fmt.Sprintf("belongs to cluster %q, this is %q", s.Cluster, root.Cluster),
		}
	}
	return &entry{
		key: e.key, record: e.record, status: &s,
		version: Version{Generation: s.Sequence, Digest: digestOf(trust.Payload(*e.record.Status))},
	}, nil
}

func outcome(k Key, r Result, format string, args ...any) Outcome {
	return Outcome{Key: k, Result: r, Message: fmt.Sprintf(format, args...)}
}

func refused(k Key, err error) Outcome {
	o := Outcome{Key: k, Result: Refused, Reason: trust.ReasonOf(err), Message: err.Error()}
	var r *trust.Refusal
	if !errors.As(err, &r) {
		o.Reason = trust.ReasonMalformed
	}
	return o
}

func millis(t time.Time) uint64 {
	ms := t.UnixMilli()
	if ms < 0 {
		return 0
	}
	return uint64(ms)
}
