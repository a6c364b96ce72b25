package pairs

import (
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

const (
	// cutFor is how long a node must have been cut off from its cluster until it counts as behind. By then both sides have noticed, so that
	// nothing that either of them says afterwards is of the time before.
	cutFor = 15 * time.Second
	// unseen is how long after the end of a maintenance what was changed before may still be unknown to the pair's programs.
	unseen = 2 * time.Second
	// reunion is how long after it has found its cluster again a node may take to reach all of it: the other node of a pair is not dead because
	// a third one was reached first.
	reunion = 10 * time.Second
	// deadFor is how long the other node must be dead until this one's files are what there is.
	deadFor = 30 * time.Second
	// linkPatience is how long a node waits for a stream to another one that it reaches until it serves without.
	linkPatience = 30 * time.Second
	// roomPatience is how long a node waits for changes that have no room anywhere until it serves without.
	roomPatience = 5 * time.Minute
)

// debt is what a side owes.
type debt struct {
	owes spec.PairDebt
	// held tells that the reason for it was still there at the last look.
	held bool
	// released tells that it was gone at the last look: others have to hear of that, since what they said before does not count.
	released bool
	// lost is when the node did not stand with half of its cluster last.
	lost time.Time
	// order is the last order to enter or leave maintenance.
	order uint64
	// cut is since when the node is cut off, as far as the pair matters; zero while it is not.
	cut time.Time
	// possible is since when the other side can be found equal: its node answers, and it has not failed. Zero while it cannot.
	possible time.Time
	// dead is since when the other node is, zero while it is not.
	dead time.Time
	// short is since when changes have no room on one of the sides, zero while they have.
	short time.Time
	// grace tells that the side was well when it failed.
	grace bool
}

// owe notes what a side owes, and tells whether it has to be found equal anew.
func (s *side) owe(p topology.Pair, now replication.Status, sight Sight) (anew bool) {
	first, before, held := s.since.IsZero(), s.owes, s.held
	switch {
	case !sight.Lost || sight.Reaches(p.Peer.Node):
		// As long as it reaches the one other node that writes to the tree it misses nothing.
		s.cut = time.Time{}
	case s.cut.IsZero():
		s.cut = time.Now()
	}
	switch {
	case !possible(p, sight, now.Full):
		s.possible = time.Time{}
	case s.possible.IsZero():
		s.possible = time.Now()
	}
	switch {
	case !sight.Dead(p.Peer.Node):
		s.dead = time.Time{}
	case s.dead.IsZero():
		s.dead = time.Now()
	}
	switch {
	case !now.Short && (p.Leads() || !sight.Statuses[p.Peer.Node].Pairs[p.Name].Short):
		s.short = time.Time{}
	case s.short.IsZero():
		s.short = time.Now()
	}
	cut := !s.cut.IsZero() && time.Since(s.cut) >= cutFor
	// What has failed for long has brought nothing over meanwhile, and its node was out of service.
	broken := now.State == spec.PairFailed && !s.failed.IsZero() && time.Since(s.failed) >= failurePatience
	if sight.Lost {
		s.lost = time.Now()
	}
	ordered := !first && sight.Order != s.order
	s.order = sight.Order
	restarted := first || broken || ordered || !now.Started.Equal(s.started)
	switch {
	case sight.Away, ordered:
		s.owes = spec.PairOwesMaintenance
	case cut:
		s.owes = graver(s.owes, spec.PairOwesCut)
	case restarted:
		s.owes = graver(s.owes, spec.PairOwesStart)
	}
	s.held = sight.Away || cut
	s.released = (held || ordered) && !s.held
	if now.State == spec.PairFailed && s.said.State != spec.PairFailed {
		s.grace = first || before == ""
	}
	return restarted || held || s.held
}

// complete tells that neither side has changes that the other has not seen, nor a command to run after such, by what both say since the debt began: the one
// that leads does not know of those that wait at the other. That the other's command fails keeps the other from serving, and not this one.
func (s *side) complete(p topology.Pair, now replication.Status, sight Sight) bool {
	peer := sight.Statuses[p.Peer.Node].Pairs[p.Name]
	return time.Since(s.since) >= unseen && now.Pending == 0 && peer.Pending == 0 && now.After.Rests() && (peer.After.Rests() || peer.After.State == spec.AfterFailed) && sight.Received[p.Peer.Node].After(s.since)
}

// graver returns the graver one of two debts.
func graver(a, b spec.PairDebt) spec.PairDebt {
	order := []spec.PairDebt{"", spec.PairOwesStart, spec.PairOwesCut, spec.PairOwesMaintenance}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

// settle pays a debt whose reason is over. Equal tells that the sides were found equal since then. Where the other node is dead what this one
// has is what the cluster has, and it is the other one that is behind when it comes back. So it is for a node that has lost its cluster when the
// other one has been down meanwhile: not this one was cut off, the others were dead.
func (s *side) settle(p topology.Pair, sight Sight, equal bool) {
	alone := !s.dead.IsZero() && time.Since(s.dead) >= deadFor
	survived := s.owes == spec.PairOwesCut && sight.Reaches(p.Peer.Node) && sight.Received[p.Peer.Node].After(s.since) &&
		sight.Statuses[p.Peer.Node].Pairs[p.Name].Owes == spec.PairOwesStart
	if !s.held && (equal || alone || survived) {
		s.owes = ""
	}
}

// possible tells whether the other side can be found equal with this one: one that is dead, or has failed, cannot, and neither can one that
// has no room, unless this one is full, too.
func possible(p topology.Pair, sight Sight, full bool) bool {
	peer := sight.Statuses[p.Peer.Node].Pairs[p.Name]
	return sight.Reaches(p.Peer.Node) && peer.State != spec.PairFailed && (full || !peer.Full)
}

// Fitness is what a node's sides of pairs have to say on whether it may serve.
type Fitness struct {
	// Problem keeps the node from serving, "" for nothing, in words for strangers.
	Problem string
	// Barred tells that this holds also where too few nodes would be left.
	Barred bool
	// None tells that the node has no pairs.
	None bool
}

// Health returns what keeps the node from serving. A node whose other side is dead goes on: were it not so, one death would take both out
// of service. A node that has just started, was cut off, or came out of maintenance, first has to have what the other side has.
func (m *Manager) Health() Fitness {
	sight := m.cfg.See()
	m.mu.Lock()
	defer m.mu.Unlock()
	out := Fitness{None: len(sight.Pairs) == 0}
	for _, p := range sight.Pairs {
		s := m.sides[p.Name]
		if s == nil {
			// What an earlier start of the agent found is not known any more; it is within a second.
			if out.Problem == "" && time.Since(m.began) >= settling {
				out.Problem = p.Name + ": not looked at"
			}
			continue
		}
		if sight.Away || sight.Order != s.order {
			// Nobody has looked since.
			s.owes, s.held = spec.PairOwesMaintenance, true
		}
		if sight.Away && s.equal {
			continue
		}
		if sight.Lost {
			s.lost = time.Now()
		}
		possible := possible(p, sight, s.said.Full) || !sight.Lost && time.Since(s.lost) < reunion
		problem := s.hinders(possible, sight.Statuses[p.Peer.Node].Pairs[p.Name].Full)
		if problem == "" {
			continue
		}
		barred := s.owes == spec.PairOwesMaintenance && possible
		if out.Problem == "" || barred && !out.Barred {
			out.Problem, out.Barred = p.Name+": "+problem, barred
		}
	}
	return out
}

// hinders returns what keeps the node from serving with the side, "" for nothing. Possible tells whether the other side can be found equal
// with it, and full that it has no room.
func (s *side) hinders(possible, full bool) string {
	const waits = "not synchronized yet"
	switch s.said.State {
	case spec.PairFailed:
		if !s.failed.IsZero() && time.Since(s.failed) >= failurePatience {
			return "failed"
		}
		if s.grace && graver(s.owes, spec.PairOwesStart) == spec.PairOwesStart {
			return ""
		}
	case spec.PairDisconnected:
		// Were it for longer, something else is wrong than that both have to find each other again.
		if time.Since(s.possible) >= linkPatience && time.Since(s.since) >= linkPatience {
			return ""
		}
	case spec.PairStarting, spec.PairSyncing, spec.PairSynced, spec.PairStandingBy:
	}
	if s.owes == "" || !possible {
		return ""
	}
	// Of two sides of which this one alone has no room, this is the one to wait.
	if !s.short.IsZero() && (!s.said.Full || full) && time.Since(s.short) >= roomPatience && time.Since(s.since) >= roomPatience {
		return ""
	}
	return waits
}
