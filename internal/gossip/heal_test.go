package gossip_test

import (
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// TestPartitionHeals splits five nodes into two and three, changes both sides, and joins them again.
func TestPartitionHeals(t *testing.T) {
	w := newWorld(t)
	agents := w.addMany(5)
	for _, a := range agents {
		a.boot(false)
	}
	w.introduce()
	w.converge(agents...)
	left, right := agents[:2], agents[2:]
	split := func(cut bool) {
		for _, a := range left {
			for _, b := range right {
				for plane := range 2 {
					w.setCut(a, b, plane, cut)
					w.setCut(b, a, plane, cut)
				}
			}
		}
	}
	split(true)
	// Connections from before the split are ended by a restart, as a real cut would end them.
	for _, a := range agents {
		a.stop()
		a.boot(false)
	}
	left[0].push(w.sign("n1.n2", 1, spec.Link{From: "n1", To: "n2"}))
	right[0].push(w.sign("n3.n4", 1, spec.Link{From: "n3", To: "n4"}))
	holds := func(agents []*agent, link string) func() bool {
		return func() bool {
			for _, a := range agents {
				if _, ok := a.store.Snapshot().Links[link]; !ok {
					return false
				}
			}
			return true
		}
	}
	w.waitFor("the left half has its change", holds(left, "n1.n2"))
	w.waitFor("the right half has its change", holds(right, "n3.n4"))
	for _, a := range left {
		if len(a.store.Snapshot().Links) != 1 {
			t.Errorf("%s crossed the split: %v", a.name, a.store.Snapshot().Links)
		}
	}
	split(false)
	took := w.waitFor("both changes everywhere", func() bool { return holds(agents, "n1.n2")() && holds(agents, "n3.n4")() })
	t.Logf("healed after %s", took.Round(time.Millisecond))
	w.converge(agents...)
}

// TestHealsWithTheMeshDown stops every agent, takes the mesh away and starts them from their disks: what one of them then
// learns and reports still reaches all.
func TestHealsWithTheMeshDown(t *testing.T) {
	w := newWorld(t)
	agents := w.addMany(5)
	for _, a := range agents {
		a.boot(true)
	}
	w.introduce()
	w.converge(agents...)
	for _, a := range agents {
		a.stop()
	}
	for _, a := range agents {
		for _, b := range agents {
			w.setCut(a, b, 0, a != b)
		}
	}
	for _, a := range agents {
		a.boot(false)
	}
	for i, a := range agents {
		e, err := trust.SignStatus(a.id, spec.Status{Cluster: clusterName, Node: a.name, Sequence: uint64(i + 1)})
		if err != nil {
			t.Fatal(err)
		}
		a.store.Merge([]store.Record{store.StatusRecord(e)})
	}
	took := w.waitFor("every status everywhere", func() bool {
		for _, a := range agents {
			if len(a.store.Snapshot().Statuses) != len(agents) {
				return false
			}
		}
		return true
	})
	t.Logf("over the public path alone: %s", took.Round(time.Millisecond))
	w.converge(agents...)
}

// TestLateJoiner comes with a ticket that has expired: it is refused, until the operator pins its identity.
func TestLateJoiner(t *testing.T) {
	w := newWorld(t)
	agents := w.addMany(2)
	late := w.add(time.Now().Add(-24 * time.Hour))
	late.seeds = []string{agents[0].endpoint()}
	for _, a := range w.agents {
		a.boot(false)
	}
	w.introduce()
	w.waitFor("the late one is refused with the reason", func() bool {
		return late.refusal(late.seeds[0]) == trust.ReasonExpired
	})
	for _, a := range agents {
		if _, member := a.store.Snapshot().Members[late.name]; member {
			t.Errorf("%s admits a node whose ticket has expired", a.name)
		}
	}
	agents[1].push(late.node(2, late.id.Public().String()))
	late.push(late.node(2, late.id.Public().String()))
	w.converge(w.agents...)
}

// TestRemovedNodeLearnsIt removes a node while it is off; when it comes back nobody talks to it, but it gets the evidence.
func TestRemovedNodeLearnsIt(t *testing.T) {
	w := newWorld(t)
	agents := w.addMany(3)
	for _, a := range agents {
		a.boot(false)
	}
	w.introduce()
	w.converge(agents...)
	gone := agents[2]
	gone.stop()
	ref := spec.Ref{Kind: spec.KindNode, Name: gone.name}
	agents[0].push(w.signed(spec.NewTombstone(clusterName, ref, uint64(time.Now().UnixMilli())+1, uint64(time.Now().UnixMilli())+1)))
	w.waitFor("the others have dropped it", func() bool {
		for _, a := range agents[:2] {
			if _, member := a.store.Snapshot().Members[gone.name]; member {
				return false
			}
		}
		return true
	})
	gone.boot(false)
	w.waitFor("the removed node has its tombstone", func() bool {
		_, removed := gone.store.Snapshot().Tombstones[ref]
		return removed
	})
	if got := gone.refusal(agents[0].name); got != trust.ReasonRevoked && gone.refusal(agents[1].name) != trust.ReasonRevoked {
		t.Errorf("reason = %q, want %q", got, trust.ReasonRevoked)
	}
	for _, a := range agents[:2] {
		if _, back := a.store.Snapshot().Members[gone.name]; back {
			t.Errorf("%s has let the removed node in again", a.name)
		}
	}
}

// TestPusherWaitsForTheDead has a peer that is down while something changes, and gets it when it is back.
func TestPusherWaitsForTheDead(t *testing.T) {
	w := newWorld(t)
	agents := w.addMany(3)
	for _, a := range agents {
		a.boot(false)
	}
	w.introduce()
	w.converge(agents...)
	agents[2].stop()
	agents[0].push(w.sign("n1.n2", 1, spec.Link{From: "n1", To: "n2"}))
	w.waitFor("the link on the living", func() bool { return len(agents[1].store.Snapshot().Links) == 1 })
	agents[2].boot(false)
	w.converge(agents...)
}
