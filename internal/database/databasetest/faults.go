//go:build linux

package databasetest

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func testPrimaryDies(t *testing.T, w *world, acked *record) {
	dead := w.primary(t, w.members)
	writer := w.write(t, acked)
	await.True(t, "writes are acknowledged", 30*time.Second, func() bool { count, _ := writer.writes(); return count > 50 })
	dead.signal(t, w.engine, syscall.SIGKILL)
	next := w.primary(t, w.others(dead))
	count, _ := writer.writes()
	await.True(t, "writes are acknowledged again", 30*time.Second, func() bool { now, _ := writer.writes(); return now > count+50 })
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
	await.True(t, "writes are acknowledged", 30*time.Second, func() bool { count, _ := writer.writes(); return count > 50 })
	if err := behind.PowerCut(t.Context()); err != nil {
		t.Fatal(err)
	}
	count, _ := writer.writes()
	await.True(t, "writes are acknowledged without one member", time.Minute, func() bool { now, _ := writer.writes(); return now > count+50 })
	last := w.others(primary)[1]
	if err := last.PowerCut(t.Context()); err != nil {
		t.Fatal(err)
	}
	testMajorityLost(t, w, primary, writer)
	if err := primary.PowerCut(t.Context()); err != nil {
		t.Fatal(err)
	}
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
	if order, err := best.Driver.Compare(t.Context(), positions[best.Name], positions[primary.Name]); err != nil || order != database.Equal {
		t.Errorf("%s is %s of the last primary (%v): %v", best.Name, order, err, positions)
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

// testMajorityLost looks at a primary whose two secondaries have no power any more, while an application goes on to write. It
// leaves the member in no group.
func testMajorityLost(t *testing.T, w *world, n *member, writer *writer) {
	var st database.Status
	// The primary answers all the while, also before it knows that the others are gone, when no question to the group has an answer.
	const wondering = 2 * time.Second
	cut, looks, down := time.Now(), 0, 0
	await.NoError(t, "the primary is blocked", time.Minute, func(ctx context.Context) error {
		wonders := time.Since(cut) > wondering
		var err error
		if st, err = n.status(ctx); err == nil && st.State != spec.MemberBlocked {
			err = fmt.Errorf("it is %s", st.State)
			if wonders {
				looks++
			}
			if wonders && st.State == spec.MemberDown {
				down++
			}
		}
		return err
	})
	if looks > 0 && down == looks {
		t.Errorf("a primary without a majority was said to be down by each of %d looks, though it answers", looks)
	}
	if st.Writable || st.Primary != "" || st.View[n.Name] != spec.MemberOnline {
		t.Errorf("%+v, want that nobody takes writes", st)
	}
	if _, err := w.rows(t.Context(), n); err != nil {
		t.Errorf("reading without a majority: %v", err)
	}
	count, _ := writer.writes()
	from := time.Now()
	if err := n.Driver.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(from); took > 40*time.Second {
		t.Errorf("leaving a group without a majority took %s", took)
	}
	if st := n.mustStatus(t); st.State != spec.MemberStranded || st.Writable {
		t.Errorf("%+v, want a stranded member", st)
	}
	writer.stop()
	if now, _ := writer.writes(); now != count {
		t.Errorf("%d writes were acknowledged without a majority", now-count)
	}
}
