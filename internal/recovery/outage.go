package recovery

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// outage decides what to do about a full outage.
func (e Evidence) outage() Decision {
	accepted := e.accepted()
	d := e.outageOf(accepted)
	if r := e.Recovery; r != nil && len(accepted) == 0 && d.Reason == ReasonOutage && d.Message != "" {
		d.Message += fmt.Sprintf(". The operator's last decision was for life %d, which was begun or promised already: it says nothing of this outage", r.Incarnation)
	}
	if e.Own.Fresh && e.Journal.Incarnation == 0 && d.Action == Wait && e.Journal.Promise == nil {
		// What others do about an outage is not for a newcomer to tell.
		d.Reason, d.Message = ReasonWaiting, "waits for the group: no member of it is online"
	}
	return d
}

func (e Evidence) outageOf(accepted []string) Decision {
	switch {
	case slices.Contains(accepted, e.Self):
		if e.Own.Proposal != nil {
			return e.do(Withdraw)
		}
		return e.wait(ReasonOutage, "the operator has given up what only this member has; it waits for the others to begin without it")
	case e.Own.Fresh && e.Journal.Incarnation > 0:
		return e.wait(ReasonDataLost, fmt.Sprintf("has lost its data, which was of life %d of the group, and no other member is online; "+
			"if what the others have is all there is, begin with that: %s; if none has any left, raise the database's bootstrap epoch to begin anew",
			e.Journal.Incarnation, e.remedy(e.Self)))
	}
	newest := e.newest(accepted)
	if e.missed(newest) {
		return e.hold(ReasonDiverged, e.tellMissed(newest))
	}
	if d, decided := e.follow(accepted); decided {
		return d
	}
	if len(e.Members) != e.Votes {
		return e.hold(ReasonOutage, fmt.Sprintf("full outage: %d of the %d voting members are described here, and nothing begins before all are", len(e.Members), e.Votes))
	}
	needed := e.needed(accepted)
	var missing, holders []string
	for _, node := range needed {
		if node == e.Self {
			if !e.Own.Fresh {
				holders = append(holders, node)
			}
			continue
		}
		r, heard := e.Heard[node]
		switch {
		case !heard || !r.outside() || r.lost() || r.missed(newest):
			missing = append(missing, node)
		case r.holder():
			holders = append(holders, node)
		}
	}
	if len(missing) > 0 {
		return e.hold(ReasonOutage, "full outage: the group begins by itself once all voting members are heard. Missing: "+e.tell(missing)+
			". Here: "+e.tellHere(needed, missing)+". If a machine is lost for good: "+e.remedy(missing...))
	}
	if len(holders) == 0 {
		return e.hold(ReasonOutage, "full outage: no member has any data left")
	}
	best, err := e.best(holders)
	if err != nil {
		return e.hold(ReasonOutage, "full outage: "+err.Error())
	}
	if best == "" {
		return e.hold(ReasonDiverged, "full outage: members have data that others do not have, and nobody can say whose is to stay: "+
			e.tellHere(needed, nil)+". Decide whose is given up: "+e.remedy("NODE"))
	}
	if best != e.Self {
		if e.Own.Proposal != nil {
			return e.do(Withdraw)
		}
		return e.wait(ReasonOutage, fmt.Sprintf("full outage: all members are heard; %s has the most data and is to begin", best))
	}
	if len(accepted) == 0 && 2*len(holders) <= e.Votes && e.Journal.Shared {
		return e.hold(ReasonOutage, "full outage: less than a majority of the members has any data, so that writes may be missing that were acknowledged: "+
			e.tellHere(needed, nil)+". To begin with what there is: "+e.remedy(e.without(needed, holders)...))
	}
	return e.lead(needed, accepted)
}

// remedy is the command by which the operator gives members up.
func (e Evidence) remedy(nodes ...string) string {
	return "atoll recover --database " + e.Database + " --accept-loss-from " + strings.Join(nodes, ",")
}

