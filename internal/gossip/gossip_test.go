package gossip_test

import (
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/atollhq/terraform-provider-atoll/internal/gossip"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// TestConvergence lets five nodes find each other from one seed, and one object that the operator gives to one of them
// reach all.
func TestConvergence(t *testing.T) {
	w := newWorld(t)
	agents := w.addMany(5)
	for _, a := range agents {
		a.boot(true)
	}
	w.introduce()
	w.converge(agents...)
	w.waitFor("everybody alive in gossip", func() bool {
		for _, a := range agents {
			if len(living(a)) != len(agents) {
				return false
			}
		}
		return true
	})
	agents[2].push(w.sign("n1.n2", 1, spec.Link{From: "n1", To: "n2"}))
	w.waitFor("the link on every node", func() bool {
		for _, a := range agents {
			if len(a.store.Snapshot().Links) != 1 {
				return false
			}
		}
		return true
	})
}

// TestDeadPeerIsFound kills one of five without a word and starts it again. It is found dead as soon as the configuration
// promises, with as much again for a busy machine, and in one of three tries at the latest; that is sooner than memberlist's
// defaults can ever do.
func TestDeadPeerIsFound(t *testing.T) {
	w := newWorld(t)
	agents := w.addMany(5)
	for _, a := range agents {
		a.boot(true)
	}
	w.introduce()
	w.converge(agents...)
	w.waitFor("everybody alive in gossip", func() bool { return len(living(agents[0])) == 5 && len(living(agents[3])) == 5 })
	victim := agents[4]
	limit := 2 * promised(agents[0].gossip.Config(), len(agents))
	if d := memberlist.DefaultLANConfig(); limit >= suspicion(d) {
		t.Fatalf("a limit of %v would pass the defaults, which suspect for %v at least", limit, suspicion(d))
	}
	for try := 1; ; try++ {
		took := w.dies(victim, agents[:4])
		t.Logf("the death was known to all after %s", took.Round(time.Millisecond))
		for _, a := range agents[:4] {
			if got := len(living(a)); got != 4 {
				t.Errorf("%s finds %d alive, want 4", a.name, got)
			}
		}
		victim.startGossip()
		w.waitFor("the victim is back", func() bool {
			for _, a := range agents {
				if len(living(a)) != 5 {
					return false
				}
			}
			return true
		})
		if took <= limit {
			return
		}
		if try == 3 {
			t.Fatalf("the death was known to all after %v, in three tries never within %v", took, limit)
		}
	}
}

// dies stops an agent's gossip without a word and returns how long it took until all others knew.
func (w *world) dies(victim *agent, others []*agent) time.Duration {
	w.t.Helper()
	before := time.Now()
	if err := victim.gossip.Kill(); err != nil {
		w.t.Fatal(err)
	}
	return w.waitFor("the death is known to all", func() bool {
		for _, a := range others {
			if now := a.gossip.Alive()[victim.name]; now.Alive || now.Since.Before(before.UTC().Add(-time.Second)) {
				return false
			}
		}
		return true
	})
}

// suspicion is how long memberlist suspects a node at least before it calls it dead, in a cluster of up to ten.
func suspicion(c *memberlist.Config) time.Duration {
	return time.Duration(c.SuspicionMult) * c.ProbeInterval
}

// promised is how long it takes until a death is found: the round of probes in which its turn comes, the probe itself, and the
// suspicion, which is the shortest once another node shares it.
func promised(c *memberlist.Config, nodes int) time.Duration {
	return time.Duration(nodes-1)*c.ProbeInterval + c.ProbeInterval + suspicion(c)
}

// TestGossipRepairs has no HTTPS between two nodes: what one gets reaches the other by gossip alone.
func TestGossipRepairs(t *testing.T) {
	w := newWorld(t)
	agents := w.addMany(2)
	for _, a := range agents {
		a.boot(true)
	}
	w.introduce()
	w.converge(agents...)
	w.waitFor("both alive in gossip", func() bool { return len(living(agents[0])) == 2 && len(living(agents[1])) == 2 })
	for plane := range 2 {
		w.setCut(agents[0], agents[1], plane, true)
		w.setCut(agents[1], agents[0], plane, true)
	}
	// A connection that is kept would still carry a push, so the change is one that Pusher does not see: it comes as
	// another agent's.
	agents[0].store.MergeRemote([]store.Record{w.sign("n1.n2", 1, spec.Link{From: "n1", To: "n2"})})
	took := w.waitFor("the link on the other node", func() bool { return len(agents[1].store.Snapshot().Links) == 1 })
	t.Logf("gossip alone took %s", took.Round(time.Millisecond))
}

func TestStartNeedsTheAddress(t *testing.T) {
	w := newWorld(t)
	a := w.addMany(1)[0]
	a.boot(true)
	if _, err := gossip.Start(a.gossipConfig()); err == nil {
		t.Error("gossip started twice on one address")
	}
}

// TestRemovedStaysOut has a node that was removed and does not know it knock at gossip.
func TestRemovedStaysOut(t *testing.T) {
	w := newWorld(t)
	agents := w.addMany(2)
	for _, a := range agents {
		a.boot(false)
	}
	w.introduce()
	w.converge(agents...)
	host, removed := agents[0], agents[1]
	removed.stop()
	for plane := range 2 {
		w.setCut(host, removed, plane, true)
		w.setCut(removed, host, plane, true)
	}
	now := uint64(time.Now().UnixMilli()) + 1
	host.push(w.signed(spec.NewTombstone(clusterName, spec.Ref{Kind: spec.KindNode, Name: removed.name}, now, now)))
	host.startGossip()
	removed.boot(true)
	w.waitFor("the removed node hears the other", func() bool { return len(living(removed)) == 2 })
	if got := living(host); len(got) != 1 {
		t.Errorf("alive = %v, want the node itself alone", got)
	}
}

func living(a *agent) []string {
	var out []string
	for name, l := range a.gossip.Alive() {
		if l.Alive {
			out = append(out, name)
		}
	}
	return out
}
