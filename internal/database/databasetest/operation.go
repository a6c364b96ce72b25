//go:build linux

package databasetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func testSwitchover(t *testing.T, w *world, acked *record) {
	from := w.primary(t, w.members)
	to, third := w.others(from)[0], w.others(from)[1]
	writer := w.write(t, acked)
	await.True(t, "writes are acknowledged", 30*time.Second, func() bool { count, _ := writer.writes(); return count > 50 })
	// A look beforehand changes nothing.
	if c := mustCheck(t, third, to.Name); c.From != from.Name || c.Reason != "" || len(c.Long) > 0 {
		t.Errorf("a look beforehand: %+v, want that nothing is in the way", c)
	}
	if c := mustCheck(t, third, "nobody"); c.Reason != "unknown-member" || c.From != from.Name || c.Message == "" {
		t.Errorf("a look beforehand, to nobody: %+v", c)
	}
	if now := w.primary(t, w.members); now != from {
		t.Errorf("a look has made %s the primary", now.Name)
	}
	// Any member can be told.
	if err := third.Driver.SwitchOver(t.Context(), to.Name, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if now := w.primary(t, w.members); now != to {
		t.Errorf("the primary is %s, not %s", now.Name, to.Name)
	}
	count, _ := writer.writes()
	await.True(t, "writes are acknowledged again", 30*time.Second, func() bool { now, _ := writer.writes(); return now > count+50 })
	writer.stop()
	_, gap := writer.writes()
	t.Logf("without writes for %s", gap.Round(10*time.Millisecond))
	if err := third.Driver.SwitchOver(t.Context(), to.Name, 20*time.Second); err != nil {
		t.Errorf("to who is the primary already: %v", err)
	}
	wantRefusal(t, third.Driver.SwitchOver(t.Context(), "nobody", 20*time.Second), "unknown-member")
	if err := from.Driver.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, third.Driver.SwitchOver(t.Context(), from.Name, 20*time.Second), "not-online")
	if c := mustCheck(t, third, from.Name); c.Reason != "not-online" {
		t.Errorf("a look beforehand, to who is away: %+v", c)
	}
	if err := from.in(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.equal(t)
	acked.check(t, w, w.members...)
}

func mustCheck(t *testing.T, n *member, to string) database.SwitchoverCheck {
	t.Helper()
	c, err := n.Driver.CheckSwitchover(t.Context(), to)
	if err != nil {
		t.Errorf("look before a switchover to %s: %v", to, err)
	}
	return c
}

func wantRefusal(t *testing.T, err error, reason string) {
	t.Helper()
	var refused *database.SwitchoverError
	if !errors.As(err, &refused) || refused.Reason != reason {
		t.Errorf("got %v, want a refusal because of %s", err, reason)
	}
}

func testLongTransaction(t *testing.T, w *world, acked *record) {
	from := w.primary(t, w.members)
	to, third := w.others(from)[0], w.others(from)[1]
	db, err := w.open(from, newPassword)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	id := acked.number()
	if _, err := tx.ExecContext(t.Context(), fmt.Sprintf("INSERT INTO entries (id) VALUES (%d)", id)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	await.True(t, "the transaction is an old one", 20*time.Second, func() bool { return time.Since(begin) > 7*time.Second })
	if c := mustCheck(t, third, to.Name); c.Reason != "long-transactions" || len(c.Long) != 1 || !strings.Contains(c.Message, "user "+user) {
		t.Errorf("a look beforehand: %+v, want that the transaction is in the way", c)
	}
	err = third.Driver.SwitchOver(t.Context(), to.Name, 10*time.Second)
	wantRefusal(t, err, "long-transactions")
	if err == nil || !strings.Contains(err.Error(), "user "+user) {
		t.Errorf("the refusal does not say whose transaction it is: %v", err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatalf("the transaction was lost: %v", err)
	}
	acked.ack(id)
	if now := w.primary(t, w.members); now != from {
		t.Errorf("the primary is %s, not %s any more", now.Name, from.Name)
	}
	w.equal(t)
	acked.check(t, w, w.members...)
}

func testSettings(t *testing.T, w *world, _ *record) {
	primary := w.primary(t, w.members)
	n := w.others(primary)[0]
	pid := n.pid(t, w.engine)
	old, before := n.mustStatus(t).Running, n.want.Settings
	for name, value := range w.engine.Bad {
		n.want.Settings = map[string]string{name: value}
		var refused *database.SettingsError
		if err := n.Driver.Apply(t.Context(), n.want); !errors.As(err, &refused) || !strings.Contains(refused.Message, name) {
			t.Errorf("%s = %s: %v, want a refusal that names it", name, value, err)
		}
		if st := n.mustStatus(t); st.State != spec.MemberOnline || st.Running != old || st.Wanted != old || n.pid(t, w.engine) != pid {
			t.Errorf("%s = %s: %+v, want that nothing has changed", name, value, st)
		}
	}
	// What was refused must not be in the way of anything else, also not for an agent that has just been started.
	n.Driver = w.engine.New(n.Sys, machinetest.Logger(t, n.Name), n.Dial)
	var refused *database.SettingsError
	if err := n.Driver.Apply(t.Context(), n.want); !errors.As(err, &refused) {
		t.Errorf("got %v, want a refusal", err)
	}
	if err := n.Driver.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.in(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A server that starts anew meanwhile does so with what it had, so that nothing restarts when the change is taken back.
	if err := n.Driver.Restart(t.Context()); err != nil && !errors.As(err, &refused) {
		t.Fatal(err)
	}
	if err := n.in(t.Context()); err != nil {
		t.Fatal(err)
	}
	pid = n.pid(t, w.engine)
	n.want.Settings = before
	n.apply(t)
	if st := n.mustStatus(t); st.State != spec.MemberOnline || st.RestartNeeded || st.Running != old || n.pid(t, w.engine) != pid {
		t.Errorf("after a refused change was taken back: %+v, want that nothing has changed", st)
	}
	n.want.Settings = map[string]string{w.engine.Live[0]: w.engine.Live[1]}
	n.apply(t)
	st := n.mustStatus(t)
	if st.State != spec.MemberOnline || st.RestartNeeded || st.Running == old || st.Running != st.Wanted || n.pid(t, w.engine) != pid {
		t.Errorf("a setting that the server can take: %+v", st)
	}
	if got, err := w.engine.ReadSetting(t.Context(), n.Dial, w.engine.Live[0]); err != nil || got != w.engine.Live[1] {
		t.Errorf("%s is %q (%v), want %q", w.engine.Live[0], got, err, w.engine.Live[1])
	}
	testCrowd(t, w, n)
	n.want.Settings[w.engine.Restart[0]] = w.engine.Restart[1]
	n.apply(t)
	st = n.mustStatus(t)
	if st.State != spec.MemberOnline || !st.RestartNeeded || st.Running == st.Wanted || n.pid(t, w.engine) != pid {
		t.Errorf("a setting that takes a restart: %+v", st)
	}
	if err := n.Driver.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	st = n.mustStatus(t)
	if st.State != spec.MemberStranded || st.RestartNeeded || st.Running != st.Wanted || n.pid(t, w.engine) == pid {
		t.Errorf("after the restart: %+v", st)
	}
	if err := n.in(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range [][2]string{w.engine.Live, w.engine.Restart} {
		if got, err := w.engine.ReadSetting(t.Context(), n.Dial, s[0]); err != nil || got != s[1] {
			t.Errorf("after the restart, %s is %q (%v), want %q", s[0], got, err, s[1])
		}
	}
	n.Sys.takeChanges()
	n.apply(t)
	if changes := n.Sys.takeChanges(); len(changes) > 0 {
		t.Errorf("an apply after all that changes %q", changes)
	}
}

// testImpatience switches over while somebody is in the middle of a transaction, with little patience: whatever comes of it, what
// is reported has to be so.
func testImpatience(t *testing.T, w *world, acked *record) {
	from := w.primary(t, w.members)
	to := w.others(from)[1]
	db, err := w.open(from, newPassword)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	id := acked.number()
	if _, err := tx.ExecContext(t.Context(), fmt.Sprintf("INSERT INTO entries (id) VALUES (%d)", id)); err != nil {
		t.Fatal(err)
	}
	err = from.Driver.SwitchOver(t.Context(), to.Name, 4*time.Second)
	want := to
	if err != nil {
		t.Logf("refused: %v", err)
		want = from
	}
	if tx.Commit() == nil {
		acked.ack(id)
	}
	if now := w.primary(t, w.members); now != want {
		t.Errorf("the primary is %s, but the switchover said %v", now.Name, err)
	}
	w.equal(t)
	acked.check(t, w, w.members...)
}

// testCrowd has an application take all connections that there are.
func testCrowd(t *testing.T, w *world, n *member) {
	t.Helper()
	db, err := w.open(n, newPassword)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for taken := 0; ; taken++ {
		conn, err := db.Conn(t.Context())
		if err != nil {
			break // it is full
		}
		defer func() { _ = conn.Close() }()
		if taken > w.engine.Crowd {
			t.Fatalf("the server takes more than %d connections", taken)
		}
	}
	if st := n.mustStatus(t); st.State != spec.MemberOnline {
		t.Errorf("%+v, want that the server is still seen", st)
	}
}

func testRemove(t *testing.T, w *world, acked *record) {
	primary := w.primary(t, w.members)
	if err := primary.Driver.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	left := w.others(primary)
	next := w.primary(t, left)
	if err := primary.Driver.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	unit, err := primary.Sys.Units().Status(t.Context(), w.engine.Unit)
	if err != nil || unit.Exists {
		t.Errorf("the unit is still there: %+v (%v)", unit, err)
	}
	if _, err := primary.Sys.ReadDir(w.engine.Data); err == nil {
		t.Error("the data is still where a server would take it")
	}
	kept, err := primary.Run(t.Context(), "find", w.engine.State, "-name", "entries*")
	if err != nil || kept == "" {
		t.Errorf("the data was not kept: %q (%v)", kept, err)
	}
	if st := primary.mustStatus(t); st.State != spec.MemberDown {
		t.Errorf("%+v, want down", st)
	}
	primary.Sys.takeChanges()
	if err := primary.Driver.Apply(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if changes := primary.Sys.takeChanges(); len(changes) > 0 {
		t.Errorf("the second removal changes %q", changes)
	}
	acked.check(t, w, left...)
	if err := w.do(t.Context(), next, fmt.Sprintf("INSERT INTO entries (id) VALUES (%d)", acked.number())); err != nil {
		t.Errorf("the two that are left: %v", err)
	}
	if err := w.others(primary)[0].Driver.Maintain(context.WithoutCancel(t.Context()), left[0].want); err != nil {
		t.Error(err)
	}
}
