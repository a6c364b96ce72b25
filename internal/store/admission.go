package store

import (
	"fmt"
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// maxCandidates bounds the identities that are remembered for one name: whoever stole a ticket can make any number.
const maxCandidates = 4

// candidate is a valid proof that is not admitted.
type candidate struct {
	*entry
	arrived time.Time
	// seen is the node object's generation at arrival. A later generation that pins an identity is the operator's answer.
	seen uint64
	// rival tells that it could have been admitted, had another identity not been first.
	rival bool
}

// applyProof admits a proof or says why not. Trusted is for a proof that this store admitted before and kept.
func (s *state) applyProof(e *entry, now time.Time, trusted bool) Outcome {
	node := e.member.Node
	if old := s.entries[e.key]; old != nil && old.version == e.version {
		return outcome(e.key, Unchanged, "node %q is admitted", node)
	}
	if err := s.revoked(e.member); err != nil {
		return refused(e.key, err)
	}
	if err := s.refusal(e.member, now, trusted); err != nil {
		var seen uint64
		if live := s.entries[nodeKey(node)]; live != nil {
			seen = live.version.Generation
		}
		s.remember(e, now, seen)
		return refused(e.key, err)
	}
	if old := s.entries[e.key]; old != nil && old.member.Identity == e.member.Identity && !e.version.Newer(old.version) {
		return outcome(e.key, Older, "node %q is admitted with a newer claim", node)
	}
	s.entries[e.key] = e
	s.forget(e)
	s.dropForeignStatus(node)
	return outcome(e.key, Accepted, "node %q is admitted with identity %s", node, e.member.Identity.Fingerprint())
}

// admit judges a node's proofs anew after its object or tombstone changed.
func (s *state) admit(node string, now time.Time) {
	if old := s.entries[ProofKey(node)]; old != nil {
		if s.revoked(old.member) != nil {
			delete(s.entries, old.key)
		} else if pin := s.pin(node); pin != "" && pin != old.member.Identity.String() {
			// The operator has just decided against it, so it is no open question.
			delete(s.entries, old.key)
			s.remember(old, now, 0)
		}
	}
	for _, c := range s.candidates[node] {
		switch {
		case s.revoked(c.member) != nil:
			s.forget(c.entry)
		case s.refusal(c.member, now, false) == nil:
			s.applyProof(c.entry, now, false)
		}
	}
	s.dropForeignStatus(node)
}

// revoked refuses a proof whose ticket is from before the node was removed, unless the operator has pinned its identity
// since. The tombstone's generation counts beside the time of its signing, because generations never go back while an
// operator's clock may.
func (s *state) revoked(m *trust.Member) error {
	tomb := s.entries[TombstoneKey(m.Node)]
	if tomb == nil || s.pin(m.Node) == m.Identity.String() {
		return nil
	}
	if millis(m.Ticket.Issued) >= max(tomb.object.Signed, tomb.object.Generation) {
		return nil
	}
	subject := fmt.Sprintf("node %q", m.Node)
	if s.entries[ObjectKey(tomb.object.Ref())] == nil {
		return &trust.Refusal{
			Reason: trust.ReasonRevoked, Subject: subject,
			Message: fmt.Sprintf("was removed from the cluster by the operator at %s; to have it back, apply it again with a new ticket", when(tomb.object.Signed)),
		}
	}
	return &trust.Refusal{
		Reason: trust.ReasonReplayed, Subject: subject,
		Message: fmt.Sprintf("its ticket was issued at %s, before the node was removed and made again at %s; use the ticket of its new first-boot data",
			m.Ticket.Issued.UTC().Format(time.RFC3339), when(tomb.object.Signed)),
	}
}

// refusal returns why a proof that is not revoked is not admitted, nil when it is.
func (s *state) refusal(m *trust.Member, now time.Time, trusted bool) error {
	pin := s.pin(m.Node)
	if pin == m.Identity.String() {
		return nil
	}
	second := func(known string) error {
		return &trust.Refusal{
			Reason: trust.ReasonSecondIdentity, Subject: fmt.Sprintf("node %q", m.Node),
			Message: fmt.Sprintf("identity %s wants to join under a name that is %s's; if this machine is to replace it, remove the node and make it again, or let it in by `atoll pin`; else find out who has its ticket, and `atoll pin` settles it",
				m.Identity, known),
		}
	}
	if pin != "" {
		return second(pin)
	}
	if old := s.member(m.Node); old != nil {
		if old.Identity == m.Identity {
			return nil
		}
		return second(old.Identity.String())
	}
	if trusted {
		return nil
	}
	return m.Ticket.CheckTime(now)
}

// remember keeps a proof that was not admitted while the node's object had generation seen.
func (s *state) remember(e *entry, now time.Time, seen uint64) {
	node := e.member.Node
	known := s.candidates[node]
	i := slices.IndexFunc(known, func(c candidate) bool { return c.member.Identity == e.member.Identity })
	if i >= 0 {
		if e.version.Newer(known[i].version) {
			known = slices.Clone(known)
			known[i].entry = e
			s.candidates[node] = known
		}
		return
	}
	if len(known) >= maxCandidates {
		return
	}
	c := candidate{entry: e, arrived: now.UTC(), rival: e.member.Ticket.CheckTime(now) == nil, seen: seen}
	s.candidates[node] = append(slices.Clip(known), c)
	s.noted = true
}

func (s *state) forget(e *entry) {
	node := e.member.Node
	left := slices.DeleteFunc(slices.Clone(s.candidates[node]), func(c candidate) bool { return c.member.Identity == e.member.Identity })
	if len(left) == len(s.candidates[node]) {
		return
	}
	s.noted = true
	if len(left) == 0 {
		delete(s.candidates, node)
		return
	}
	s.candidates[node] = left
}

// rivals returns the candidates that the operator must decide about.
func (s *state) rivals(node string) []candidate {
	var out []candidate
	live, member, pin := s.entries[nodeKey(node)], s.member(node), s.pin(node)
	for _, c := range s.candidates[node] {
		answered := live != nil && pin != "" && live.version.Generation > c.seen
		if c.rival && !answered && (pin != "" || member != nil) {
			out = append(out, c)
		}
	}
	return out
}

// dropForeignStatus removes a status that the admitted identity has not signed.
func (s *state) dropForeignStatus(node string) {
	old := s.entries[StatusKey(node)]
	if old == nil {
		return
	}
	m := s.member(node)
	if m == nil {
		delete(s.entries, old.key)
		return
	}
	if _, err := trust.VerifyStatus(node, m.Identity, *old.record.Status); err != nil {
		delete(s.entries, old.key)
	}
}

// pin returns the identity that the operator has pinned for the node, or "".
func (s *state) pin(node string) string {
	live := s.entries[nodeKey(node)]
	if live == nil {
		return ""
	}
	if n, ok := live.body.(spec.Node); ok {
		return n.Identity
	}
	return ""
}

func nodeKey(node string) Key { return ObjectKey(spec.Ref{Kind: spec.KindNode, Name: node}) }
