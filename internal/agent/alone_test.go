package agent_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// adjustable gives a machine a clock that can be moved, and returns what moves it.
func adjustable(machines ...*machine) func(ahead time.Duration) {
	var ahead atomic.Int64
	for _, m := range machines {
		m.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}
	return func(d time.Duration) { ahead.Store(int64(d)) }
}

// over is later than what any ticket of these tests allows.
const over = 2 * time.Hour

// TestNobodyConfirms has a node without seeds, to which nobody ever speaks. While its ticket is good it may be the first of
// its cluster; then it must say that nobody would admit it, and what to do.
func TestNobodyConfirms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "hk1")
	move := adjustable(m)
	m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
	m.start()
	m.waitHealth("is fit, for all it knows it is the first", healthy)
	m.waitCondition(spec.ConditionJoined, spec.ConditionTrue, "Alone")

	move(over)
	h := m.waitHealth("says that it is no member", func(h healthOf) bool { return !h.Healthy && h.Parts["membership"] == "Unconfirmed" })
	if h.State != "joined" {
		t.Errorf("health is %+v", h)
	}
	// The operator's clock is as late as the node's only in this test, so the operator asks at the ticket's time.
	move(0)
	m.restart()
	m.waitCondition(spec.ConditionJoined, spec.ConditionTrue, "Alone")

	info, err := m.info()
	if err != nil {
		t.Fatal(err)
	}
	m.push(m.node(info.Identity.String()))
	move(over)
	w.wait("the operator's word holds when the ticket is over", func() error {
		h, err := m.health()
		if err != nil {
			return err
		}
		if !healthy(h) || h.Parts["membership"] != "ok" {
			return fmt.Errorf("health is %+v", h)
		}
		return nil
	})
}

// TestUnconfirmedSaysWhatToDo reads the message of a node that nobody has confirmed.
func TestUnconfirmedSaysWhatToDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "hk1")
	// A short ticket, so that the operator's certificate is good when it is over.
	move := adjustable(m)
	m.provision(m.payload(m.ticket(ticketFor{issued: time.Now().Add(-time.Hour)}), m.node("")))
	m.start()
	m.waitHealth("is fit", healthy)
	move(15 * time.Minute)
	c := m.waitCondition(spec.ConditionJoined, spec.ConditionFalse, "Unconfirmed")
	for _, part := range []string{"atoll pin hk1", "new ticket", "uninstall --purge"} {
		if !contains(c.Message, part) {
			t.Errorf("the message is %q, want %q in it", c.Message, part)
		}
	}
}

// TestSilenceOfOthersIsNoRefusal has a member of a cluster that starts alone, long after its ticket was over, while nobody
// answers. That others once had it as a peer is enough.
func TestSilenceOfOthersIsNoRefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines := []*machine{w.machine(1, "hk1"), w.machine(2, "hk2")}
	move := adjustable(machines...)
	for i, m := range machines {
		f := ticketFor{issued: time.Now().Add(-time.Hour)}
		if i > 0 {
			f.seeds = []string{machines[0].endpoint()}
		}
		m.provision(m.payload(m.ticket(f), m.node("")))
		m.start()
	}
	w.waitReady(machines...)
	for _, m := range machines {
		if err := m.stop(); err != nil {
			t.Fatal(err)
		}
	}
	move(15 * time.Minute)
	machines[1].start()
	machines[1].waitCondition(spec.ConditionGossipReady, spec.ConditionFalse, "PeersSilent")
	machines[1].waitCondition(spec.ConditionJoined, spec.ConditionTrue, "Alone")
}
