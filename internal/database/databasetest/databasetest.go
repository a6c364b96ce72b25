//go:build linux

package databasetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Run runs the tests with an engine: the life of one database, each chapter from where the one before has left it. It takes
// root, and skips where machines cannot be made.
func Run(t *testing.T, e Engine) {
	w := newWorld(t, e)
	acked := &record{}
	t.Cleanup(func() { w.lastWords(t) })
	for _, chapter := range []struct {
		name string
		run  func(*testing.T, *world, *record)
	}{
		{"foreign data is not touched", testForeign},
		{"apply makes a server, and then nothing more", testApply},
		{"bootstrap makes a primary", testBootstrap},
		{"what the primary keeps", testMaintain},
		{"no password is left behind", testSecrets},
		{"join by copying everything", testClone},
		{"join by taking over what was missed", testIncrement},
		{"a member without a group does not join", testNoGroup},
		{"the primary dies", testPrimaryDies},
		{"switchover", testSwitchover},
		{"switchover against long transactions", testLongTransaction},
		{"settings", testSettings},
		{"a server that hangs", testHang},
		{"the power of all is cut", testFullOutage},
		{"a diverged member is refused", testDiverged},
		{"nothing wanted removes all but the data", testRemove},
	} {
		if !t.Run(chapter.name, func(t *testing.T) { chapter.run(t, w, acked) }) {
			t.Fatal("the next chapters begin where this one should have ended")
		}
	}
}

