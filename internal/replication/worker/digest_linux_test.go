package worker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// keeping is an engine that keeps permissions.
type keeping struct{ worker.Engine }

func (keeping) Kept() (digest.Options, []string) {
	return digest.Options{Permissions: 0o777}, []string{".unfinished.*"}
}

// digester makes digests of a tree with a file in it. Takes is how long one takes.
type digester struct {
	worker.Digests
	tree    string
	takes   time.Duration
	missing bool
	// checks counts the looks whether the tree is there: one for each question, and one after each digest.
	checks atomic.Int32
}

func newDigester(t *testing.T) *digester {
	t.Helper()
	d := &digester{tree: t.TempDir()}
	cfg := worker.Config{Path: d.tree, StateDir: t.TempDir(), Exclude: []string{"*.tmp"}}
	d.Digests = worker.NewDigests(t.Context(), cfg, func() error {
		if d.checks.Add(1); d.takes > 0 && d.checks.Load()%2 == 0 {
			<-time.After(d.takes)
		}
		if d.missing {
			return worker.Problem("it is missing")
		}
		return nil
	})
	var problem worker.Problem
	if _, err := d.Ask(t.Context(), digest.Request{ID: "early"}); !errors.As(err, &problem) {
		t.Errorf("before the engine is there: %v", err)
	}
	d.checks.Store(0)
	if err := d.Begin(cfg, keeping{}); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(d.tree, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dir/file", "half.tmp", ".unfinished.x", worker.Marker, worker.CanaryDir} {
		d.write(t, name)
	}
	return d
}

func (d *digester) write(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.tree, name), []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (d *digester) must(t *testing.T, r digest.Request) *digest.Snapshot {
	t.Helper()
	result, err := d.Ask(t.Context(), r)
	if err != nil || result.Snapshot == nil {
		t.Fatalf("%+v, %v", result, err)
	}
	return result.Snapshot
}

func TestDigestGoesByWhatIsTold(t *testing.T) {
	d := newDigester(t)
	if got := d.must(t, digest.Request{ID: "1"}); got.Totals.Files != 1 {
		t.Errorf("it has %+v, want one file: the others do not count", got.Totals)
	}
	d.write(t, "dir/second")
	if got := d.must(t, digest.Request{ID: "2"}); got.Totals.Files != 1 {
		t.Errorf("an update of what nobody told of has %+v", got.Totals)
	}
	d.Changed(watch.Batch{Changes: []watch.Change{{Path: "dir/second", Own: true}}})
	if got := d.must(t, digest.Request{ID: "2"}); got.Totals.Files != 2 {
		t.Errorf("an update has %+v, want two files", got.Totals)
	}
	d.write(t, "dir/third")
	if got := d.must(t, digest.Request{ID: "3", Full: true}); got.Totals.Files != 3 {
		t.Errorf("a full digest has %+v, want three files", got.Totals)
	}
	d.write(t, "dir/fourth")
	d.Changed(watch.Batch{All: true})
	if got := d.must(t, digest.Request{ID: "4"}); got.Totals.Files != 4 {
		t.Errorf("an update after a rescan has %+v, want four files", got.Totals)
	}
}

func TestDigestOfATreeThatGoesAway(t *testing.T) {
	d := newDigester(t)
	var problem worker.Problem
	d.missing = true
	if result, err := d.Ask(t.Context(), digest.Request{ID: "1", Full: true}); !errors.As(err, &problem) {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestDigestThatTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDigester(t)
		d.takes = 4 * time.Second
		began := time.Now()
		request := digest.Request{ID: "1", Full: true}
		if d.must(t, request); time.Since(began) != 4*time.Second {
			t.Errorf("it took %s", time.Since(began))
		}
		// A question that ends before leaves it under way, and asking again is no second one.
		d.takes, began = 8*time.Second, time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.Ask(ctx, request); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the question was broken off: %v", err)
		}
		checks := d.checks.Load()
		d.checks.Store(0) // the next look is no end of a digest
		if result, err := d.Ask(t.Context(), request); err != nil || result.Snapshot != nil || time.Since(began) != 6*time.Second || result.Progress.Seen.Files != 1 {
			t.Errorf("after %s: %+v, %v", time.Since(began), result, err)
		}
		d.checks.Store(0)
		if d.must(t, request); time.Since(began) != 8*time.Second {
			t.Errorf("it took %s, in %d looks", time.Since(began), checks)
		}
	})
}

func TestDigestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDigester(t)
		d.takes = 10 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for i := range 20 {
			d.checks.Store(0)
			go func() { _, _ = d.Ask(ctx, digest.Request{ID: strconv.Itoa(i)}) }()
			synctest.Wait()
		}
		d.checks.Store(0)
		var problem worker.Problem
		if _, err := d.Ask(t.Context(), digest.Request{ID: "one more"}); !errors.As(err, &problem) {
			t.Errorf("more than are bearable: %v", err)
		}
		// Those that nobody asks for any more make room.
		<-time.After(2 * time.Minute)
		synctest.Wait()
		d.takes = 0
		d.must(t, digest.Request{ID: "one more"})
	})
}
