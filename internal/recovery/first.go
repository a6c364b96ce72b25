package recovery

import (
	"fmt"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// first decides about the group's first life. It takes every voting member to say that it has no data: a machine that was
// made again has no journal, and must not begin a second group beside the one that it has forgotten.
func (e Evidence) first() (Decision, bool) {
	j := e.Journal
	unfinished := j.Incarnation == 1 && j.UsedEpoch == e.Bootstrap.Epoch && !j.Begun && !j.Shared && e.Own.Fresh && e.Bootstrap.Node == e.Self
	if j.Incarnation > 0 && !unfinished {
		return Decision{}, false
	}
	var missing []string
	for _, node := range e.others() {
		r, heard := e.Heard[node]
		switch {
		case heard && r.Incarnation > 0:
			return Decision{}, false
		case !heard || !r.outside() || r.State != spec.MemberPreparing:
			missing = append(missing, node)
		}
	}
	switch {
	case !e.Own.Fresh:
		return e.wait(ReasonWaiting, "has data, and no life of the group is known that it could be of; nothing of it is touched: move it aside to let this member begin anew"), true
	case e.Bootstrap.Node != e.Self:
		return e.wait(ReasonWaiting, fmt.Sprintf("waits for %s to begin the group", e.Bootstrap.Node)), true
	case len(e.Members) != e.Votes:
		return e.wait(ReasonWaiting, fmt.Sprintf("begins the group once all %d voting members are described; %d are", e.Votes, len(e.Members))), true
	case len(missing) > 0:
		return e.wait(ReasonWaiting, "begins the group once all voting members say that they are ready; not yet: "+e.tell(missing)), true
	case unfinished:
		return e.do(Bootstrap), true
	case e.Bootstrap.Epoch <= j.UsedEpoch:
		return e.wait(ReasonWaiting, fmt.Sprintf("has used permission %d to begin the group already, and needs another one: increase the database's bootstrap epoch", j.UsedEpoch)), true
	}
	j.UsedEpoch, j.Begun, j.Incarnation, j.Base, j.Leader, j.Joining, j.Shared = e.Bootstrap.Epoch, false, 1, "", e.Self, 0, false
	e.Journal = j
	return e.do(Bootstrap), true
}
