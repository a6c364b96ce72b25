package steering_test

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/steering"
)

var start = time.Unix(1_700_000_000, 0).UTC()

// three is a cluster of a, b and c as a sees it, all well.
func three(at time.Duration) steering.Input {
	in := steering.Input{
		Self: "a", Now: start.Add(at), Peers: []string{"b", "c"},
		Links: map[steering.Pair]steering.Quality{}, Direct: map[steering.Pair]bool{}, Reachable: map[string]bool{"b": true, "c": true},
	}
	for _, from := range []string{"a", "b", "c"} {
		for _, to := range []string{"a", "b", "c"} {
			if from != to {
				in.Links[steering.Pair{From: from, To: to}] = steering.Quality{Known: true, RTT: 40 * time.Millisecond}
				in.Direct[steering.Pair{From: from, To: to}] = true
			}
		}
	}
	return in
}

// with changes one direction.
func with(in steering.Input, from, to string, edit func(*steering.Quality)) steering.Input {
	q := in.Links[steering.Pair{From: from, To: to}]
	edit(&q)
	in.Links[steering.Pair{From: from, To: to}] = q
	return in
}

func loses(fast, slow float64) func(*steering.Quality) {
	return func(q *steering.Quality) { q.Fast, q.Mid, q.Slow = fast, (fast+slow)/2, slow }
}

func dead(q *steering.Quality) { q.Dead = true }

