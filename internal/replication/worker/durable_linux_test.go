package worker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// TestCrash has a machine lose its power after each step of a round.
func TestCrash(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		happen func(worker.Durable) error
		boot   string
		crash  bool
	}{
		{"nothing", func(worker.Durable) error { return nil }, "2", false},
		{"in a round", func(d worker.Durable) error { return d.Writes() }, "2", true},
		{"in a round, and the worker alone", func(d worker.Durable) error { return d.Writes() }, "1", false},
		{"in a round that is synced meanwhile", func(d worker.Durable) error {
			mustDo(t, d.Writes())
			return d.Sync(false)
		}, "2", true},
		{"after a round", func(d worker.Durable) error {
			mustDo(t, d.Writes())
			d.Wrote()
			return nil
		}, "2", true},
		{"after a round that is synced", func(d worker.Durable) error {
			mustDo(t, d.Writes())
			d.Wrote()
			return d.Sync(false)
		}, "2", false},
		{"in the next round", func(d worker.Durable) error {
			mustDo(t, d.Writes())
			d.Wrote()
			mustDo(t, d.Sync(false), d.Writes())
			return d.Sync(false)
		}, "2", true},
		{"in order", func(d worker.Durable) error {
			mustDo(t, d.Writes())
			return d.Sync(true)
		}, "2", false},
	} {
		c := worker.Config{Pair: "uploads", Path: t.TempDir(), StateDir: t.TempDir()}
		d, crashed, err := worker.NewDurable(c, "1")
		mustDo(t, err)
		if trusts, _ := d.Trusts(); crashed || !trusts {
			t.Errorf("%s: the first boot is after a crash", test.name)
		}
		mustDo(t, test.happen(d))
		d, crashed, err = worker.NewDurable(c, test.boot)
		mustDo(t, err)
		if trusts, behind := d.Trusts(); crashed != test.crash || trusts == test.crash || behind != test.crash {
			t.Errorf("%s: crashed %t, trusts %t, behind %t", test.name, crashed, trusts, behind)
		}
		mustDo(t, d.CaughtUp())
		if _, behind := d.Trusts(); behind {
			t.Errorf("%s: behind after both were found equal", test.name)
		}
	}
}

// TestSyncedSoon: what comes alone is on the disk when its round has ended, and what comes all the time once in a second.
func TestSyncedSoon(t *testing.T) {
	c := worker.Config{Pair: "uploads", Path: t.TempDir(), StateDir: t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		d, _, err := worker.NewDurable(c, "1")
		mustDo(t, err)
		go d.KeepSynced(t.Context())
		marked := func(when string, want bool) {
			t.Helper()
			synctest.Wait()
			if got := d.Marked(); got != want {
				t.Errorf("%s: marked %t", when, got)
			}
		}
		round := func() {
			mustDo(t, d.Writes())
			d.Wrote()
		}
		marked("nothing was written", false)
		mustDo(t, d.Writes())
		marked("in a round", true)
		time.Sleep(100 * time.Millisecond)
		marked("still in it", true)
		d.Wrote()
		marked("after it, at once", false)
		round()
		marked("after the next one, within a second", true)
		time.Sleep(time.Second)
		marked("a second later", false)
		for range 30 {
			round()
			time.Sleep(200 * time.Millisecond)
		}
		mustDo(t, d.Writes())
		time.Sleep(10 * time.Second)
		marked("in a long round", true)
		d.Wrote()
		time.Sleep(time.Second)
		marked("after it", false)
	})
}