func testForeign(t *testing.T, w *world, _ *record) {
	n := w.members[2]
	file := w.engine.Data + "/somebody's"
	if _, err := n.Sys.WriteFile(file, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.Driver.Apply(t.Context(), n.want); err == nil {
		t.Error("a server is made over somebody's data")
	}
	if text, err := n.Sys.ReadFile(file); err != nil || string(text) != "data" {
		t.Errorf("somebody's data is %q (%v) now", text, err)
	}
	if err := n.Driver.Apply(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if text, err := n.Sys.ReadFile(file); err != nil || string(text) != "data" {
		t.Errorf("somebody's data is %q (%v) after the removal", text, err)
	}
	if _, err := n.Sys.Remove(w.engine.State); err != nil {
		t.Fatal(err)
	}
}

func testApply(t *testing.T, w *world, _ *record) {
	if st := w.members[0].mustStatus(t); st.State != spec.MemberDown || st.Fresh {
		t.Errorf("before anything was made: %+v, want down", st)
	}
	all(t, "apply", w.members, func(n *member) error { return n.Driver.Apply(t.Context(), n.want) })
	for _, n := range w.members {
		st := n.mustStatus(t)
		if st.State != spec.MemberStranded || !st.Fresh || st.Writable || st.Primary != "" || st.Version == "" {
			t.Errorf("%s: %+v, want a fresh server in no group that takes no writes", n.Name, st)
		}
		if st.RestartNeeded || st.Running == "" || st.Running != st.Wanted {
			t.Errorf("%s runs with settings %q, should with %q", n.Name, st.Running, st.Wanted)
		}
		if p := n.position(t); p != "" {
			t.Errorf("%s has data at the beginning: %s", n.Name, p)
		}
		n.Sys.takeChanges()
		n.apply(t)
		if changes := n.Sys.takeChanges(); len(changes) > 0 {
			t.Errorf("%s: the second apply changes %q", n.Name, changes)
		}
		for _, tt := range []struct {
			a, b string
			want database.Order
		}{{"", "", database.Equal}} {
			if got, err := n.Driver.Compare(t.Context(), tt.a, tt.b); err != nil || got != tt.want {
				t.Errorf("%q is %s of %q (%v), want %s", tt.a, got, tt.b, err, tt.want)
			}
		}
	}
}

func testBootstrap(t *testing.T, w *world, _ *record) {
	n := w.members[0]
	if err := n.Driver.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	st := n.mustStatus(t)
	if st.State != spec.MemberOnline || !st.Writable || st.Primary != n.Name || st.View[n.Name] != spec.MemberOnline || len(st.View) != 1 {
		t.Errorf("%+v, want the online primary of a group of one", st)
	}
	if err := n.Driver.Bootstrap(t.Context()); err == nil {
		t.Error("a second bootstrap does not fail")
	}
	n.Sys.takeChanges()
	n.apply(t)
	if changes := n.Sys.takeChanges(); len(changes) > 0 {
		t.Errorf("an apply of a member in a group changes %q", changes)
	}
}

func testMaintain(t *testing.T, w *world, acked *record) {
	n := w.members[0]
	if w.engine.Show != nil {
		if err := w.engine.Show(t.Context(), n.Dial); err != nil {
			t.Fatal(err)
		}
	}
	maintain := func() {
		t.Helper()
		if err := n.Driver.Maintain(t.Context(), n.want); err != nil {
			t.Fatal(err)
		}
	}
	maintain()
	before := n.position(t)
	maintain()
	if after := n.position(t); after != before {
		t.Errorf("the second time, it writes: %s, was %s", after, before)
	}
	if err := w.do(t.Context(), n, "CREATE TABLE entries (id INT PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	if err := w.do(t.Context(), n, "CREATE TABLE other.entries (id INT PRIMARY KEY)"); err == nil {
		t.Error("the user may use another schema than its own")
	}
	if err := w.do(t.Context(), n, "CREATE TABLE keyless (id INT)"); err == nil {
		t.Error("a table without a primary key can be made")
	}
	writer := w.write(t, acked)
	await.True(t, "writes are acknowledged", 10*time.Second, func() bool { count, _ := writer.writes(); return count > 20 })
	writer.stop()

	old := n.want.Users[user]
	n.want.Users = map[string]database.User{
		user:     {Password: newPassword, Version: 2, Schemas: old.Schemas},
		"second": {Password: password, Version: 1},
	}
	for _, other := range w.others(n) {
		other.want.Users = n.want.Users
	}
	maintain()
	if _, err := w.rows(t.Context(), n); err != nil {
		t.Errorf("the new password: %v", err)
	}
	db, err := w.open(n, old.Password)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.PingContext(t.Context()); err == nil {
		t.Error("the old password is still taken")
	}
	second, err := w.engine.Open(n.Dial, n.want.Address.String(), "second", password, "other")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	if _, err := second.ExecContext(t.Context(), "CREATE TABLE entries (id INT PRIMARY KEY)"); err != nil {
		t.Errorf("a user without schemas of its own: %v", err)
	}
	_ = second.Close()
	delete(n.want.Users, "second")
	maintain()
	again, err := w.engine.Open(n.Dial, n.want.Address.String(), "second", password, "other")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	if err := again.PingContext(t.Context()); err == nil {
		t.Error("a user that is not wanted any more is let in")
	}
}

func testSecrets(t *testing.T, w *world, _ *record) {
	n := w.members[0]
	for _, secret := range []string{"Very", newPassword, n.want.Secrets.Replication[:16], n.want.Secrets.Router[:16]} {
		out, err := n.Run(t.Context(), "sh", "-c", `journalctl --no-pager --output=export >/run/journal.txt
grep -rlF -e "$1" `+w.engine.State+` /etc/atoll /run /tmp /var/tmp /var/log 2>/dev/null || true
for f in /proc/[0-9]*/cmdline; do [ "${f#/proc/}" = "$$/cmdline" ] || tr '\0' '\n' <$f 2>/dev/null | grep -F -e "$1" | grep -v '^grep' || true; done; rm /run/journal.txt`, "sh", secret)
		if err != nil {
			t.Fatal(err)
		}
		out = strings.TrimSpace(strings.ReplaceAll(out, secret, ""))
		if out != "" {
			t.Errorf("a password is in %s", out)
		}
	}
}

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
	await.True(t, "writes are acknowledged", 10*time.Second, func() bool { count, _ := writer.writes(); return count > 100 })
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
	if took := time.Since(from); err == nil || took > 6*time.Second {
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

func testPrimaryDies(t *testing.T, w *world, acked *record) {
	dead := w.primary(t, w.members)
	writer := w.write(t, acked)
	await.True(t, "writes are acknowledged", 10*time.Second, func() bool { count, _ := writer.writes(); return count > 50 })
	dead.signal(t, w.engine, syscall.SIGKILL)
	next := w.primary(t, w.others(dead))
	count, _ := writer.writes()
	await.True(t, "writes are acknowledged again", 10*time.Second, func() bool { now, _ := writer.writes(); return now > count+50 })
	if err := dead.in(t.Context()); err != nil {
		t.Fatal(err)
	}
	writer.stop()
	_, gap := writer.writes()
	t.Logf("without writes for %s; the primary is %s now", gap.Round(10*time.Millisecond), next.Name)
	if next == dead || w.primary(t, w.members) != next {
		t.Error("the primary that died came back as the primary")
	}
	w.equal(t)
	acked.check(t, w, w.members...)
}

func testSwitchover(t *testing.T, w *world, acked *record) {
	from := w.primary(t, w.members)
	to, third := w.others(from)[0], w.others(from)[1]
	writer := w.write(t, acked)
	await.True(t, "writes are acknowledged", 10*time.Second, func() bool { count, _ := writer.writes(); return count > 50 })
	// Any member can be told.
	if err := third.Driver.SwitchOver(t.Context(), to.Name, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if now := w.primary(t, w.members); now != to {
		t.Errorf("the primary is %s, not %s", now.Name, to.Name)
	}
	count, _ := writer.writes()
	await.True(t, "writes are acknowledged again", 10*time.Second, func() bool { now, _ := writer.writes(); return now > count+50 })
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
	if err := from.in(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.equal(t)
	acked.check(t, w, w.members...)
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
	old := n.mustStatus(t).Running
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
	n.want.Settings = map[string]string{w.engine.Live[0]: w.engine.Live[1]}
	n.apply(t)
	st := n.mustStatus(t)
	if st.State != spec.MemberOnline || st.RestartNeeded || st.Running == old || st.Running != st.Wanted || n.pid(t, w.engine) != pid {
		t.Errorf("a setting that the server can take: %+v", st)
	}
	if got, err := w.engine.ReadSetting(t.Context(), n.Dial, w.engine.Live[0]); err != nil || got != w.engine.Live[1] {
		t.Errorf("%s is %q (%v), want %q", w.engine.Live[0], got, err, w.engine.Live[1])
	}
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

func testHang(t *testing.T, w *world, acked *record) {
	n := w.primary(t, w.members)
	n.signal(t, w.engine, syscall.SIGSTOP)
	if st := n.mustStatus(t); st.State != spec.MemberDown || st.Writable || st.Fresh || st.Problem == "" {
		t.Errorf("%+v, want down and why", st)
	}
	w.primary(t, w.others(n))
	n.signal(t, w.engine, syscall.SIGCONT)
	if err := n.in(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := w.primary(t, w.members); now == n {
		t.Error("who hung is the primary again")
	}
	w.equal(t)
	acked.check(t, w, w.members...)
}

func testFullOutage(t *testing.T, w *world, acked *record) {
	primary := w.primary(t, w.members)
	behind := w.others(primary)[0]
	writer := w.write(t, acked)
	await.True(t, "writes are acknowledged", 10*time.Second, func() bool { count, _ := writer.writes(); return count > 50 })
	if err := behind.PowerCut(t.Context()); err != nil {
		t.Fatal(err)
	}
	count, _ := writer.writes()
	await.True(t, "writes are acknowledged without one member", 30*time.Second, func() bool { now, _ := writer.writes(); return now > count+50 })
	all(t, "power cut", w.others(behind), func(n *member) error { return n.PowerCut(t.Context()) })
	writer.stop()
	all(t, "power on", w.members, func(n *member) error { return n.PowerOn(t.Context()) })
	all(t, "apply", w.members, func(n *member) error { return n.Driver.Apply(t.Context(), n.want) })
	best := w.members[0]
	positions := map[string]string{}
	for _, n := range w.members {
		if st := n.mustStatus(t); st.State != spec.MemberStranded || st.Writable || st.Fresh {
			t.Errorf("%s after the outage: %+v", n.Name, st)
		}
		positions[n.Name] = n.position(t)
		order, err := n.Driver.Compare(t.Context(), positions[n.Name], positions[best.Name])
		if err != nil || order == database.Diverged {
			t.Fatalf("%s: %s (%v): %v", n.Name, order, err, positions)
		}
		if order == database.Greater {
			best = n
		}
	}
	if best == behind {
		t.Errorf("who was not there at the end has the most: %v", positions)
	}
	if err := best.Driver.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	all(t, "join", w.others(best), func(n *member) error { return n.in(t.Context()) })
	w.equal(t)
	acked.check(t, w, w.members...)
	for _, n := range w.members {
		now := n.position(t)
		if order, err := n.Driver.Compare(t.Context(), now, positions[best.Name]); err != nil || order == database.Less || order == database.Diverged {
			t.Errorf("%s has %s, which is %s of what there was (%v)", n.Name, now, order, err)
		}
	}
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
	await.NoError(t, "the copy is under way", 20*time.Second, func(ctx context.Context) error {
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
