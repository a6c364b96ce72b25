package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
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

// judgeMembership says whether the cluster admits this node. Membership needs no founder and no majority: a node with a
// valid proof is a member until somebody knows better.
func (s *session) judgeMembership(in input) {
	reason, messages := s.acceptance.refusals()
	switch {
	case !in.admitted:
		s.keeper.set(spec.ConditionJoined, spec.ConditionFalse, "NotAdmitted", "identity %s is not admitted as node %q: %s",
			s.m.identity.Public(), s.m.record.Node, strings.Join(conflictsOf(in), "; "))
	case len(messages) > 0:
		s.keeper.set(spec.ConditionJoined, spec.ConditionFalse, reason, "no other node admits this one: %s", strings.Join(messages, "; "))
	case !s.acceptance.known():
		s.keeper.set(spec.ConditionJoined, spec.ConditionTrue, "Alone", "no other node has answered yet")
	default:
		s.keeper.set(spec.ConditionJoined, spec.ConditionTrue, "Joined", "")
	}
}