// lead is for the member that is to begin the next life: it proposes, and begins once all have promised.
func (e Evidence) lead(needed, accepted []string) Decision {
	if problem := e.belowBase(e.Own.Position, accepted); problem != "" {
		return e.hold(ReasonOutage, "full outage: "+problem)
	}
	d, all := e.gather(needed, accepted)
	if !all {
		return d
	}
	j, p := e.Journal, e.Own.Proposal
	j.Incarnation, j.Base, j.Leader, j.Joining = p.Incarnation, p.Position, e.Self, 0
	e.Journal = j
	return e.do(Begin)
}

// gather proposes to begin the next life with this member's data, and tells whether all that are needed have promised to follow.
func (e Evidence) gather(needed, accepted []string) (d Decision, all bool) {
	p := &spec.RecoveryProposal{Incarnation: e.next(accepted), Leader: e.Self, Position: e.Own.Position, Heard: map[string]string{e.Self: e.Own.ID}}
	for _, node := range needed {
		if node != e.Self {
			p.Heard[node] = e.Heard[node].Outage.ID
		}
	}
	if !sameProposal(e.Own.Proposal, p) {
		reason, message := e.leads("proposes to begin")
		d = e.wait(reason, message)
		d.Action, d.Proposal = Propose, p
		return d, false
	}
	var silent []string
	for _, node := range needed {
		if node != e.Self && !sameProposal(e.Heard[node].Outage.Promise, p) {
			silent = append(silent, node)
		}
	}
	if len(silent) > 0 {
		return e.wait(e.leads("begins once these have promised to follow: " + e.tell(silent))), false
	}
	return Decision{}, true
}

// leads says what the member that is to begin does, and why it is not in the group yet.
func (e Evidence) leads(text string) (Reason, string) {
	if e.Own.Fresh {
		return ReasonWaiting, text + ", out of nothing"
	}
	return ReasonOutage, "full outage: this member has the most data and " + text
}

// next returns the life to propose: one that nobody has begun, promised or proposed, or that of the operator's decision. What
// this member proposes already stays.
func (e Evidence) next(accepted []string) uint64 {
	if len(accepted) > 0 {
		return e.Recovery.Incarnation
	}
	n := max(e.Journal.Incarnation, e.Journal.Joining)
	for _, node := range e.others() {
		r, heard := e.Heard[node]
		if !heard {
			continue
		}
		n = max(n, r.Incarnation)
		if r.Outage == nil {
			continue
		}
		for _, p := range []*spec.RecoveryProposal{r.Outage.Promise, r.Outage.Proposal} {
			if p != nil && (p.Leader != e.Self || p.Heard[e.Self] != e.Own.ID) {
				n = max(n, p.Incarnation)
			}
		}
	}
	if e.Own.Proposal != nil && e.Own.Proposal.Incarnation > n {
		return e.Own.Proposal.Incarnation
	}
	return n + 1
}

// hold is wait for a member that cannot lead any more: what it proposed is taken back.
func (e Evidence) hold(reason Reason, message string) Decision {
	if e.Own.Proposal != nil {
		return e.do(Withdraw)
	}
	return e.wait(reason, message)
}

// accepted returns the members that the operator has given up, nothing when no such decision is in force. One that is not
// above every life that was begun, and above every promise that still binds, is void: whoever made it did not know of them.
func (e Evidence) accepted() []string {
	r := e.Recovery
	if r == nil || r.Incarnation <= e.Journal.Incarnation {
		return nil
	}
	for _, node := range e.others() {
		if report, heard := e.Heard[node]; heard && report.Incarnation >= r.Incarnation {
			return nil
		}
	}
	if p := e.Journal.Promise; p != nil && p.Incarnation >= r.Incarnation && !e.under(p, r) {
		return nil
	}
	return r.AcceptLossFrom
}

