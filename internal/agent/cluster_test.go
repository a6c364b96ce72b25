package agent_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// three returns three machines that were provisioned as the provider does it: each knows the cluster and itself, and the
// first one is the seed of the others.
func three(w *world) []*machine {
	w.t.Helper()
	machines := []*machine{w.machine(1, "hk1"), w.machine(2, "hk2"), w.machine(3, "sg1")}
	for i, m := range machines {
		f := ticketFor{}
		if i > 0 {
			f.seeds = []string{machines[0].endpoint()}
		}
		m.provision(m.payload(m.ticket(f), m.node("")))
		m.start()
	}
	return machines
}

func TestThreeAgentsBecomeACluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines := three(w)
	w.waitReady(machines...)
	for _, m := range machines {
		if _, err := os.Stat(m.firstBootFile()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the first-boot file is still there (%v)", m.name, err)
		}
		if h, err := m.health(); err != nil || !h.Healthy {
			t.Errorf("%s: health %+v %v", m.name, h, err)
		}
		_, view := m.mesh.state()
		if view == nil || len(view.Peers) != 2 {
			t.Errorf("%s: mesh view %+v, want two peers", m.name, view)
		}
	}
	s, err := machines[2].status()
	if err != nil {
		t.Fatal(err)
	}
	for name, node := range s.Nodes {
		for _, ref := range []spec.Ref{{Kind: spec.KindCluster, Name: clusterName}, {Kind: spec.KindNode, Name: "hk1"}} {
			if node.Applied[ref] == 0 || node.Applied[ref] != s.Generations[ref] {
				t.Errorf("%s has applied generation %d of %s, want %d", name, node.Applied[ref], ref, s.Generations[ref])
			}
		}
	}

	// Removing one node: it takes back everything, the others drop it.
	machines[0].push(w.tombstone("sg1"))
	gone := machines[2]
	gone.waitHealth("waits again", waiting)
	w.waitReady(machines[0], machines[1])
	if key, view := gone.mesh.state(); key != "" || view != nil {
		t.Errorf("the removed node still has mesh key %q and view %v", key, view)
	}
	if got, want := gone.files(), []string{"left.json"}; !equal(got, want) {
		t.Errorf("the removed node's state holds %v, want %v", got, want)
	}
	for _, m := range machines[:2] {
		if _, view := m.mesh.state(); len(view.Peers) != 1 {
			t.Errorf("%s: mesh view has peers %v, want one", m.name, view.Peers)
		}
	}

	// Bringing it back with a new ticket: a new identity and new keys.
	gone.provision(gone.payload(gone.ticket(ticketFor{seeds: []string{machines[1].endpoint()}}), gone.node("")))
	w.waitReady(machines...)
	before, after := s.Nodes["sg1"].Identity.String(), identity(t, machines[0], "sg1")
	if before == after {
		t.Error("the node that was made again has its old identity")
	}
}

func TestClusterHealsWithoutItsMesh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines := three(w)
	w.waitReady(machines...)
	since, err := machines[0].condition(spec.ConditionJoined)
	if err != nil {
		t.Fatal(err)
	}
	w.setMeshDown(true)
	for _, m := range machines {
		if err := m.stop(); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range machines {
		m.start()
	}
	for _, m := range machines {
		m.waitCondition(spec.ConditionMeshReady, spec.ConditionFalse, "PeersUnreachable")
		m.waitHealth("is unfit to serve", func(h healthOf) bool { return !h.Healthy && h.State == "joined" })
	}
	// What the operator changes at one node reaches all by their public addresses.
	link := w.sign(spec.LinkName("hk1", "sg1"), spec.Link{From: "hk1", To: "sg1", Settings: spec.LinkSettings{MTU: 1400}})
	machines[0].push(link)
	for _, m := range machines {
		w.wait(m.name+" has the link", func() error {
			_, view := m.mesh.state()
			for _, p := range view.Peers {
				if p.Link.MTU == 1400 || m.name == "hk2" {
					return nil
				}
			}
			return errors.New("it has not")
		})
	}
	w.setMeshDown(false)
	w.waitReady(machines...)
	again, err := machines[0].condition(spec.ConditionJoined)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Since.Equal(since.Since) {
		t.Errorf("Joined since %s, before the restart since %s; a restart must not change that", again.Since, since.Since)
	}
}

