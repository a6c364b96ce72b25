package recovery

import (
	"fmt"
	"slices"
)

// Engines number what is written one after another, in every life of the group from where that began. A member that was given up by
// the operator may have written more in its last life, under numbers that the next life gives to other writes: by its position it
// then looks as if it had nothing but what the others have. So data of a life that ended without a member is no data of the next
// one, whatever the positions say.
//
// Every member but those that were given up has promised to follow into a life before that begins, or has begun it. So a member
// knows by its journal whether a life began without it.

// missed tells whether that life began without this member, which has data of an earlier one, or of one that it does not know. Data
// of the first life cannot be of an earlier one.
//
// A member that the operator has given up is in no earlier life either: who says so may have said it before the one that began without
// it, and there is only one group to join.
func (e Evidence) missed(life uint64) bool {
	j := e.Journal
	life = max(life, e.givenUpIn())
	promised := j.Promise != nil && j.Promise.Incarnation >= life
	return !e.Own.Fresh && life > 1 && life > j.Incarnation && life != j.Joining && !promised
}

// givenUpIn returns the life that is to begin without this member by the operator's decision, 0 when there is none since the last one
// that the member was part of.
func (e Evidence) givenUpIn() uint64 {
	if r := e.Recovery; r != nil && slices.Contains(r.AcceptLossFrom, e.Self) && r.Incarnation > e.Journal.Incarnation {
		return r.Incarnation
	}
	return 0
}

// missed is Evidence.missed for another member, as far as it says: it is in no group and has data.
func (r Report) missed(life uint64) bool {
	promised := r.Outage != nil && r.Outage.Promise != nil && r.Outage.Promise.Incarnation >= life
	return r.holder() && life > 1 && life > r.Incarnation && !promised
}

// newest returns the newest life that this member, or another one that is heard and was not given up, was part of.
func (e Evidence) newest(accepted []string) uint64 {
	newest := e.Journal.Incarnation
	for _, node := range e.needed(accepted) {
		if r, heard := e.Heard[node]; heard && node != e.Self {
			newest = max(newest, r.Incarnation)
		}
	}
	return newest
}

func (e Evidence) tellMissed(life uint64) string {
	life = max(life, e.givenUpIn())
	return fmt.Sprintf("has transactions of life %d of the group, and life %d began without this member, by the operator's decision: what it has may be numbered like what others "+
		"have written since, so that nobody can tell it apart; nothing of it is thrown away by itself: save what is needed of it, then remove the member, move its data aside and add it again",
		e.Journal.Incarnation, life)
}
