package recovery

import (
	"fmt"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// follow decides whether this member is bound by a promise, or gives one.
func (e Evidence) follow(accepted []string) (Decision, bool) {
	promise := e.Journal.Promise
	for _, node := range e.others() {
		r, heard := e.Heard[node]
		if !heard || !r.outside() || r.Outage.Proposal == nil {
			continue
		}
		p := r.Outage.Proposal
		if promise != nil && (p.Leader != promise.Leader || p.Heard[p.Leader] != promise.Heard[p.Leader] || sameProposal(p, promise)) {
			continue
		}
		if !e.acceptable(node, r, accepted) {
			continue
		}
		if e.Own.Proposal != nil {
			// Whoever has promised to follow this member has to know first that it does not lead any more.
			return e.do(Withdraw), true
		}
		e.Journal.Promise, e.Journal.PromiseSeen = p, r.Sequence
		d := e.wait(promised(p))
		d.Action = Promise
		return d, true
	}
	if promise != nil {
		reason, message := promised(promise)
		if _, heard := e.Heard[promise.Leader]; !heard {
			message += ", of which nothing is heard now: " + e.tell([]string{promise.Leader}) + ". If it is lost for good: " + e.remedy(promise.Leader)
		}
		return e.wait(reason, message), true
	}
	return Decision{}, false
}

func promised(p *spec.RecoveryProposal) (Reason, string) {
	if p.Position == "" {
		return ReasonWaiting, fmt.Sprintf("has promised to follow %s, which begins the group out of nothing", p.Leader)
	}
	return ReasonOutage, fmt.Sprintf("full outage: has promised to follow %s into life %d of the group", p.Leader, p.Incarnation)
}

// acceptable tells whether this member may promise what another one proposes.
func (e Evidence) acceptable(node string, r Report, accepted []string) bool {
	p := r.Outage.Proposal
	switch {
	case p.Leader != node, p.Incarnation <= e.Journal.Incarnation,
		p.Heard[node] != r.Outage.ID, p.Heard[e.Self] != e.Own.ID,
		len(e.Members) != e.Votes, slices.Contains(accepted, node):
		return false
	}
	need := e.needed(accepted)
	if len(p.Heard) != len(need) {
		return false
	}
	for _, n := range need {
		if p.Heard[n] == "" {
			return false
		}
	}
	if p.Position == "" {
		return e.Own.Fresh && e.permitted() && node == e.Bootstrap.Node && !e.livesElsewhere()
	}
	if len(accepted) > 0 && p.Incarnation != e.Recovery.Incarnation || r.missed(e.Journal.Incarnation) {
		return false
	}
	if base := e.Journal.Base; base != "" && !slices.Contains(accepted, e.Journal.Leader) && !e.atLeast(p.Position, base) {
		return false
	}
	if e.Own.Fresh {
		return true
	}
	order, err := e.Compare(p.Position, e.Own.Position)
	if err != nil {
		return false
	}
	return order == database.Greater || order == database.Equal && (e.Own.Proposal == nil || e.preferred(node, e.Self))
}

func (e Evidence) atLeast(position, base string) bool {
	order, err := e.Compare(position, base)
	return err == nil && (order == database.Greater || order == database.Equal)
}

// released returns the journal without a promise that does not bind any more.
func (e Evidence) released() Journal {
	j := e.Journal
	p := j.Promise
	if p == nil {
		return j
	}
	free := j
	free.Promise, free.PromiseSeen = nil, 0
	r, heard := e.Heard[p.Leader]
	// A leader is bound to its proposal by its outage ID. Once it speaks under another one, or is in a group that is not the
	// one that it proposed, it cannot begin what it proposed any more. That it began is seen in its incarnation.
	if heard && r.Sequence > j.PromiseSeen && r.Incarnation < p.Incarnation && (r.Outage == nil || r.Outage.ID != p.Heard[p.Leader]) {
		return free
	}
	// It did begin, and that life is over. What this member has was in it from the beginning.
	if heard && r.Sequence > j.PromiseSeen && r.Incarnation >= p.Incarnation && r.outside() {
		if !e.Own.Fresh && p.Incarnation > j.Incarnation {
			free.Incarnation, free.Base, free.Leader = p.Incarnation, p.Position, p.Leader
		}
		return free
	}
	if op := e.Recovery; op != nil && op.Incarnation > p.Incarnation && op.Incarnation > j.Incarnation && slices.Contains(op.AcceptLossFrom, p.Leader) {
		return free
	}
	return j
}
