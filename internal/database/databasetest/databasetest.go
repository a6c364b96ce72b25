//go:build linux

package databasetest

import (
	"strings"
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
		{"a member that is not fit does not join", testUnfit},
		{"a join that is given up", testGivenUp},
		{"a member without a group does not join", testNoGroup},
		{"the primary dies", testPrimaryDies},
		{"no password is left behind by members", testSecrets},
		{"switchover", testSwitchover},
		{"switchover against long transactions", testLongTransaction},
		{"switchover without patience", testImpatience},
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
		w.show(t, n)
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
	await.True(t, "writes are acknowledged", 30*time.Second, func() bool { count, _ := writer.writes(); return count > 20 })
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
	for _, n := range w.members {
		findSecrets(t, w, n)
	}
}

// findSecrets looks for passwords in what a server and the driver have written.
func findSecrets(t *testing.T, w *world, n *member) {
	t.Helper()
	for _, secret := range []string{"Very", newPassword, n.want.Secrets.Replication[:16], n.want.Secrets.Router[:16]} {
		out, err := n.Run(t.Context(), "sh", "-c", `journalctl --no-pager --output=export >/run/journal.txt
grep -rnaF -e "$1" `+w.engine.State+` /etc/atoll /run /tmp /var/tmp /var/log 2>/dev/null || true
for f in /proc/[0-9]*/cmdline; do [ "${f#/proc/}" = "$$/cmdline" ] || tr '\0' '\n' <$f 2>/dev/null | grep -F -e "$1" | grep -v '^grep' || true; done; rm /run/journal.txt`, "sh", secret)
		if err != nil {
			t.Fatal(err)
		}
		out = strings.TrimSpace(strings.ReplaceAll(out, secret, "<SECRET>"))
		if out != "" {
			t.Errorf("%s: a password is in %s", n.Name, out)
		}
	}
}
