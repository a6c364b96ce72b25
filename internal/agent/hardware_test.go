package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// is gives the machine a system UUID.
func (m *machine) is(uuid string) *machine {
	m.w.t.Helper()
	m.put("sys/class/dmi/id/product_uuid", []byte(uuid+"\n"))
	return m
}

const (
	oldUUID = "11111111-2222-3333-4444-555555555555"
	newUUID = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
)

// joinedOn returns a machine that has joined with this UUID and is off.
func (w *world) joinedOn(uuid string) *machine {
	w.t.Helper()
	m := w.machine(1, "hk1").is(uuid)
	m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
	m.start()
	m.waitHealth("joins", healthy)
	if err := m.stop(); err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (m *machine) identity() string {
	m.w.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.state, "identity.pem"))
	if err != nil {
		m.w.t.Fatal(err)
	}
	return string(data)
}

// stopsHere waits until the agent refuses to be the node, and checks that it says why and stops what ran.
func (m *machine) stopsHere() {
	m.w.t.Helper()
	const unit = "atoll-tinc.service"
	if _, err := m.host.Units().Ensure(m.w.t.Context(), host.Unit{Name: unit, Enabled: true, Running: true, Content: []byte("x")}); err != nil {
		m.w.t.Fatal(err)
	}
	m.start()
	h := m.waitHealth("refuses", func(h healthOf) bool { return waiting(h) && contains(h.Waiting, "runs on another machine") })
	for _, want := range []string{"node hk1 of cluster web", "atolld moved", "atolld copied"} {
		if !contains(h.Waiting, want) {
			m.w.t.Errorf("health says %q, want %q in it", h.Waiting, want)
		}
	}
	if contains(h.Waiting, oldUUID) || contains(h.Waiting, newUUID) {
		m.w.t.Errorf("health tells everybody %q", h.Waiting)
	}
	m.waitConsole("runs on another machine", oldUUID, newUUID)
	st, err := m.host.Units().Status(m.w.t.Context(), unit)
	if err != nil || st.Active {
		m.w.t.Errorf("the mesh runs on (%v): every other node would believe it", err)
	}
	if _, err := m.info(); err == nil {
		m.w.t.Error("the API answers with the node's identity")
	}
}

func TestCopyOfANodeRunsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.joinedOn(oldUUID)
	before := m.identity()
	m.is(newUUID)
	m.stopsHere()
	cfg := agent.Config{StateDir: m.state, Machine: m.config().Machine}
	if _, err := agent.Copied(cfg); err != nil {
		t.Fatal(err)
	}
	m.waitHealth("waits for first-boot data", func(h healthOf) bool { return contains(h.Waiting, "no first-boot data") })
	if files := m.files(); len(files) != 0 {
		t.Errorf("the copy still has %v", files)
	}
	m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
	m.waitHealth("joins as a new machine", healthy)
	if m.identity() == before {
		t.Error("the copy has joined with the identity of the node")
	}
}

func TestMovedNodeRunsOnOnceSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.joinedOn(oldUUID)
	before := m.identity()
	cfg := agent.Config{StateDir: m.state, Machine: m.config().Machine}
	if _, err := agent.Moved(cfg); !errors.Is(err, agent.ErrSameMachine) {
		t.Errorf("on its own machine: got %v, want ErrSameMachine", err)
	}
	m.is(newUUID)
	m.stopsHere()
	if _, err := agent.Moved(cfg); err != nil {
		t.Fatal(err)
	}
	m.waitHealth("runs again", healthy)
	if m.identity() != before {
		t.Error("the node has another identity")
	}
	m.restart()
	m.waitHealth("and runs after the next start", healthy)
}

// TestCopyThatIsInvited gives the copy a ticket of its own, as Terraform does when it adopts the machine.
func TestCopyThatIsInvited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.joinedOn(oldUUID)
	before := m.identity()
	m.is(newUUID)
	m.stopsHere()
	m.name = "hk2"
	m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
	m.waitHealth("joins", healthy)
	if got := m.readJoin()["node"]; got != "hk2" || m.identity() == before {
		t.Errorf("the copy is node %v, with the old identity: %t", got, m.identity() == before)
	}
}

// TestCopyBeforeTheJoin copies a disk between the making of an identity and the join.
func TestCopyBeforeTheJoin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "hk1").is(oldUUID)
	m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
	m.cutAfter(agent.JoinSteps()[0])
	before := m.identity()
	m.is(newUUID)
	m.start()
	m.waitHealth("joins", healthy)
	if m.identity() == before {
		t.Error("two machines have the same identity")
	}
}

func TestHardwareThatIsNotKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.joinedOn(oldUUID)
	if err := os.RemoveAll(filepath.Join(m.root, "sys")); err != nil {
		t.Fatal(err)
	}
	m.start()
	m.waitHealth("runs, for nothing is known", healthy)
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	m.is(newUUID)
	m.start()
	m.waitConsole("runs on another machine", oldUUID)
}

func TestTwin(t *testing.T) {
	t.Parallel()
	start := time.Now()
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	var one agent.Twin
	for i, step := range []struct {
		sequence uint64
		boot     string
		// reported is when the status was made, at when it is seen here.
		reported, at time.Time
		twin         bool
	}{
		{900, "before", at(-60), at(0), false}, // what an earlier start has reported
		{1001, "mine", at(1), at(1), false},
		{2000, "before", at(-30), at(2), false}, // an older state was restored: the last word of a start that is over
		{2001, "mine", at(3), at(3), false},
		{2001, "mine", at(3), at(4), false},
		{3001, "other", at(30), at(30), true},
		{3002, "mine", at(31), at(31), true},
		{3003, "other", at(60), at(60), true},
		{3004, "mine", at(61), at(61), true},
		{3004, "mine", at(61), at(600), false}, // it is off
		{4001, "slow", at(-90), at(700), false},
		{4002, "slow", at(-60), at(710), true}, // its clock is wrong, but it lives
		{4003, "mine", at(720), at(720), true},
		{4003, "mine", at(720), at(2000), false},
		{4003, "even", at(2001), at(2001), true}, // it counts from where this one began
	} {
		if got := one.Observe(step.sequence, step.boot, step.reported, step.at); (got != "") != step.twin {
			t.Errorf("step %d: got %q, want a twin: %t", i, got, step.twin)
		}
	}
}
