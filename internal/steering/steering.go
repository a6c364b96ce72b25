// Package steering decides which direct links of the mesh a node leaves alone, because packets get lost on them and another way was
// measured to be better, and when it takes them up again.
//
// It is pure: no I/O, no clock, no chance. What it has decided before is part of what it is given, so an agent that starts again
// goes on where it was.
//
// The cost of a link is the time that a packet and its answer take over it, as the expected transmission count (ETX, De Couto
// et al. 2003) has it: half a round trip each way, and for what gets lost the time until it is sent again. A link is left when it loses packets
// and a detour by one other node costs clearly less. It is taken up again when it has been well for a while, which becomes longer each
// time that it turns bad again, or at once when the detour is no better any more. It is never left when there is no detour,
// and taken up again when the peer cannot be reached in spite of one.
package steering

import (
	"maps"
	"math"
	"slices"
	"time"
)

// Pair is a direction: from one node to another.
type Pair struct{ From, To string }

// Quality is how packets fare in one direction between two nodes' public addresses.
type Quality struct {
	// Known tells whether anything is known of it. What is not known is neither left nor part of a detour.
	Known bool
	// Dead tells that nothing arrives.
	Dead bool
	// Fast, Mid and Slow are the share of packets that are lost, from 0 to 1, of the last ten packets, the last thirty and the last hundred.
	Fast, Mid, Slow float64
	// RTT is a round trip.
	RTT time.Duration
}

// Input is what is known at one time.
type Input struct {
	Self string
	Now  time.Time
	// Peers are the other nodes.
	Peers []string
	// Links are the directions between nodes.
	Links map[Pair]Quality
	// Direct holds the directions in which the mesh takes the direct way. Those of this node are not asked for.
	Direct map[Pair]bool
	// Reachable holds the peers that answer over the mesh now.
	Reachable map[string]bool
}

// Why says for what a link was left, or taken up again.
type Why string

// The reasons.
const (
	// Lossy: packets get lost, and the detour is better. Dead: nothing arrives.
	Lossy Why = "lossy"
	Dead  Why = "dead"
	// Well: the link has been well for long enough. Worse: the detour is not better any more. NoDetour: there is none any more. InVain: the
	// peer was not reached by the detour.
	Well     Why = "well"
	Worse    Why = "detour worse"
	NoDetour Why = "no detour"
	InVain   Why = "in vain"
)

// Link is what was decided of the link to one peer.
type Link struct {
	// Away tells that the link is left alone, Via is the detour by which it costs less.
	Away bool   `json:"away,omitempty"`
	Via  string `json:"via,omitempty"`
	// Why and Since belong to the last decision.
	Why   Why       `json:"why"`
	Since time.Time `json:"since"`
	// Hold is how long the link must have been left, or taken up again in vain, before it is decided anew.
	Hold time.Duration `json:"hold"`
	// Lacking is since when no detour was found for a link that is left alone.
	Lacking time.Time `json:"lacking,omitzero"`
}

// State is what was decided of the links to peers; those that were never left are not in it.
type State map[string]Link

// Change is one decision that is new.
type Change struct {
	Peer string
	Link
}

const (
	// hop is what one node more on the way costs, beside the time of its links.
	hop = 2 * time.Millisecond
	// resend is what a lost packet costs: TCP's shortest patience is 200 ms and a second loss in a row doubles it; it halves its rate
	// as well.
	resend = time.Second
	// A link is lossy from lossyFast and lossyMid on, which are two packets of the last ten and four of the last thirty in both directions together,
	// or lossySlow, which are three of the last hundred in one. Two of ten alone happen by chance every half minute where one packet in a hundred
	// gets lost.
	lossyFast = 0.15
	lossyMid  = 0.12
	lossySlow = 0.03
	// It is well below wellBelow.
	wellBelow = 0.02
	// A detour must cost less than 1/clearly of the link, and margin less.
	clearly = 1.5
	margin  = 20 * time.Millisecond
	// A link is left for at least holdFirst, twice as long each time that it is left again within forget of its return, and at most holdMost.
	holdFirst = 30 * time.Second
	holdMost  = 10 * time.Minute
	forget    = 10 * time.Minute
	// settle is how long a detour may take to work.
	settle = 4 * time.Second
	// noDetour is how long there must be no detour: a third node's connection that is made anew takes a moment.
	noDetour = 1500 * time.Millisecond
)

// Cost returns what both directions of a link cost, math.MaxInt64 for one that does not work or is not known.
func Cost(there, back Quality) time.Duration {
	return cost(there, back, func(q Quality) float64 { return max(q.Fast, q.Slow) })
}

// lasting is the loss of a direction by its slower averages: what the fast one says beyond them may be chance.
func lasting(q Quality) float64 { return max(q.Mid, q.Slow) }

// atWorst is the loss of a direction of a detour, of which there may be many: where all links lose packets, the best of them is the one
// that chance has been kind to. Hence the standard error of what was measured is added.
func atWorst(q Quality) float64 {
	const least, packets = 0.005, 200 // an average of weight 1/100 is as good as a plain one of 200
	return max(q.Fast, q.Slow+math.Sqrt(max(q.Slow, least)*(1-q.Slow)/packets))
}

func cost(there, back Quality, lost func(Quality) float64) time.Duration {
	if !there.Known || !back.Known || there.Dead || back.Dead {
		return math.MaxInt64
	}
	sum := max(there.RTT, back.RTT) + hop
	for _, q := range []Quality{there, back} {
		loss := lost(q)
		if loss >= 0.99 {
			return math.MaxInt64
		}
		sum += time.Duration(float64(resend) * loss / (1 - loss))
	}
	return sum
}

