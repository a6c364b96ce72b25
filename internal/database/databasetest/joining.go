//go:build linux

package databasetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func testClone(t *testing.T, w *world, acked *record) {
	joiners := w.members[1:]
	for _, n := range joiners {
		findings, err := n.Driver.Preflight(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		said := ""
		for _, f := range findings {
			said += fmt.Sprintf("%s %s: %s\n", f.Severity, f.Check, f.Message)
			if f.Severity == database.Blocks {
				t.Errorf("%s: %s", n.Name, f.Message)
			}
		}
		if !strings.Contains(said, "copies") {
			t.Errorf("nothing says how much will be copied: %s", said)
		}
	}
	from := time.Now()
	all(t, "join", joiners, func(n *member) error { return n.in(t.Context()) })
	t.Logf("both are online after %s", time.Since(from).Round(10*time.Millisecond))
	w.equal(t)
	acked.check(t, w, w.members...)
	for _, n := range w.members {
		w.show(t, n)
		st := n.mustStatus(t)
		if st.State != spec.MemberOnline || st.Primary != w.members[0].Name || len(st.View) != 3 || st.Fresh {
			t.Errorf("%s: %+v", n.Name, st)
		}
		n.Sys.takeChanges()
		n.apply(t)
		if changes := n.Sys.takeChanges(); len(changes) > 0 {
			t.Errorf("%s: an apply changes %q", n.Name, changes)
		}
		if n != w.members[0] {
			if err := n.Driver.Maintain(t.Context(), n.want); err != nil {
				t.Errorf("%s: a secondary that maintains: %v", n.Name, err)
			}
		}
	}
	// The members' own rows, which only now are complete.
	if err := w.members[0].Driver.Maintain(t.Context(), w.members[0].want); err != nil {
		t.Fatal(err)
	}
}

func testIncrement(t *testing.T, w *world, acked *record) {
	n := w.members[2]
	if err := n.Driver.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := n.mustStatus(t); st.State != spec.MemberStranded || st.Writable || st.Fresh {
		t.Errorf("after leaving: %+v", st)
	}
	before := n.position(t)
	pid := n.pid(t, w.engine)
	writer := w.write(t, acked)
	await.True(t, "writes are acknowledged", 30*time.Second, func() bool { count, _ := writer.writes(); return count > 100 })
	writer.stop()
	primary := w.members[0].position(t)
	if order, err := n.Driver.Compare(t.Context(), before, primary); err != nil || order != database.Less {
		t.Errorf("who was away is %s (%v), want less", order, err)
	}
	if order, err := n.Driver.Compare(t.Context(), primary, before); err != nil || order != database.Greater {
		t.Errorf("who was not away is %s (%v), want greater", order, err)
	}
	if order, err := n.Driver.Compare(t.Context(), "", primary); err != nil || order != database.Less {
		t.Errorf("nothing is %s (%v), want less", order, err)
	}
	if err := n.in(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.equal(t)
	acked.check(t, w, w.members...)
	if now := n.pid(t, w.engine); now != pid {
		t.Error("the server was started again, so everything was copied")
	}
}

// testUnfit has a member that must not join as it is: it stays out, says why, and joins when that is mended.
func testUnfit(t *testing.T, w *world, acked *record) {
	n := w.others(w.primary(t, w.members))[0]
	if err := n.Driver.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	blocks := func() (checks []string) {
		t.Helper()
		findings, err := n.Driver.Preflight(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range findings {
			if f.Severity == database.Blocks {
				checks = append(checks, f.Check)
			}
		}
		return checks
	}
	if found := blocks(); len(found) > 0 {
		t.Errorf("a member that was in the group a moment ago: %q", found)
	}
	for _, u := range w.engine.Unfit {
		if err := u.Make(t.Context(), n.Dial); err != nil {
			t.Fatalf("%s: %v", u.Check, err)
		}
		if found := blocks(); !slices.Contains(found, u.Check) {
			t.Errorf("%s is not found, but %q", u.Check, found)
		}
		if err := n.Driver.Join(t.Context()); err == nil || !strings.Contains(err.Error(), u.Check) {
			t.Errorf("joining ends with %v, want that %s is in the way", err, u.Check)
		}
		if st := n.mustStatus(t); st.State != spec.MemberStranded || !strings.Contains(st.Problem, u.Check) {
			t.Errorf("%+v, want a stranded member and why", st)
		}
		if err := u.Undo(t.Context(), n.Dial); err != nil {
			t.Fatalf("%s: %v", u.Check, err)
		}
	}
	if err := n.in(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.equal(t)
	acked.check(t, w, w.members...)
}

// testGivenUp gives joins up at several moments: a member that then says that it is in no group stays out until it is told to join again.
func testGivenUp(t *testing.T, w *world, acked *record) {
	const quiet = 8 * time.Second
	n := w.others(w.primary(t, w.members))[0]
	for _, patience := range []time.Duration{200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second} {
		if err := n.Driver.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := n.Driver.Join(ctx)
		cancel()
		said := n.mustStatus(t)
		t.Logf("given up after %s: %v; %s", patience, err, said.State)
		if said.State == spec.MemberStranded {
			since := time.Now()
			await.True(t, "nothing happens", time.Minute, func() bool {
				if st := n.mustStatus(t); st.State != spec.MemberStranded {
					t.Errorf("%s after a join was given up after %s, and it was out of the group, it is %s", time.Since(since), patience, st.State)
					return true
				}
				return time.Since(since) > quiet
			})
		}
		if err := n.in(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.equal(t)
	acked.check(t, w, w.members...)
}

// testNoGroup has a member look for a group whose other members are all out of it.
func testNoGroup(t *testing.T, w *world, _ *record) {
	primary := w.primary(t, w.members)
	left := w.others(primary)
	all(t, "leave", left, func(n *member) error { return n.Driver.Leave(t.Context()) })
	if err := w.lab.Network().Impair(t.Context(), primary.Name, left[0].Name, 100, false); err != nil {
		t.Fatal(err)
	}
	from := time.Now()
	err := left[0].Driver.Join(t.Context())
	if took := time.Since(from); err == nil || took > 12*time.Second {
		t.Errorf("joining without a group took %s and ended with %v", took, err)
	}
	if st := left[0].mustStatus(t); st.State != spec.MemberStranded || st.Problem == "" {
		t.Errorf("%+v, want a stranded member and why", st)
	}
	if err := w.lab.Network().HealAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	all(t, "join", left, func(n *member) error { return n.in(t.Context()) })
}

func testDiverged(t *testing.T, w *world, acked *record) {
	primary := w.primary(t, w.members)
	n := w.others(primary)[0]
	if err := n.Driver.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.engine.Diverge(t.Context(), n.Dial); err != nil {
		t.Fatal(err)
	}
	mine := n.position(t)
	err := n.Driver.Join(t.Context())
	var diverged *database.DivergedError
	if !errors.As(err, &diverged) || diverged.Node != n.Name || diverged.Own == "" {
		t.Fatalf("got %v, want that the member has diverged and how", err)
	}
	if st := n.mustStatus(t); st.State != spec.MemberStranded || !strings.Contains(st.Problem, diverged.Own) {
		t.Errorf("%+v, want a stranded member and why", st)
	}
	if now := n.position(t); now != mine {
		t.Errorf("the member's own data has become %s, was %s", now, mine)
	}
	if order, err := n.Driver.Compare(t.Context(), mine, primary.position(t)); err != nil || order != database.Diverged && order != database.Greater {
		t.Errorf("the order is %s (%v)", order, err)
	}
	// What the operator does then: away with it, and a member made anew.
	if err := n.Driver.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	n.apply(t)
	if st := n.mustStatus(t); !st.Fresh {
		t.Errorf("made anew: %+v", st)
	}
	// A copy that is broken off in the middle leaves no data, and is begun again.
	if err := n.Driver.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	await.NoError(t, "the copy is under way", time.Minute, func(ctx context.Context) error {
		st, err := n.status(ctx)
		if err == nil && st.Progress == "" {
			err = fmt.Errorf("it is %s", st.State)
		}
		return err
	})
	n.signal(t, w.engine, syscall.SIGKILL)
	if err := n.in(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.equal(t)
	acked.check(t, w, w.members...)
}