func TestLeave(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		in   steering.Input
		why  steering.Why // "" to stay
	}{
		{"all well", three(0), ""},
		{"one packet lost", with(three(0), "a", "c", loses(0.1, 0.01)), ""},
		{"20 % to c", with(three(0), "a", "c", loses(0.2, 0.05)), steering.Lossy},
		{"20 % from c", with(three(0), "c", "a", loses(0.2, 0.05)), steering.Lossy},
		{"seen by the slow average alone", with(three(0), "c", "a", loses(0.02, 0.15)), steering.Lossy},
		{"cut", with(with(three(0), "c", "a", dead), "a", "c", dead), steering.Dead},
		{"one way", with(three(0), "a", "c", dead), steering.Dead},
		{"the detour loses as much", with(with(three(0), "a", "c", loses(0.2, 0.2)), "b", "c", loses(0.2, 0.2)), ""},
		{"the detour is dead", with(with(three(0), "a", "c", loses(0.2, 0.2)), "c", "b", dead), ""},
		{"the detour is not known", with(with(three(0), "a", "c", loses(0.2, 0.2)), "c", "b", func(q *steering.Quality) { q.Known = false }), ""},
		{"the detour takes far longer than what is lost costs", with(with(three(0), "a", "c", loses(0.05, 0.05)), "b", "c", func(q *steering.Quality) { q.RTT = 300 * time.Millisecond }), ""},
		{"nothing is known of the direct link", with(with(three(0), "a", "c", func(q *steering.Quality) { q.Known = false }), "c", "a", func(q *steering.Quality) { q.Known = false }), ""},
		{"b goes by somebody else itself", func() steering.Input {
			in := with(three(0), "a", "c", dead)
			in.Direct[steering.Pair{From: "b", To: "c"}] = false
			return in
		}(), ""},
		{"b is not reached", func() steering.Input {
			in := with(three(0), "a", "c", dead)
			in.Reachable["b"] = false
			return in
		}(), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			state, changes := steering.Decide(nil, tt.in)
			if tt.why == "" {
				if len(changes) > 0 || len(state.Away()) > 0 {
					t.Errorf("left: %+v", changes)
				}
				return
			}
			want := []steering.Change{{Peer: "c", Link: steering.Link{Away: true, Via: "b", Why: tt.why, Since: start, Hold: 30 * time.Second}}}
			if diff := cmp.Diff(want, changes); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"c"}, state.Away()); diff != "" {
				t.Errorf("away (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReturn follows one link through its bad times.
func TestReturn(t *testing.T) {
	t.Parallel()
	lossy := loses(0.2, 0.2)
	state := steering.State{}
	at := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	steps := []struct {
		name string
		in   steering.Input
		why  steering.Why // of the change, "" for none
		away bool
	}{
		{"leaves", with(three(at(0)), "a", "c", lossy), steering.Lossy, true},
		{"well, but not for long", three(at(5)), "", true},
		{"still not", three(at(29)), "", true},
		{"well for long enough", three(at(31)), steering.Well, false},
		{"leaves again", with(three(at(60)), "a", "c", lossy), steering.Lossy, true},
		{"now it takes longer", three(at(100)), "", true},
		{"well", three(at(121)), steering.Well, false},
		{"a cut", with(three(at(130)), "c", "a", dead), steering.Dead, true},
		{"the detour may only be made anew", with(with(three(at(131)), "c", "a", dead), "b", "c", dead), "", true},
		{"the detour dies too: no alternative", with(with(three(at(132.6)), "c", "a", dead), "b", "c", dead), steering.NoDetour, false},
		{"and is back", with(three(at(140)), "c", "a", dead), steering.Dead, true},
		{"the peer is not reached, but the detour is young", func() steering.Input {
			in := with(three(at(142)), "c", "a", dead)
			in.Reachable["c"] = false
			return in
		}(), "", true},
		{"in vain", func() steering.Input {
			in := with(three(at(145)), "c", "a", dead)
			in.Reachable["c"] = false
			return in
		}(), steering.InVain, false},
		{"not again at once", with(three(at(150)), "c", "a", dead), "", false},
		{"trouble of long ago is forgotten", three(at(1000)), "", false},
		{"leaves as the first time", with(three(at(1001)), "a", "c", lossy), steering.Lossy, true},
		{"the detour becomes worse", with(with(three(at(1010)), "a", "c", loses(0.05, 0.05)), "b", "c", loses(0.5, 0.5)), steering.Worse, false},
	}
	for _, tt := range steps {
		// What is remembered survives a restart.
		text, err := json.Marshal(state)
		if err != nil {
			t.Fatal(err)
		}
		var before steering.State
		if err := json.Unmarshal(text, &before); err != nil {
			t.Fatal(err)
		}
		var changes []steering.Change
		state, changes = steering.Decide(before, tt.in)
		var why steering.Why
		if len(changes) > 0 {
			why = changes[0].Why
		}
		if why != tt.why || state["c"].Away != tt.away {
			t.Fatalf("%s: %q, away %t; want %q, %t", tt.name, why, state["c"].Away, tt.why, tt.away)
		}
	}
	if got := state["c"].Hold; got != 30*time.Second {
		t.Errorf("after long peace it holds for %s", got)
	}
	if gone, _ := steering.Decide(state, steering.Input{Self: "a", Now: start.Add(at(1011))}); len(gone) != 0 {
		t.Errorf("a peer that has gone is remembered: %+v", gone)
	}
}

// TestFlapping has loss that comes and goes every 10 s for half an hour.
func TestFlapping(t *testing.T) {
	t.Parallel()
	state := steering.State{}
	changes, fast, slow := 0, 0.0, 0.0
	for tick := range 30 * 60 * 5 {
		at := time.Duration(tick) * 200 * time.Millisecond
		lost := 0.0
		if int(at.Seconds())%20 < 10 {
			lost = 0.4
		}
		fast += (lost - fast) / 10
		slow += (lost - slow) / 100
		var now []steering.Change
		state, now = steering.Decide(state, with(three(at), "a", "c", loses(fast, slow)))
		changes += len(now)
	}
	if changes != 1 || !state["c"].Away {
		t.Errorf("%d changes, away %t; want to leave once and stay away", changes, state["c"].Away)
	}
	if back := returns(t, state, 30*time.Minute, fast, slow); back > 40*time.Second {
		t.Errorf("the link is in use again %s after the last loss", back)
	}
}

// returns tells how long after a time a link that loses nothing any more is in use again, and that it stays so.
func returns(t *testing.T, state steering.State, from time.Duration, fast, slow float64) time.Duration {
	t.Helper()
	back := time.Duration(-1)
	for tick := range 15 * 60 * 2 {
		at := time.Duration(tick) * 500 * time.Millisecond
		// Five packets in each step.
		fast, slow = fast*0.59, slow*0.95
		state, _ = steering.Decide(state, with(three(from+at), "a", "c", loses(fast, slow)))
		switch {
		case back < 0 && !state["c"].Away:
			back = at
		case back >= 0 && state["c"].Away:
			t.Fatalf("a link that loses nothing is left %s after the last loss", at)
		}
	}
	if back < 0 {
		t.Fatal("a link that loses nothing is not used again within a quarter of an hour")
	}
	return back
}

// TestLongFlapping has loss that comes and goes in all rhythms for two hours: the link is left seldom, and used again within the longest hold and half a
// minute once nothing is lost any more.
func TestLongFlapping(t *testing.T) {
	t.Parallel()
	for _, period := range []time.Duration{40 * time.Second, time.Minute, 90 * time.Second, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute} {
		state := steering.State{}
		left, fast, slow := 0, 0.0, 0.0
		const lasts = 2 * time.Hour
		for at := time.Duration(0); at < lasts; at += 500 * time.Millisecond {
			lost := 0.0
			if at%period < period/2 {
				lost = 0.4
			}
			fast += (lost - fast) * 0.41
			slow += (lost - slow) * 0.05
			var now []steering.Change
			state, now = steering.Decide(state, with(three(at), "a", "c", loses(fast, slow)))
			for _, c := range now {
				if c.Away {
					left++
				}
			}
		}
		// Five times within its first quarter of an hour, and every ten minutes afterwards.
		if most := min(5+int(lasts/(10*time.Minute)), int(lasts/period)); left > most {
			t.Errorf("loss every %s: the link was left %d times in two hours, at most %d are allowed", period, left, most)
		}
		if back := returns(t, state, lasts, fast, slow); back > 10*time.Minute+30*time.Second {
			t.Errorf("loss every %s: the link is in use again %s after the last loss", period, back)
		}
	}
}

// TestProperties decides of clusters of all kinds.
func TestProperties(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c", "d", "e", "f"}
	left := 0
	for seed := range uint64(2000) {
		chance := rand.New(rand.NewPCG(seed, 7))
		nodes := names[:2+chance.IntN(len(names)-1)]
		state := steering.State{}
		for round := range 20 {
			in := steering.Input{
				Self: "a", Now: start.Add(time.Duration(round) * 5 * time.Second), Peers: nodes[1:],
				Links: map[steering.Pair]steering.Quality{}, Direct: map[steering.Pair]bool{}, Reachable: map[string]bool{},
			}
			for _, from := range nodes {
				in.Reachable[from] = chance.IntN(10) > 0
				for _, to := range nodes {
					q := steering.Quality{Known: chance.IntN(10) > 0, Dead: chance.IntN(6) == 0, RTT: time.Duration(chance.IntN(300)) * time.Millisecond}
					if chance.IntN(3) == 0 {
						q.Fast, q.Mid, q.Slow = chance.Float64(), chance.Float64(), chance.Float64()
					}
					in.Links[steering.Pair{From: from, To: to}], in.Direct[steering.Pair{From: from, To: to}] = q, chance.IntN(5) > 0
				}
			}
			before := state
			var changes []steering.Change
			state, changes = steering.Decide(before, in)
			again, same := steering.Decide(before, in)
			if diff := cmp.Diff(state, again); diff != "" || len(same) != len(changes) {
				t.Fatalf("seed %d, round %d: the same gives another answer:\n%s", seed, round, diff)
			}
			if _, more := steering.Decide(state, in); slices.ContainsFunc(more, func(c steering.Change) bool { return c.Away == before[c.Peer].Away && c.Why != steering.InVain }) {
				t.Fatalf("seed %d, round %d: with nothing new it changes back: %+v after %+v", seed, round, more, changes)
			}
			for _, peer := range state.Away() {
				left++
				via := state[peer].Via
				if lacking := state[peer].Lacking; !lacking.IsZero() && in.Now.Sub(lacking) < 2*time.Second {
					continue // it may only be made anew
				}
				// Never without a detour that works as far as anybody knows, and whose first link is in use.
				if via == "" || via == peer || state[via].Away || !in.Reachable[via] || !in.Direct[steering.Pair{From: via, To: peer}] ||
					steering.Cost(in.Links[steering.Pair{From: "a", To: via}], in.Links[steering.Pair{From: via, To: "a"}]) == 1<<63-1 {
					t.Fatalf("seed %d, round %d: %s is left for %q: %+v", seed, round, peer, via, state)
				}
			}
			if len(state.Away()) == len(nodes)-1 {
				t.Fatalf("seed %d, round %d: all links are left: %+v", seed, round, state)
			}
		}
	}
	if left < 1000 {
		t.Errorf("links were left %d times only: the property was hardly tried", left)
	}
}
