package pairs

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// turns are those that two pairs of a tree take on this node, which leads neither. As each node of a star other than the centre and its backup is joined to
// one of these two at any time, and they to each other by a pair of their own, no circle ever comes about, whatever nodes think of each other.
type turns struct {
	// away tells that the standby pair is to carry changes over, and since is from when on it has done so.
	away  bool
	since time.Time
	// until is since when the reason for a change has lasted, zero while there is none.
	until time.Time
	// dead is when the centre was found dead last, and caught tells that it has had everything from its backup since.
	dead   time.Time
	caught bool
	// fresh tells that the node has just started, or found its cluster again, and that the centre has not been reached since, and began since when that is so:
	// others may have gone on with the backup long ago, and what they have is to be here before the node serves.
	fresh bool
	began time.Time
}

// freshFor is how long a node may take to reach the centre after its start until it goes by what it finds in the long run.
const freshFor = 20 * time.Second

// lately is how long before a report both sides of a pair may have been found equal last for it to have been after the centre's return: it was away for longer.
const lately = 5 * time.Second

// decide finds out whose turn it is to be.
func (t *turns) decide(of topology.Turns, sight Sight, standby replication.Status, now time.Time) {
	gone, back := sight.Gone(of.Centre), sight.Gone(of.Backup)
	if gone {
		t.dead, t.caught = now, false
	}
	reason := false
	switch {
	case !t.away:
		// One that stands without its cluster is the one that is away.
		reason = gone && !sight.Lost && sight.Reaches(of.Backup)
	case !sight.Reaches(of.Centre) || gone:
	case back && !sight.Reaches(of.Backup):
		reason = true
	default:
		// What the centre has missed it gets from its backup. By then nothing that either of them says may be of the time before.
		centre, backup := sight.Statuses[of.Centre].Pairs[of.Trunk], sight.Statuses[of.Backup].Pairs[of.Trunk]
		news := sight.Received[of.Centre].After(t.dead) && sight.Received[of.Backup].After(t.dead)
		// Where somebody writes all the time, there are changes on their way at each look, and both sides are found equal again and again in between. When that was,
		// and when the centre said so, is by the centre's clock, where it leads.
		ago := sight.Statuses[of.Centre].Reported.Sub(centre.Synced)
		equal := centre.State == spec.PairSynced || 0 <= ago && ago < lately
		t.caught = news && (t.caught || equal) && working(centre.State) && working(backup.State)
		reason = t.caught && working(standby.State)
	}
	switch {
	case !reason:
		t.until = time.Time{}
	case t.until.IsZero():
		t.until = now
	}
	if reason && (t.fresh && !t.away || now.Sub(t.until) >= time.Duration(of.After)*time.Second) {
		t.away, t.fresh, t.until = !t.away, false, time.Time{}
	}
}

// working tells whether changes of a side go to the other one.
func working(s spec.PairState) bool { return s == spec.PairSynced || s == spec.PairSyncing }

// takeTurns has those of this node's pairs carry changes over whose turn it is. Found is what their drivers say of them, in the order of the pairs.
func (m *Manager) takeTurns(ctx context.Context, sight Sight, found []replication.Status) {
	kept := map[string]*turns{}
	for i, p := range sight.Pairs {
		if p.Turns == nil || p.Turns.Standby != p.Name || p.Leads() {
			continue
		}
		home := -1
		for j, other := range sight.Pairs {
			if other.Name == p.Turns.Home {
				home = j
			}
		}
		if home < 0 || found[i].Started.IsZero() || found[home].Started.IsZero() {
			if t := m.turns[p.Name]; t != nil {
				kept[p.Name] = t
			}
			continue
		}
		t := m.turns[p.Name]
		if t == nil {
			// What ran before this agent did goes on.
			t = &turns{away: !found[i].Resting, fresh: found[i].Resting && found[home].Resting, began: time.Now()}
		}
		kept[p.Name] = t
		t.fresh = t.fresh && !working(found[home].State) && time.Since(t.began) < freshFor
		if sight.Lost && !t.away {
			t.fresh, t.began = true, time.Now()
		}
		before := t.away
		t.decide(*p.Turns, sight, found[i], time.Now())
		if t.away != before {
			m.cfg.Log.Warn("another pair is to carry changes over", "pair", p.Name, "stands_in", t.away, "for", p.Turns.Centre, "with", p.Turns.Backup)
		}
		m.turn(ctx, t, sight.Pairs[i], found[i], sight.Pairs[home], found[home])
	}
	m.turns = kept
}

// turn has one of two pairs rest, and then the other one carry changes over. Never do both.
func (m *Manager) turn(ctx context.Context, t *turns, standby topology.Pair, standbyNow replication.Status, home topology.Pair, homeNow replication.Status) {
	from, fromNow, to, toNow := standby, standbyNow, home, homeNow
	if t.away {
		from, fromNow, to, toNow = home, homeNow, standby, standbyNow
	}
	told, carry := from, false
	switch {
	case !fromNow.Resting:
	case toNow.Resting:
		told, carry = to, true
	default:
		switch {
		case !t.away:
			t.since = time.Time{}
		case t.since.IsZero():
			t.since = m.cfg.Now().UTC()
		}
		return
	}
	driver := m.cfg.Drivers[told.Driver]
	if driver == nil {
		return
	}
	if err := driver.Turn(ctx, told.Name, carry); err != nil {
		m.cfg.Log.Warn("a pair cannot be told whose turn it is", "pair", told.Name, "error", err)
	}
}

// excused tells whether nothing need be found equal by a pair, since it is another one's turn: on the node that decides by its own decision, and on one that leads
// by what it was told.
func (m *Manager) excused(p topology.Pair, now replication.Status) bool {
	switch {
	case !p.Alternates():
		return false
	case p.Leads() || p.Turns == nil:
		return now.Resting
	}
	t := m.turns[p.Turns.Standby]
	return t != nil && !t.fresh && t.away == (p.Turns.Home == p.Name)
}

// standIn says of a side which takes turns how it does.
func (m *Manager) standIn(p topology.Pair, said *spec.PairStatus) {
	switch {
	case p.Standby != nil && p.Turns == nil:
		said.Warning = cmp.Or(said.Warning, fmt.Sprintf("it can stand in for %s only once that leads a pair of this tree with each of %s and %s", p.Standby.For, p.Leader, follower(p)))
	case p.Turns != nil && p.Turns.Standby == p.Name && !p.Leads():
		if t := m.turns[p.Name]; t != nil {
			said.StandsIn = t.since
		}
	}
}

// follower is the node of a pair that does not lead it.
func follower(p topology.Pair) string {
	for _, node := range p.Nodes() {
		if node != p.Leader {
			return node
		}
	}
	return ""
}
