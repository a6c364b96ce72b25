package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// TestSecondIdentity uses one ticket twice. The first stays, the second is reported, and the operator can decide for
// either.
func TestSecondIdentity(t *testing.T) {
	for _, choice := range []string{"first", "second"} {
		t.Run(choice, func(t *testing.T) {
			op := newOperator(t)
			s := op.memory()
			ticket := op.ticket("n1", noon())
			first, second := op.use(ticket, noon()), op.use(ticket, noon().Add(time.Second))
			merge(t, s, []store.Record{op.node("n1", at(1), "hk", trust.PublicKey{}), first.record()}, store.Accepted, store.Accepted)
			out := merge(t, s, []store.Record{second.record()}, store.Refused)
			if out[0].Reason != trust.ReasonSecondIdentity || !strings.Contains(out[0].Message, "atoll pin") {
				t.Errorf("outcome = %+v, want SecondIdentity with the remedy", out[0])
			}
			if got := s.Snapshot().Members["n1"].Identity; got != first.id.Public() {
				t.Errorf("member = %s, want the first", got)
			}
			conflicts := s.Snapshot().Conflicts
			if len(conflicts) != 1 || conflicts[0].Reason != trust.ReasonSecondIdentity || !strings.Contains(conflicts[0].Message, second.id.Public().String()) {
				t.Errorf("conflicts = %+v, want one that names the second identity", conflicts)
			}
			chosen, other := first, second
			if choice == "second" {
				chosen, other = second, first
			}
			merge(t, s, []store.Record{op.node("n1", at(2), "hk", chosen.id.Public())}, store.Accepted)
			if got := s.Snapshot().Members["n1"].Identity; got != chosen.id.Public() {
				t.Errorf("member = %s, want the pinned one", got)
			}
			if got := s.Snapshot().Conflicts; len(got) != 0 {
				t.Errorf("conflicts = %+v after the decision, want none", got)
			}
			merge(t, s, []store.Record{other.record()}, store.Refused)
			merge(t, s, []store.Record{op.status(chosen, 1, "1")}, store.Accepted)
		})
	}
}

// TestThiefAfterPin has somebody use a ticket that is already used and pinned: it is refused and reported until the
// operator signs the node again.
func TestThiefAfterPin(t *testing.T) {
	op := newOperator(t)
	s := op.memory()
	ticket := op.ticket("n1", noon())
	owner, thief := op.use(ticket, noon()), op.use(ticket, noon())
	merge(t, s, []store.Record{op.node("n1", at(1), "hk", owner.id.Public()), owner.record()}, store.Accepted, store.Accepted)
	merge(t, s, []store.Record{thief.record()}, store.Refused)
	if got := s.Snapshot().Conflicts; len(got) != 1 {
		t.Errorf("conflicts = %+v, want one", got)
	}
	merge(t, s, []store.Record{op.node("n1", at(2), "hk", owner.id.Public())}, store.Accepted)
	if got := s.Snapshot().Conflicts; len(got) != 0 {
		t.Errorf("conflicts = %+v, want none", got)
	}
}

// TestPinAdmits has a proof come too late, before and after the operator pins it.
func TestPinAdmits(t *testing.T) {
	op := newOperator(t)
	late := op.machine("n1", noon().Add(-24*time.Hour))
	pin := op.node("n1", at(1), "hk", late.id.Public())
	for name, order := range map[string][]store.Record{"pin first": {pin, late.record()}, "proof first": {late.record(), pin}} {
		t.Run(name, func(t *testing.T) {
			s := op.memory()
			for _, r := range order {
				s.Merge([]store.Record{r})
			}
			if got := s.Snapshot().Members["n1"].Identity; got != late.id.Public() {
				t.Errorf("member = %s, want %s", got, late.id.Public())
			}
			if got := s.Snapshot().Conflicts; len(got) != 0 {
				t.Errorf("conflicts = %+v, want none", got)
			}
		})
	}
}

// TestAdmissionIsRemembered restarts a store after the ticket has expired.
func TestAdmissionIsRemembered(t *testing.T) {
	op := newOperator(t)
	dir := t.TempDir()
	s := op.open(t, dir)
	m := op.machine("n1", noon())
	merge(t, s, []store.Record{m.record()}, store.Accepted)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	later := store.Options{Now: func() time.Time { return noon().Add(48 * time.Hour) }}
	s, err := store.Open(dir, op.root(), later)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, ok := s.Snapshot().Members["n1"]; !ok {
		t.Error("the member is gone after a restart")
	}
	fresh := store.New(op.root(), later)
	if out := merge(t, fresh, []store.Record{m.record()}, store.Refused); out[0].Reason != trust.ReasonExpired {
		t.Errorf("a store that never admitted it: %+v, want Expired", out[0])
	}
}

// TestManyIdentities floods a store with identities of a stolen ticket: what it remembers is bounded, and the pinned one
// still gets in.
func TestManyIdentities(t *testing.T) {
	op := newOperator(t)
	s := op.memory()
	ticket := op.ticket("n1", noon())
	merge(t, s, []store.Record{op.use(ticket, noon()).record()}, store.Accepted)
	var last machine
	for range 20 {
		last = op.use(ticket, noon())
		merge(t, s, []store.Record{last.record()}, store.Refused)
	}
	if got := len(s.Snapshot().Conflicts); got > 4 {
		t.Errorf("%d identities are remembered", got)
	}
	merge(t, s, []store.Record{op.node("n1", at(1), "hk", last.id.Public()), last.record()}, store.Accepted, store.Accepted)
}

// TestNewerClaim lets an admitted node change its keys, which only it can.
func TestNewerClaim(t *testing.T) {
	op := newOperator(t)
	s := op.memory()
	ticket := op.ticket("n1", noon())
	m := op.use(ticket, noon())
	newer := machine{m.name, m.id, op.prove(ticket, m.id, noon().Add(time.Minute))}
	merge(t, s, []store.Record{m.record(), op.status(m, 1, "1")}, store.Accepted, store.Accepted)
	merge(t, s, []store.Record{newer.record()}, store.Accepted)
	merge(t, s, []store.Record{m.record()}, store.Older)
	snap := s.Snapshot()
	if got := snap.Members["n1"].Claim.Made; !got.Equal(noon().Add(time.Minute)) {
		t.Errorf("claim of %s, want the newer", got)
	}
	if len(snap.Statuses) != 1 || len(snap.Conflicts) != 0 {
		t.Errorf("statuses %v, conflicts %v, want the status kept and no conflict", snap.Statuses, snap.Conflicts)
	}
}

func TestAdmit(t *testing.T) {
	op := newOperator(t)
	s := op.memory()
	good, late := op.machine("n1", noon()), op.machine("n2", noon().Add(-24*time.Hour))
	for _, tt := range []struct {
		m    machine
		want trust.Reason
	}{{good, ""}, {good, ""}, {late, trust.ReasonExpired}} {
		member, err := op.root().VerifyProof(tt.m.proof)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Admit(member); trust.ReasonOf(err) != tt.want || (tt.want == "" && err != nil) {
			t.Errorf("admit %s: %v, want reason %q", tt.m.name, err, tt.want)
		}
	}
	if _, ok := s.Snapshot().Members["n1"]; !ok {
		t.Error("the admitted caller is no member")
	}
}