func TestSecondIdentityIsNotAdmittedUntilPinned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second, thief := w.machine(1, "hk1"), w.machine(2, "hk2"), w.machine(3, "hk2")
	first.provision(first.payload(first.ticket(ticketFor{}), first.node("")))
	first.start()
	stolen := second.ticket(ticketFor{seeds: []string{first.endpoint()}})
	node := second.node("")
	second.provision(second.payload(stolen, node))
	second.start()
	w.waitReady(first, second)

	// The node's object names the second machine's address, so only its own one lets the operator look at the thief.
	thief.provision(thief.payload(stolen, node))
	thief.start()
	thief.waitCondition(spec.ConditionJoined, spec.ConditionFalse, "SecondIdentity")
	first.waitCondition(spec.ConditionConflict, spec.ConditionTrue, "Conflict")
	wrong, err := thief.info()
	if err != nil {
		t.Fatal(err)
	}
	right, err := second.info()
	if err != nil {
		t.Fatal(err)
	}
	if got := identity(t, first, "hk2"); got != right.Identity.String() {
		t.Errorf("hk2 is %s, want the first one, %s", got, right.Identity)
	}

	// The operator decides for the other machine.
	first.push(w.sign("hk2", spec.Node{
		Provider: "lab", Site: "site-2", MeshAddress: second.meshAddress(), Addresses: []string{thief.public()},
		Identity: wrong.Identity.String(), Machine: spec.Machine{Variant: spec.MachineManual},
	}))
	thief.waitCondition(spec.ConditionJoined, spec.ConditionTrue, "Joined")
	first.waitCondition(spec.ConditionConflict, spec.ConditionFalse, "")
	if got := identity(t, first, "hk2"); got != wrong.Identity.String() {
		t.Errorf("hk2 is %s, want the pinned one, %s", got, wrong.Identity)
	}
	second.waitCondition(spec.ConditionJoined, spec.ConditionFalse, "")
}

func TestLeaveByTheOperator(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "hk1")
	payload := m.payload(m.ticket(ticketFor{}), m.node(""))
	m.provision(payload)
	m.start()
	m.waitHealth("is fit", healthy)
	client := m.operator()
	defer client.Close()
	if err := client.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.waitHealth("waits again", waiting)
	// A carrier that cannot be cleared still has the old data: it must not bring the node back.
	m.provision(payload)
	m.waitHealth("refuses the used ticket", func(h healthOf) bool { return waiting(h) && contains(h.Waiting, "issue a new ticket") })
	m.restart()
	m.waitHealth("refuses it after a restart, too", func(h healthOf) bool { return waiting(h) && contains(h.Waiting, "issue a new ticket") })
	m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
	m.waitHealth("joins with a new one", healthy)
}

func TestNodeRemovedWhileItWasOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines := three(w)
	w.waitReady(machines...)
	off := machines[2]
	if err := off.stop(); err != nil {
		t.Fatal(err)
	}
	machines[0].push(w.tombstone("sg1"))
	w.waitReady(machines[0], machines[1])
	off.start()
	off.waitHealth("learns of its removal and waits", waiting)
}

func identity(t *testing.T, m *machine, node string) string {
	t.Helper()
	s, err := m.status()
	if err != nil {
		t.Fatal(err)
	}
	return s.Nodes[node].Identity.String()
}

func TestJoinedNodeObeysANewTicketOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines := three(w)
	w.waitReady(machines...)
	node := machines[2]
	before := identity(t, machines[0], "sg1")
	ticket := node.ticket(ticketFor{})
	node.provision(node.payload(ticket, node.node("")))
	w.wait("it uses the new ticket", func() error {
		client := node.operator()
		defer client.Close()
		records, err := client.Records(t.Context())
		if err != nil {
			return err
		}
		for _, r := range records {
			if r.Proof != nil && r.Proof.Ticket.Payload == ticket.Envelope.Payload {
				return nil
			}
		}
		return errors.New("no proof by the new ticket")
	})
	w.waitReady(machines...)
	if after := identity(t, machines[0], "sg1"); after != before {
		t.Errorf("the identity changed from %s to %s", before, after)
	}
	if _, err := os.Stat(node.firstBootFile()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the first-boot file is still there (%v)", err)
	}
}

func TestJoinedNodeRefusesAnotherCluster(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	m, stranger := w.machine(1, "hk1"), other.machine(1, "hk1")
	m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
	m.start()
	m.waitHealth("is fit", healthy)
	m.provision(stranger.payload(stranger.ticket(ticketFor{}), stranger.node("")))
	m.waitHealth("says what is wrong with the file and stays fit", func(h healthOf) bool {
		return healthy(h) && contains(h.Parts["first-boot file"], "remove it from there first")
	})
	if _, err := os.Stat(m.firstBootFile()); err != nil {
		t.Errorf("somebody else's file is gone: %v", err)
	}
}

func TestAgentThatMayNotProbe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.machine(1, "hk1"), w.machine(2, "hk2")
	a.blind, b.blind = true, true
	a.provision(a.payload(a.ticket(ticketFor{}), a.node("")))
	b.provision(b.payload(b.ticket(ticketFor{seeds: []string{a.endpoint()}}), b.node("")))
	a.start()
	b.start()
	w.waitReady(a, b)
}
