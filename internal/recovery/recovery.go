// Package recovery decides when the group of a replicated database begins, who begins it, who joins it, and who restarts
// next. It is all decision and no act: what a member knows goes in as Evidence, what it is to do comes out.
//
// A group lives as long as a majority of it does, and that is the engine's to see to. Between two lives there is nobody who
// could decide, so the members do it together: when every voting member has been heard to be in no group, the one with the
// most data proposes to begin the next life, each other one promises on its disk to follow, and with all promises the one
// begins. Lives are numbered (incarnations), and each has one leader at most:
//
//   - A member is bound by one promise at a time. It is free of it only once the leader has said, later than it proposed,
//     something that shows that it has given the attempt up, or once the operator has given the leader up.
//   - A leader begins only what it proposes at that moment, under the outage ID by which the others heard it. Whatever ends its
//     being stranded (a restart of server or agent, a join) takes that ID away, and with it the proposal.
//   - What must not be forgotten is in the Journal, on the disk before the act that it is about.
//
// No clock and no age of a report is needed for that to be safe; fresh reports make it quick.
package recovery

import (
	"fmt"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Journal is what a member must not forget of a database. It is on the disk before anything that it is about is done or said.
type Journal struct {
	// Group is the group that the journal is about.
	Group string `json:"group"`
	// UsedEpoch is the last permission to begin the group out of nothing that was used, by whomever. Begun tells that this member
	// was in the group afterwards.
	UsedEpoch int  `json:"used_epoch,omitempty"`
	Begun     bool `json:"begun,omitempty"`
	// Incarnation is the newest life of the group that this member has begun or was part of.
	Incarnation uint64 `json:"incarnation,omitempty"`
	// Base is the position with which that life began, and Leader who began it; "" when that is not known.
	Base   string `json:"base,omitempty"`
	Leader string `json:"leader,omitempty"`
	// Joining is the life that this member went to join last. Once it is in a group, it is in that life or a newer one, even if
	// whoever told of it is gone by then.
	Joining uint64 `json:"joining,omitempty"`
	// Shared tells that another member ever had all data beside this one.
	Shared bool `json:"shared,omitempty"`
	// Promise is what this member has promised to follow, nil for nothing. PromiseSeen is the number of the leader's report that
	// proposed it: only later ones can end it.
	Promise     *spec.RecoveryProposal `json:"promise,omitempty"`
	PromiseSeen uint64                 `json:"promise_seen,omitempty"`
}

// Equal tells whether two journals say the same.
func (j Journal) Equal(k Journal) bool {
	if !sameProposal(j.Promise, k.Promise) {
		return false
	}
	j.Promise, k.Promise = nil, nil
	return j == k
}

// Voter is a voting member.
type Voter struct {
	Node   string
	Weight int
}

// Own is this member as it is.
type Own struct {
	// State is what the engine says; MemberStranded for a server that runs outside of any group, with data or not.
	State spec.MemberState
	// Fresh tells that the member has no data.
	Fresh bool
	// View is how the engine sees the members of the group, by node.
	View map[string]spec.MemberState
	// Position is the data that the member has, known while it is stranded.
	Position string
	// ID is the member's outage ID, "" while it is not stranded, and Proposal what it proposes under it.
	ID       string
	Proposal *spec.RecoveryProposal
}

// Report is what another member said of itself.
type Report struct {
	spec.DatabaseStatus
	// Sequence is the number of the report among its node's.
	Sequence uint64
	// Seen says for people when it was heard last.
	Seen string
}

// outside tells whether the member says that it is in no group.
func (r Report) outside() bool { return r.Outage != nil && r.Outage.ID != "" }

// short shortens a position for people; the whole one is in the status.
func short(position string) string {
	const most = 200
	if len(position) <= most {
		return position
	}
	return position[:most] + "…"
}

// lost tells whether the member was part of a life and has no data any more.
func (r Report) lost() bool {
	return r.outside() && r.State == spec.MemberPreparing && r.Incarnation > 0
}

// holder tells whether the member has data.
func (r Report) holder() bool { return r.outside() && r.State != spec.MemberPreparing }

// Evidence is everything that a member decides by.
type Evidence struct {
	// Database is the database's name.
	Database  string
	Self      string
	Votes     int
	Bootstrap spec.Bootstrap
	// Members are all voting members that this one knows of, itself among them, sorted by node.
	Members []Voter
	// Recovery is the operator's newest decision, nil for none.
	Recovery *spec.Recovery
	Journal  Journal
	Own      Own
	// Heard holds what other members say now, Known the last that was heard of those that say nothing, by node.
	Heard, Known map[string]Report
	// Compare returns how two positions relate.
	Compare func(a, b string) (database.Order, error)
}

// Action is what a member is to do.
type Action string

// The actions.
const (
	// Wait is to do nothing.
	Wait Action = "wait"
	// Bootstrap is to begin the group's first life.
	Bootstrap Action = "bootstrap"
	// Join is to join the group, which others are in.
	Join Action = "join"
	// Propose is to publish Decision.Proposal.
	Propose Action = "propose"
	// Promise is to publish the promise that is in Decision.Journal.
	Promise Action = "promise"
	// Begin is to begin the life that Decision.Journal names, with the data that the member has.
	Begin Action = "begin"
	// Withdraw is to take another outage ID, which takes the proposal back.
	Withdraw Action = "withdraw"
	// Leave is to leave the group.
	Leave Action = "leave"
)

// Reason is one word for why a member is not as it should be.
type Reason string

// The reasons.
const (
	ReasonWaiting    Reason = "Waiting"
	ReasonJoining    Reason = "Joining"
	ReasonBlocked    Reason = "Blocked"
	ReasonOutage     Reason = "Outage"
	ReasonDiverged   Reason = "Diverged"
	ReasonDataLost   Reason = "DataLost"
	ReasonServerDown Reason = "ServerDown"
)

// Decision is what a member is to do.
type Decision struct {
	Action Action
	// Journal is to be on the disk before anything else of the decision is done or said.
	Journal Journal
	// Proposal is what to publish.
	Proposal *spec.RecoveryProposal
	// Reason and Message say what the member waits for, for programs and for people; "" for nothing.
	Reason  Reason
	Message string
}

// Decide returns what a voting member is to do.
func Decide(e Evidence) Decision {
	e.Journal = e.released()
	switch e.Own.State {
	case spec.MemberOnline, spec.MemberRecovering:
		return e.inGroup()
	case spec.MemberBlocked:
		return e.blocked()
	case spec.MemberStranded:
		if e.Own.ID == "" {
			return e.wait(ReasonWaiting, "the server has just started")
		}
		return e.outside()
	case spec.MemberPreparing, spec.MemberFailed, spec.MemberDown, spec.MemberClientOnly:
	}
	return e.wait(ReasonServerDown, "the database server does not answer")
}

func (e Evidence) wait(reason Reason, message string) Decision {
	return Decision{Action: Wait, Journal: e.Journal, Proposal: e.Own.Proposal, Reason: reason, Message: message}
}

func (e Evidence) do(a Action) Decision { return Decision{Action: a, Journal: e.Journal} }

// inGroup keeps up with the life that the member is part of.
func (e Evidence) inGroup() Decision {
	j := e.Journal
	known := j.Joining
	for _, node := range e.others() {
		state, there := e.Own.View[node]
		if !there {
			continue
		}
		j.Shared = j.Shared || state == spec.MemberOnline
		if r, heard := e.Heard[node]; heard && r.State == spec.MemberOnline {
			known = max(known, r.Incarnation)
		}
	}
	switch {
	case e.newcomer():
		j.Joining = known
	case known > j.Incarnation:
		j.Incarnation, j.Base, j.Leader = known, "", ""
		if p := j.Promise; p != nil && p.Incarnation == known {
			j.Base, j.Leader = p.Position, p.Leader
		}
	}
	if j.Promise != nil && j.Promise.Incarnation <= j.Incarnation {
		j.Promise, j.PromiseSeen = nil, 0
	}
	// While there is a group, there is nothing to begin out of nothing, whoever was permitted to.
	j.Begun, j.UsedEpoch = true, max(j.UsedEpoch, e.Bootstrap.Epoch)
	e.Journal = j
	if e.overtaken() != "" {
		return Decision{
			Action: Leave, Journal: j, Reason: ReasonDiverged,
			Message: e.overtaken() + " is in a newer life of the group, which the operator has begun without this member",
		}
	}
	return e.do(Wait)
}

// newcomer tells whether this member, which is in a group, never had any data and has none yet. It is no part of the group's life before it
// has: what is acknowledged meanwhile is on the disk of whoever acknowledged it, and this member has lost nothing when it has to begin again.
func (e Evidence) newcomer() bool {
	return e.Own.State == spec.MemberRecovering && e.Own.Fresh && e.Journal.Incarnation == 0
}

// overtaken returns a member that is in a newer life of the group, in which this one has no part; "" for none. Whoever is in an
// old life must not take writes any more.
func (e Evidence) overtaken() string {
	for _, node := range e.others() {
		r, heard := e.Heard[node]
		_, mine := e.Own.View[node]
		_, theirs := r.View[e.Self]
		if !heard || mine || theirs || r.State != spec.MemberOnline {
			continue
		}
		given := e.Recovery != nil && e.Recovery.Incarnation == r.Incarnation && slices.Contains(e.Recovery.AcceptLossFrom, e.Self) &&
			!slices.Contains(e.Recovery.AcceptLossFrom, node)
		if r.Incarnation > e.Journal.Incarnation || given && r.Incarnation == e.Journal.Incarnation {
			return node
		}
	}
	return ""
}

// blocked is for a member that sees less than a majority of its group.
func (e Evidence) blocked() Decision {
	for _, node := range e.others() {
		r, heard := e.Heard[node]
		if _, counted := r.View[e.Self]; heard && r.State == spec.MemberOnline && r.Primary != "" && !counted {
			return e.do(Leave)
		}
	}
	accepted := e.accepted()
	var missing []string
	for _, node := range e.others() {
		r, heard := e.Heard[node]
		if !slices.Contains(accepted, node) && (!heard || !r.outside() && r.State != spec.MemberBlocked) {
			missing = append(missing, node)
		}
	}
	if len(e.Members) == e.Votes && len(missing) == 0 && !slices.Contains(accepted, e.Self) {
		return e.do(Leave)
	}
	return e.wait(ReasonBlocked, "sees less than a majority of the group, so it takes no writes; it goes on when enough of the others are back: "+
		e.tell(missing))
}

// outside is for a member that is in no group.
func (e Evidence) outside() Decision {
	e.Journal = e.arrived()
	if d, decided := e.join(); decided {
		return d
	}
	if d, decided := e.first(); decided {
		return d
	}
	return e.outage()
}

// arrived returns the journal of a member that has data and went to join a life: it may have been in it, if only for a moment, and
// what it has may go on in it in any case.
func (e Evidence) arrived() Journal {
	j := e.Journal
	if e.Own.Fresh || j.Joining <= j.Incarnation {
		return j
	}
	j.Incarnation, j.Base, j.Leader = j.Joining, "", ""
	if p := j.Promise; p != nil && p.Incarnation == j.Joining {
		j.Base, j.Leader = p.Position, p.Leader
	}
	return j
}

// join decides whether there is a group to join.
func (e Evidence) join() (Decision, bool) {
	least := e.Journal.Incarnation
	if e.Journal.Promise != nil {
		least = max(least, e.Journal.Promise.Incarnation)
	}
	older := ""
	for _, node := range e.others() {
		r, heard := e.Heard[node]
		switch {
		case !heard || r.State != spec.MemberOnline:
		case r.Incarnation >= max(least, 1) && e.missed(r.Incarnation):
			return e.hold(ReasonDiverged, e.tellMissed(r.Incarnation)), true
		case r.Incarnation >= max(least, 1):
			e.Journal.Joining = r.Incarnation
			return Decision{Action: Join, Journal: e.Journal, Reason: ReasonJoining, Message: "joins the group that " + node + " is in"}, true
		default:
			older = node
		}
	}
	if older == "" {
		return Decision{}, false
	}
	if e.Own.Proposal != nil {
		return e.do(Withdraw), true
	}
	return e.wait(ReasonWaiting, older+" is in an older life of the group than this member knows of, and has to leave it first"), true
}

// others returns the other voting members.
func (e Evidence) others() []string {
	var out []string
	for _, m := range e.Members {
		if m.Node != e.Self {
			out = append(out, m.Node)
		}
	}
	return out
}

// tell names members and what was last heard of each.
func (e Evidence) tell(nodes []string) string {
	texts := make([]string, len(nodes))
	for i, node := range nodes {
		texts[i] = node + " (" + e.lastHeard(node) + ")"
	}
	return strings.Join(texts, ", ")
}

func (e Evidence) lastHeard(node string) string {
	r, heard := e.Heard[node]
	if !heard {
		var known bool
		if r, known = e.Known[node]; !known {
			return "never heard of"
		}
	}
	var parts []string
	if r.State == "" {
		parts = append(parts, "says nothing of this database")
	} else {
		parts = append(parts, string(r.State))
	}
	if r.Position != "" {
		parts = append(parts, "position "+short(r.Position))
	}
	if r.lost() {
		parts = append(parts, "its data is gone")
	}
	if heard && r.missed(e.newest(e.accepted())) {
		parts = append(parts, fmt.Sprintf("its data is of life %d", r.Incarnation))
	}
	if r.Seen != "" {
		parts = append(parts, "last seen "+r.Seen)
	}
	return strings.Join(parts, ", ")
}
