package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// acceptance is what other nodes answered to this node's proof. Its zero value is ready; it is safe for concurrent use.
type acceptance struct {
	mu       sync.Mutex
	admitted map[string]bool
	refused  map[string]refusal
}

type refusal struct {
	reason, message string
}

// admit records that a node has taken the proof, and says whether that is news.
func (a *acceptance) admit(node string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.admitted == nil {
		a.admitted = map[string]bool{}
	}
	news := !a.admitted[node]
	a.admitted[node] = true
	delete(a.refused, node)
	return news
}

// refuse records that a node has refused the proof, and says whether that is news.
func (a *acceptance) refuse(node string, r refusal) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused == nil {
		a.refused = map[string]refusal{}
	}
	news := a.refused[node].reason != r.reason
	a.refused[node] = r
	delete(a.admitted, node)
	return news
}

// known tells whether some node has taken the proof.
func (a *acceptance) known() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.admitted) > 0
}

// refusals returns the refusals while no node has taken the proof.
func (a *acceptance) refusals() (reason string, messages []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.admitted) > 0 {
		return "", nil
	}
	for _, node := range slices.Sorted(maps.Keys(a.refused)) {
		reason = a.refused[node].reason
		messages = append(messages, fmt.Sprintf("%s: %s", node, a.refused[node].message))
	}
	return reason, messages
}

// confirmed tells whether somebody beside this node has ever taken it for a member: the operator, who has pinned its
// identity, or a node that has reported of it as its peer, however long ago.
func (s *session) confirmed(snapshot *store.Snapshot) bool {
	self := s.m.record.Node
	if snapshot.Nodes[self].Identity == s.m.identity.Public().String() {
		return true
	}
	for node, status := range snapshot.Statuses {
		if _, seen := status.Peers[self]; seen && node != self {
			return true
		}
	}
	return s.acceptance.known()
}

// judgeMembership says whether the cluster admits this node. Membership needs no founder and no majority: a node with a
// valid proof is a member until somebody knows better. But a proof that nobody has confirmed is good for as long as its
// ticket: after that, every node that is asked would refuse it.
func (s *session) judgeMembership(in input) {
	reason, messages := s.acceptance.refusals()
	switch {
	case !in.admitted:
		s.keeper.set(spec.ConditionJoined, spec.ConditionFalse, "NotAdmitted", "identity %s is not admitted as node %q: %s",
			s.m.identity.Public(), s.m.record.Node, strings.Join(conflictsOf(in), "; "))
	case len(messages) > 0:
		s.keeper.set(spec.ConditionJoined, spec.ConditionFalse, reason, "no other node admits this one: %s", strings.Join(messages, "; "))
	case !s.confirmed(in.snapshot) && s.m.member.Ticket.CheckTime(s.a.cfg.Now()) != nil:
		s.keeper.set(spec.ConditionJoined, spec.ConditionFalse, "Unconfirmed",
			"neither another node nor the operator has confirmed this node, and its ticket (until %s) is over, so every node would refuse it: "+
				"if this is the cluster's first node, \"terraform apply\" or \"atoll pin %s\" confirms it; otherwise give this machine the first-boot data of a new ticket, with seeds, "+
				"or take the agent off it with \"atolld uninstall --purge\"",
			s.m.member.Ticket.Expires.UTC().Format(time.RFC3339), s.m.record.Node)
	case !s.acceptance.known():
		s.keeper.set(spec.ConditionJoined, spec.ConditionTrue, "Alone", "no other node has answered yet")
	default:
		s.keeper.set(spec.ConditionJoined, spec.ConditionTrue, "Joined", "")
	}
}