// under tells whether a proposal follows from an operator's decision.
func (e Evidence) under(p *spec.RecoveryProposal, r *spec.Recovery) bool {
	return p.Incarnation == r.Incarnation && slices.Equal(slices.Sorted(maps.Keys(p.Heard)), e.needed(r.AcceptLossFrom))
}

// needed returns the voting members whose word is needed, sorted.
func (e Evidence) needed(accepted []string) []string {
	var out []string
	for _, m := range e.Members {
		if !slices.Contains(accepted, m.Node) {
			out = append(out, m.Node)
		}
	}
	slices.Sort(out)
	return out
}

func (Evidence) without(nodes, these []string) []string {
	return slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return slices.Contains(these, n) })
}

// position returns the position that a member has said, or this one has.
func (e Evidence) position(node string) string {
	if node == e.Self {
		return e.Own.Position
	}
	return e.Heard[node].Position
}

// best returns the member with the most data, of equals the one that is preferred; "" when there is none.
func (e Evidence) best(holders []string) (string, error) {
	best := holders[0]
	for _, node := range holders[1:] {
		order, err := e.Compare(e.position(node), e.position(best))
		if err != nil {
			return "", fmt.Errorf("compare the data of %s and %s: %w", node, best, err)
		}
		if order == database.Greater || order == database.Equal && e.preferred(node, best) {
			best = node
		}
	}
	// Diverged ones are not ordered, so the winner of a row is not yet ahead of all.
	for _, node := range holders {
		order, err := e.Compare(e.position(best), e.position(node))
		if err != nil {
			return "", fmt.Errorf("compare the data of %s and %s: %w", best, node, err)
		}
		if order != database.Greater && order != database.Equal {
			return "", nil
		}
	}
	return best, nil
}

// preferred tells whether a is to begin rather than b when both have the same data.
func (e Evidence) preferred(a, b string) bool {
	if wa, wb := e.weight(a), e.weight(b); wa != wb {
		return wa > wb
	}
	if (a == e.Bootstrap.Node) != (b == e.Bootstrap.Node) {
		return a == e.Bootstrap.Node
	}
	return a < b
}

func (e Evidence) weight(node string) int {
	for _, m := range e.Members {
		if m.Node == node {
			return m.Weight
		}
	}
	return 0
}

// belowBase says what is wrong with beginning a life with a position: that the newest life which anybody knows of began with
// more. What only a leader had that the operator has given up is not asked for.
func (e Evidence) belowBase(position string, accepted []string) string {
	check := func(base, who string, incarnation uint64) string {
		order, err := e.Compare(position, base)
		switch {
		case err != nil:
			return fmt.Sprintf("compare with what life %d began with, as %s knows it: %v", incarnation, who, err)
		case order != database.Greater && order != database.Equal:
			return fmt.Sprintf("life %d of the group began with more data (%s, as %s knows) than any member has now (%s): data was lost or set back", incarnation, short(base), who, short(position))
		}
		return ""
	}
	if e.Journal.Base != "" && !slices.Contains(accepted, e.Journal.Leader) {
		if problem := check(e.Journal.Base, e.Self, e.Journal.Incarnation); problem != "" {
			return problem
		}
	}
	if len(accepted) > 0 {
		// Each of the others asks for its own.
		return ""
	}
	for _, node := range e.others() {
		if r, heard := e.Heard[node]; heard && r.Outage != nil && r.Outage.Base != "" {
			if problem := check(r.Outage.Base, node, r.Incarnation); problem != "" {
				return problem
			}
		}
	}
	return ""
}

// tellHere names members that are here and what they have.
func (e Evidence) tellHere(nodes, but []string) string {
	var out []string
	for _, node := range e.without(nodes, but) {
		text := node + " has " + short(e.position(node))
		if e.position(node) == "" {
			text = node + " has no data"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// sameProposal tells whether two proposals are the same one.
func sameProposal(a, b *spec.RecoveryProposal) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Incarnation == b.Incarnation && a.Leader == b.Leader && a.Position == b.Position && maps.Equal(a.Heard, b.Heard)
}
