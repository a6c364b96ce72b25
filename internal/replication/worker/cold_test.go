package worker_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// A node that is alone stops being so when the other one asks, and that one is answered only when nothing is being replaced.
func TestAloneUntilAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		linked := false
		m := worker.NewMover(false, func() bool { return linked })
		if _, err := m.HoldAlone(t.Context()); err == nil {
			t.Fatal("a node moves alone that nobody has told so")
		}
		m.Permit()
		<-time.After(time.Minute - time.Second)
		release, err := m.HoldAlone(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		answered := false
		go func() {
			m.Meet()
			answered = true
		}()
		synctest.Wait()
		if answered {
			t.Error("the other node is answered while a directory is replaced")
		}
		release()
		synctest.Wait()
		if !answered {
			t.Error("the other node is not answered")
		}
		m.Permit() // one that was on its way
		if _, err := m.HoldAlone(t.Context()); err == nil {
			t.Error("the other node was told what there is, and then it changes")
		}
		<-time.After(31 * time.Second)
		linked = true
		if _, err := m.HoldAlone(t.Context()); err == nil {
			t.Error("a node moves alone while the other is reached")
		}
		linked = false
		if release, err = m.HoldAlone(t.Context()); err != nil {
			t.Fatal(err)
		}
		release()
		<-time.After(time.Minute)
		if _, err := m.HoldAlone(t.Context()); err == nil {
			t.Error("a node moves alone although nobody has told it so for long")
		}
	})
}

// The engine and moves keep each other out, and the engine is ended for them.
func TestHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := worker.NewMover(false, func() bool { return true })
		ctx, cancel := context.WithCancel(t.Context())
		release, err := m.Admit(t.Context(), cancel)
		if err != nil {
			t.Fatal(err)
		}
		type hold struct {
			let func()
			err error
		}
		held := make(chan hold, 1)
		go func() {
			let, err := m.Hold(t.Context())
			held <- hold{let, err}
		}()
		<-ctx.Done()
		synctest.Wait()
		if len(held) > 0 {
			t.Fatal("something is moved while the engine has not ended")
		}
		release()
		it := <-held
		if it.err != nil {
			t.Fatal(it.err)
		}
		short, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if _, err := m.Admit(short, stop); err == nil {
			t.Error("the engine runs while something is moved")
		}
		it.let()
		if release, err = m.Admit(t.Context(), stop); err != nil {
			t.Fatal(err)
		}
		release()
	})
}

// Between two rests the engine has its turn: until it has made both sides equal, or for a minute.
func TestTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var synced time.Time
		m := worker.NewMoverThat(func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return synced
		})
		rest := func() time.Duration {
			t.Helper()
			began := time.Now()
			release, err := m.Hold(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			release()
			return time.Since(began)
		}
		if took := rest(); took > 0 {
			t.Errorf("the first rest begins after %s", took)
		}
		go func() {
			<-time.After(7 * time.Second)
			mu.Lock()
			defer mu.Unlock()
			synced = time.Now()
		}()
		if took := rest(); took < 7*time.Second || took > 8*time.Second {
			t.Errorf("the next rest begins after %s, and the sides were equal after 7 s", took)
		}
		if took := rest(); took < time.Minute || took > 61*time.Second {
			t.Errorf("the sides do not become equal, and the next rest begins after %s", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.Hold(ctx); err == nil {
			t.Error("a rest after the end")
		}
	})
}
