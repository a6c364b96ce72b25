package recovery

import (
	"fmt"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// first decides about beginning the group out of nothing. Only the member that has the permission does it, and only once every
// voting member has promised to follow, each of which has no data itself: a machine that was made again has no journal, and must
// not begin a second group beside the one that it has forgotten, by whatever old reports others still have.
func (e Evidence) first() (Decision, bool) {
	j := e.Journal
	if !e.Own.Fresh {
		if j.Incarnation > 0 || e.livesElsewhere() {
			return Decision{}, false
		}
		return e.hold(ReasonWaiting, "has data, and no life of the group is known that it could be of; nothing of it is touched: move it aside to let this member begin anew"), true
	}
	if !e.permitted() || e.livesElsewhere() {
		return Decision{}, false
	}
	if d, decided := e.follow(nil); decided {
		return d, true
	}
	var missing []string
	for _, node := range e.others() {
		if r, heard := e.Heard[node]; !heard || !r.outside() {
			missing = append(missing, node)
		}
	}
	switch {
	case e.Bootstrap.Node != e.Self:
		return e.hold(ReasonWaiting, fmt.Sprintf("waits for %s to begin the group", e.Bootstrap.Node)), true
	case len(e.Members) != e.Votes:
		return e.hold(ReasonWaiting, fmt.Sprintf("begins the group once all %d voting members are described; %d are", e.Votes, len(e.Members))), true
	case len(missing) > 0:
		return e.hold(ReasonWaiting, "begins the group once all voting members say that they are ready; not yet: "+e.tell(missing)), true
	}
	d, all := e.gather(e.needed(nil), nil)
	if !all {
		return d, true
	}
	j.UsedEpoch, j.Begun, j.Shared = e.Bootstrap.Epoch, false, false
	j.Incarnation, j.Base, j.Leader, j.Joining = e.Own.Proposal.Incarnation, "", e.Self, 0
	e.Journal = j
	return e.do(Bootstrap), true
}

// permitted tells whether the group may begin out of nothing as far as this member is concerned: it was never in one, or the
// operator has given another permission since.
func (e Evidence) permitted() bool {
	return !e.Journal.Begun || e.Bootstrap.Epoch > e.Journal.UsedEpoch
}

// livesElsewhere tells whether some member has data of a life, or is in one.
func (e Evidence) livesElsewhere() bool {
	return slices.ContainsFunc(e.others(), func(node string) bool {
		r, heard := e.Heard[node]
		return heard && (r.holder() || r.Incarnation > 0 && !r.outside() || r.State == spec.MemberOnline)
	})
}
