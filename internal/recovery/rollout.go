package recovery

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// maxLag is how far behind, in seconds, a member may be while another one restarts: it may have to take over.
const maxLag = 10

// RolloutEvidence is what the primary gives turns by, and a member takes its turn by.
type RolloutEvidence struct {
	Self    string
	Votes   int
	Members []Voter
	// Own is this member's status, with what it said of the rollout last; Heard is what the others say.
	Own   spec.DatabaseStatus
	Heard map[string]Report
	// Late tells that the member whose turn it is has had all the time that it may take.
	Late bool
}

// RolloutStep is what comes next in a change that restarts members.
type RolloutStep struct {
	// Turn, TurnFor and Stopped are for the primary to publish.
	Turn, TurnFor, Stopped string
	// SwitchOver is the member that the primary hands over to, so that it can be restarted itself.
	SwitchOver string
}

func outdated(r spec.RolloutStatus) bool { return r.Running != r.Wanted }

func (e RolloutEvidence) status(node string) (spec.DatabaseStatus, bool) {
	if node == e.Self {
		return e.Own, true
	}
	r, heard := e.Heard[node]
	return r.DatabaseStatus, heard
}

// Rollout returns what the primary does about a change that restarts members. One member at a time has a turn, and only while
// all of them are online; the primary comes last, as no primary any more. It is the group's own agreement on who is primary
// that makes one member give turns.
func Rollout(e RolloutEvidence) RolloutStep {
	last := e.Own.Rollout
	keep := RolloutStep{Turn: last.Turn, TurnFor: last.TurnFor, Stopped: last.Stopped}
	if s, heard := e.status(last.Turn); last.Turn != "" {
		back := heard && s.State == spec.MemberOnline
		switch {
		case !slices.ContainsFunc(e.Members, func(m Voter) bool { return m.Node == last.Turn }):
			// It is no member any more.
			keep = RolloutStep{}
		case back && !outdated(s.Rollout):
			keep = RolloutStep{}
		case back && s.Rollout.Wanted != last.TurnFor:
			// The change was changed: its turn is over, and the rollout begins anew.
			keep = RolloutStep{}
		case e.Late && keep.Stopped == "":
			keep.Stopped = stopped(last.Turn, s, heard)
			return keep
		default:
			return keep
		}
	}
	if len(e.Members) != e.Votes {
		return keep
	}
	var waiting, done []Voter
	for _, m := range e.Members {
		s, heard := e.status(m.Node)
		// A member that was not told of the change yet only looks as if it were done.
		if !heard || s.State != spec.MemberOnline || s.Lag > maxLag || s.Rollout.Generation != last.Generation {
			return keep
		}
		switch {
		case m.Node == e.Self:
		case outdated(s.Rollout):
			waiting = append(waiting, m)
		default:
			done = append(done, m)
		}
	}
	// Those that are to be primary come last, so that the one that takes over has been restarted already.
	slices.SortFunc(waiting, func(a, b Voter) int {
		if first := cmp.Compare(turnFirst(b, last), turnFirst(a, last)); first != 0 {
			return first
		}
		return cmp.Or(cmp.Compare(a.Weight, b.Weight), cmp.Compare(a.Node, b.Node))
	})
	switch {
	case len(waiting) > 0:
		s, _ := e.status(waiting[0].Node)
		return RolloutStep{Turn: waiting[0].Node, TurnFor: s.Rollout.Wanted}
	case outdated(e.Own.Rollout) && len(done) > 0:
		best := slices.MaxFunc(done, func(a, b Voter) int {
			return cmp.Or(cmp.Compare(a.Weight, b.Weight), cmp.Compare(b.Node, a.Node))
		})
		return RolloutStep{SwitchOver: best.Node}
	}
	return RolloutStep{}
}

// Successor returns the member that a primary which is unfit hands over to: the preferred one of those that are online, fit and
// not behind; "" for none.
func Successor(e RolloutEvidence) string {
	var best *Voter
	for _, m := range e.Members {
		s, heard := e.status(m.Node)
		if m.Node == e.Self || !heard || s.State != spec.MemberOnline || s.Unfit != "" || s.Lag > maxLag || e.Own.View[m.Node] != spec.MemberOnline {
			continue
		}
		if best == nil || m.Weight > best.Weight {
			best = &m
		}
	}
	if best == nil {
		return ""
	}
	return best.Node
}

// turnFirst is 1 for the member whose turn it was last.
func turnFirst(m Voter, last spec.RolloutStatus) int {
	if m.Node == last.Turn {
		return 1
	}
	return 0
}

func stopped(node string, s spec.DatabaseStatus, heard bool) string {
	how := "nothing is heard of it"
	if heard {
		how = "it is " + string(s.State)
		if s.Problem != "" {
			how += ": " + s.Problem
		}
	}
	return fmt.Sprintf("%s did not come back with the new settings in time (%s). No other member is restarted; mend it, or take the change back", node, how)
}

// MayRestart tells whether it is this member's turn to restart. It looks for itself whether all others are there.
func MayRestart(e RolloutEvidence) bool {
	if !outdated(e.Own.Rollout) || e.Own.State != spec.MemberOnline || e.Own.Writable || len(e.Members) != e.Votes {
		return false
	}
	for _, m := range e.Members {
		if e.Own.View[m.Node] != spec.MemberOnline {
			return false
		}
	}
	primary, heard := e.Heard[e.Own.Primary]
	return heard && primary.Writable && primary.Rollout.Turn == e.Self && primary.Rollout.TurnFor == e.Own.Rollout.Wanted && primary.Rollout.Stopped == ""
}