// Decide returns what holds from now on and what of that is new, by the names of peers. It does not change before.
func Decide(before State, in Input) (State, []Change) {
	after := State{}
	peers := slices.Sorted(slices.Values(in.Peers))
	for name, link := range before {
		// A peer that has gone is forgotten, and so is trouble of long ago.
		if slices.Contains(peers, name) && (link.Away || in.Now.Sub(link.Since) < forget) {
			after[name] = link
		}
	}
	changed := map[string]bool{}
	set := func(name string, link Link, why bool) {
		if why {
			link.Since, changed[name] = in.Now, true
		}
		after[name] = link
	}
	for _, name := range peers {
		link, known := after[name]
		switch {
		case known && link.Away:
			next, decided := stay(link, name, after, in)
			set(name, next, decided)
		default:
			if next, decided := leave(link, known, name, after, in); decided {
				set(name, next, true)
			}
		}
	}
	// A link that was left just now may have been another one's detour: leave saw to it that there is one more.
	for _, name := range after.Away() {
		link := after[name]
		if via, _ := in.detour(name, after); via != "" {
			link.Via = via
			after[name] = link
		}
	}
	var changes []Change
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		changes = append(changes, Change{name, after[name]})
	}
	return after, changes
}

func (in Input) cost(a, b string) time.Duration {
	return cost(in.Links[Pair{a, b}], in.Links[Pair{b, a}], atWorst)
}

// detour returns the best way to a peer by one other node whose links are in use themselves.
func (in Input) detour(to string, state State) (via string, cost time.Duration) {
	cost = math.MaxInt64
	for _, name := range slices.Sorted(slices.Values(in.Peers)) {
		if name == to || state[name].Away || !in.Reachable[name] || !in.Direct[Pair{name, to}] {
			continue
		}
		first, second := in.cost(in.Self, name), in.cost(name, to)
		if first == math.MaxInt64 || second == math.MaxInt64 {
			continue
		}
		if sum := first + second; sum < cost {
			via, cost = name, sum
		}
	}
	return via, cost
}

// leave decides of a link that is in use.
func leave(link Link, known bool, peer string, state State, in Input) (Link, bool) {
	there, back := in.Links[Pair{in.Self, peer}], in.Links[Pair{peer, in.Self}]
	dead := (there.Known && there.Dead) || (back.Known && back.Dead)
	if !dead && !lossy(there, back) {
		return link, false
	}
	age := in.Now.Sub(link.Since)
	if known && (age < settle || link.Why == InVain && age < link.Hold) {
		return link, false
	}
	via, detour := in.detour(peer, state)
	if via == "" {
		return link, false
	}
	if !dead && !cheaper(detour, cost(there.orClean(), back.orClean(), lasting)) {
		return link, false
	}
	for _, name := range state.Away() {
		// One that is the only detour of another stays in use: that would end both.
		without := maps.Clone(state)
		without[peer] = Link{Away: true}
		if other, _ := in.detour(name, without); other == "" {
			return link, false
		}
	}
	next := Link{Away: true, Via: via, Why: Lossy, Hold: holdFirst}
	if dead {
		next.Why = Dead
	}
	if known {
		next.Hold = min(2*max(link.Hold, holdFirst), holdMost)
	}
	return next, true
}

// lossy tells whether a link loses packets. What gets lost in either direction is an answer that does not come.
func lossy(there, back Quality) bool {
	var fast, mid, slow float64
	for _, q := range []Quality{there, back} {
		if q.Known {
			fast, mid, slow = fast+q.Fast, mid+q.Mid, max(slow, q.Slow)
		}
	}
	return fast >= lossyFast && mid >= lossyMid || slow >= lossySlow
}

// orClean takes a direction of which nothing is known for one that loses nothing: it is not why a link is left.
func (q Quality) orClean() Quality {
	if !q.Known {
		return Quality{Known: true, RTT: q.RTT}
	}
	return q
}

func (q Quality) well() bool {
	return q.Known && !q.Dead && q.Fast < wellBelow && q.Slow < wellBelow
}

// calm tells that nothing has got lost for a while, though not for so long that the direction is well.
func (q Quality) calm() bool { return q.Known && !q.Dead && q.Fast < wellBelow }

// cheaper tells whether one way costs clearly less than the other.
func cheaper(one, other time.Duration) bool {
	return other == math.MaxInt64 && one != math.MaxInt64 || float64(one)*clearly+float64(margin) < float64(other)
}

// stay decides of a link that is left alone.
func stay(link Link, peer string, state State, in Input) (Link, bool) {
	via, detour := in.detour(peer, state)
	there, back := in.Links[Pair{in.Self, peer}], in.Links[Pair{peer, in.Self}]
	age := in.Now.Sub(link.Since)
	again := func(why Why) (Link, bool) { return Link{Why: why, Hold: link.Hold}, true }
	switch {
	case !in.Reachable[peer] && age >= settle:
		return again(InVain)
	case via == "" && age >= settle && there.calm() && back.calm():
		// Nothing is gained by waiting for it: the link works, whatever is held against it.
		return again(NoDetour)
	case via == "" && link.Lacking.IsZero():
		link.Lacking = in.Now
		return link, false
	case via == "" && in.Now.Sub(link.Lacking) >= noDetour:
		return again(NoDetour)
	case via == "":
		return link, false
	case there.well() && back.well():
		if age >= link.Hold {
			return again(Well)
		}
	case age >= settle && cheaper(Cost(there, back), detour):
		return again(Worse)
	}
	link.Via, link.Lacking = via, time.Time{}
	return link, false
}

// Away returns the peers whose links are left alone, sorted.
func (s State) Away() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if s[name].Away {
			out = append(out, name)
		}
	}
	return out
}
