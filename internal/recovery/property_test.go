package recovery_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// trouble lets so much happen to a world: members decide, hear of each other, lose power between any two steps, and
// somebody writes.
func (w *world) trouble(steps int, operator bool) {
	for range steps {
		m := w.members[rapid.SampledFrom(w.nodes).Draw(w.t, "member")]
		other := w.members[rapid.SampledFrom(w.nodes).Draw(w.t, "other")]
		switch what := rapid.IntRange(0, 99).Draw(w.t, "what"); {
		case what < 20:
			w.round()
		case what < 40:
			w.step(m, 0)
		case what < 44:
			w.step(m, 1+what%2)
		case what < 74:
			w.deliver(m, other, what%2 == 0)
		case what < 77:
			delete(m.heard, other.name)
		case what < 79:
			w.kill(m)
		case what < 80:
			w.outage()
		case what < 88:
			w.start(m)
		case what < 90:
			// The server alone is started again.
			if m.up {
				m.out()
				w.renew(m)
				w.settle()
			}
		case what < 92:
			w.copied(m)
		case what < 96:
			w.write()
		case what < 98:
			w.remake(m)
		case operator:
			w.recover(rapid.SliceOfDistinct(rapid.SampledFrom(w.nodes), rapid.ID[string]).Draw(w.t, "given up"))
		default:
			w.outage()
		}
	}
}

// outage takes the power from all of them at once, and gives it back to most.
func (w *world) outage() {
	for _, n := range w.nodes {
		w.kill(w.members[n])
	}
	for _, n := range w.nodes {
		if rapid.IntRange(0, 9).Draw(w.t, "power") > 0 {
			w.start(w.members[n])
		}
	}
}

// round lets most members act and most of what they say arrive.
func (w *world) round() {
	for _, n := range rapid.Permutation(w.nodes).Draw(w.t, "order") {
		luck := rapid.IntRange(0, 29).Draw(w.t, "luck")
		if luck < 3 {
			continue
		}
		cut := 0
		if luck < 5 {
			cut = luck - 2
		}
		if luck > 14 {
			w.copied(w.members[n])
		}
		w.step(w.members[n], cut)
		for _, to := range w.nodes {
			if luck := rapid.IntRange(0, 9).Draw(w.t, "line"); luck > 0 {
				w.deliver(w.members[to], w.members[n], luck > 1)
			}
		}
	}
}

// heal lets everybody hear of everybody and act, until nothing is left to do.
func (w *world) heal(rounds int) {
	for _, n := range w.nodes {
		w.start(w.members[n])
	}
	for range rounds {
		for _, n := range w.nodes {
			w.copied(w.members[n])
			w.step(w.members[n], 0)
		}
		for _, to := range w.nodes {
			for _, from := range w.nodes {
				w.deliver(w.members[to], w.members[from], true)
			}
		}
	}
}

// TestNeverTwoLeaders lets anything happen: each life has one leader, it begins with every acknowledged write and with the
// word of all voting members, and two groups never take writes. Afterwards the group comes back by itself.
func TestNeverTwoLeaders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.SampledFrom([]int{3, 5}).Draw(t, "votes"))
		w.heal(8)
		if err := w.whole(); err != nil {
			t.Fatalf("the group does not begin: %v", err)
		}
		w.trouble(rapid.IntRange(1, 300).Draw(t, "steps"), false)
		w.heal(30)
		if err := w.whole(); err != nil && !w.hangsOnFew() {
			t.Fatalf("the group does not come back: %v", err)
		}
	})
}

// TestFirstLife begins in the midst of trouble.
func TestFirstLife(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, 3)
		w.trouble(rapid.IntRange(1, 100).Draw(t, "steps"), false)
		w.heal(30)
		if err := w.whole(); err != nil && !w.hangsOnFew() {
			t.Fatalf("the group does not begin: %v", err)
		}
	})
}

// TestBeginAnew takes the data from all members, or from all but some: the group begins anew only when the operator says so, and
// only when nobody has any data.
func TestBeginAnew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, 3)
		w.heal(8)
		w.trouble(rapid.IntRange(0, 100).Draw(t, "steps"), false)
		w.heal(30)
		w.outage()
		wiped := rapid.SliceOfNDistinct(rapid.SampledFrom(w.nodes), 2, 3, rapid.ID[string]).Draw(t, "wiped")
		for _, n := range wiped {
			w.wipe(w.members[n])
		}
		w.heal(10)
		if n := len(w.alive()); n > 0 {
			t.Fatalf("the group begins by itself, though %v have lost their data", wiped)
		}
		w.epoch++
		// The others may have been replaced before they had the data.
		all := !slices.ContainsFunc(w.nodes, func(n string) bool { return !w.members[n].fresh })
		if all {
			w.acked = nil
		} else {
			w.trouble(rapid.IntRange(0, 100).Draw(t, "more steps"), false)
		}
		w.heal(30)
		if n := len(w.alive()); (n == 1) != all {
			t.Fatalf("%d groups, with the data of %v gone", n, wiped)
		}
	})
}

// TestOperator has an operator who gives members up while nothing takes writes: nothing else is ever lost, and a life still
// has one leader.
func TestOperator(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.SampledFrom([]int{3, 5}).Draw(t, "votes"))
		w.heal(8)
		w.trouble(rapid.IntRange(1, 300).Draw(t, "steps"), true)
		w.heal(30)
	})
}
