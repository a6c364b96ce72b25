//go:build linux

package replicationtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const (
	// perDirectory is how many files of a benchmark are in one directory.
	perDirectory = 100
	// benchWithin bounds the first synchronization of a benchmark.
	benchWithin = 20 * time.Minute
)

// Benchmark measures changes in a tree that has so many empty files on both sides: how long they take, one by one and while others keep coming, and what CPU
// all programs of both machines take for each, for a canary, and while nothing happens.
func (s Suite) Benchmark(b *testing.B, files int, lead, back *Machine) {
	w := newWorld(b, s.New, s.Unit, lead, back)
	w.exclude = nil
	dated := time.Now().Add(-time.Hour)
	for _, side := range w.sides() {
		if err := fillTree(side, files, dated); err != nil {
			b.Fatal(err)
		}
	}
	w.applyBoth(b)
	w.lead.awaitWithin(b, benchWithin, "is synchronized", func(st replication.Status) bool { return st.State == spec.PairSynced })
	for _, kind := range []struct {
		name  string
		pause func()
	}{
		{"Alone", func() { w.quiet(b) }},
		{"Steady", func() { time.Sleep(200*time.Millisecond + rand.N(200*time.Millisecond)) }},
	} {
		b.Run(kind.name, func(b *testing.B) { w.changes(b, kind.pause) })
	}
	b.Run("Canary", func(b *testing.B) {
		w.quiet(b)
		from := w.processorTime(b)
		for range b.N {
			w.canary(b)
			w.quiet(b)
		}
		b.ReportMetric((w.processorTime(b)-from)/float64(b.N), "cpu-s/op")
	})
	b.Run("Idle", func(b *testing.B) {
		w.quiet(b)
		from := w.processorTime(b)
		for range b.N {
			time.Sleep(time.Second)
		}
		b.ReportMetric(100*(w.processorTime(b)-from)/float64(b.N), "cpu-%")
	})
}

// changes makes b.N files on both sides in turn, and measures until each is on the other one.
func (w *world) changes(b *testing.B, pause func()) {
	w.quiet(b)
	from := w.processorTime(b)
	took := make(chan time.Duration, b.N)
	b.ResetTimer()
	for i := range b.N {
		pause()
		from, to := w.lead, w.back
		if i%2 == 1 {
			from, to = to, from
		}
		path := fmt.Sprintf("%d/new-%d", i%perDirectory, time.Now().UnixNano())
		began := time.Now()
		from.write(b, path, "new")
		go func() {
			for to.read(path) != "new" && time.Since(began) < long {
				time.Sleep(time.Millisecond)
			}
			took <- time.Since(began)
		}()
	}
	all := make([]time.Duration, b.N)
	for i := range all {
		all[i] = <-took
	}
	slices.Sort(all)
	b.StopTimer()
	w.quiet(b)
	b.ReportMetric((w.processorTime(b)-from)/float64(b.N), "cpu-s/op")
	for name, at := range map[string]int{"p50-ms": len(all) / 2, "p99-ms": len(all) * 99 / 100, "max-ms": len(all) - 1} {
		b.ReportMetric(float64(all[at].Microseconds())/1000, name)
	}
	b.ReportMetric(0, "ns/op")
}

// canary sends one, and waits until it is there.
func (w *world) canary(b *testing.B) {
	ctx, cancel := context.WithTimeout(b.Context(), long)
	defer cancel()
	sent, err := w.lead.driver.Canary(ctx, pairName)
	for last := (replication.Canary{}); err == nil && last.Nonce != sent.Nonce; {
		last, err = w.back.driver.Canaries(ctx, pairName, last)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// quiet waits until nobody does anything any more.
func (w *world) quiet(b *testing.B) {
	await.True(b, "nothing is done any more", long, func() bool {
		from := w.processorTime(b)
		time.Sleep(300 * time.Millisecond)
		return w.processorTime(b)-from <= 0.02
	})
}

// ticks is how many of the kernel's units of time a second has for programs (proc(5)).
const ticks = 100

// processorTime is what all processes of both machines have used so far, in seconds.
func (w *world) processorTime(b *testing.B) float64 {
	b.Helper()
	sum := 0
	for _, s := range w.sides() {
		stats, err := filepath.Glob(filepath.Join(s.Root, "proc/[0-9]*/stat"))
		if err != nil {
			b.Fatal(err)
		}
		for _, file := range stats {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // it has ended
			}
			fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
			for _, field := range fields[11:13] { // utime and stime
				n, err := strconv.Atoi(field)
				if err != nil {
					b.Fatal(err)
				}
				sum += n
			}
		}
	}
	return float64(sum) / ticks
}

// fillTree makes the tree that both sides begin with.
func fillTree(s *side, files int, dated time.Time) error {
	for i := range files {
		file := s.file(fmt.Sprintf("%d/%d/%d", i/perDirectory%perDirectory, i/perDirectory/perDirectory, i%perDirectory))
		if i%perDirectory == 0 {
			if err := s.makeDir(filepath.Dir(file)); err != nil {
				return err
			}
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil { //nolint:gosec // as an application's are
			return err
		}
		if err := os.Chown(file, owner, owner); err != nil {
			return err
		}
		if err := os.Chtimes(file, dated, dated); err != nil {
			return err
		}
	}
	return nil
}

// awaitWithin is awaitStatus for what takes longer.
func (s *side) awaitWithin(t testing.TB, within time.Duration, what string, is func(replication.Status) bool) {
	t.Helper()
	await.NoError(t, s.Name+": "+what, within, func(ctx context.Context) error {
		if last := s.status(ctx, t); !is(last) {
			return fmt.Errorf("it is %+v", last)
		}
		return nil
	})
}
