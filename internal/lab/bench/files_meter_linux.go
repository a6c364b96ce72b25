package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// meterReading is what the two machines have used: memory at most, in bytes without the page cache, and CPU.
type meterReading struct {
	memory [2]uint64
	cpu    [2]time.Duration
	over   time.Duration
	// parts are the shares of Atoll's parts, empty for another way.
	parts map[string]float64
}

// filesMeter looks at the control groups of the machines all the time.
type filesMeter struct {
	hosts [2]filesHost
	from  time.Time
	began [2]time.Duration
	end   context.CancelFunc
	done  sync.WaitGroup
	once  sync.Once

	reading meterReading // of memory; by the goroutine until done
}

// meterEvery is the pause between two looks.
const meterEvery = 100 * time.Millisecond

// startMeter begins to look.
func startMeter(ctx context.Context, hosts [2]filesHost) *filesMeter {
	ctx, end := context.WithCancel(ctx)
	m := &filesMeter{hosts: hosts, from: time.Now(), end: end}
	for i, h := range hosts {
		if u, err := h.usage(); err == nil {
			m.began[i] = u.CPU
		}
	}
	m.done.Go(func() {
		for {
			for i, h := range hosts {
				if u, err := h.usage(); err == nil {
					m.reading.memory[i] = max(m.reading.memory[i], u.MemoryBytes)
				}
			}
			if pauseFor(ctx, meterEvery) != nil {
				return
			}
		}
	})
	return m
}

// stop ends it, once, and returns what was used since.
func (m *filesMeter) stop() meterReading {
	m.once.Do(func() {
		m.end()
		m.done.Wait()
		for i, h := range m.hosts {
			if u, err := h.usage(); err == nil {
				m.reading.cpu[i] = u.CPU - m.began[i]
			}
		}
		m.reading.over = time.Since(m.from)
	})
	return m.reading
}

// rest measures for a while in which nothing happens.
func (m *filesMeasure) rest(ctx context.Context, long time.Duration) (meterReading, error) {
	before, beforeErr := m.parts()
	meter := startMeter(ctx, m.way.hosts)
	err := pauseFor(ctx, long)
	r := meter.stop()
	after, afterErr := m.parts()
	r.parts = shares(before, after, r.over)
	return r, errors.Join(err, beforeErr, afterErr)
}

// parts are what the parts of Atoll have used so far on each machine.
func (m *filesMeasure) parts() (out [2]map[string]time.Duration, err error) {
	for i, h := range m.way.hosts {
		if m.way.name != ours {
			continue
		}
		if out[i], err = partsOf(h); err != nil {
			return out, err
		}
	}
	return out, nil
}

// share is what a machine took of one CPU.
func (r meterReading) share(host int) float64 { return r.cpu[host].Seconds() / r.over.Seconds() }

// cpu is the seconds of CPU that both machines took, without what they take anyway.
func (m *filesMeasure) cpu(r meterReading) *float64 {
	var sum float64
	for i := range r.cpu {
		sum += r.cpu[i].Seconds() - m.base.share(i)*r.over.Seconds()
	}
	return &sum
}

// memory keeps the most memory that the machines took, without what they take anyway.
func (m *filesMeasure) memory(r meterReading) {
	for i := range r.memory {
		if r.memory[i] > m.base.memory[i] {
			m.result.MemoryMiB[i] = max(m.result.MemoryMiB[i], float64(r.memory[i]-m.base.memory[i])/(1<<20))
		}
	}
}

// quiet waits until nothing is done any more because of what came before, at most two minutes.
func (m *filesMeasure) quiet(ctx context.Context) {
	for calm, until := 0, time.Now().Add(2*time.Minute); calm < 3 && time.Now().Before(until) && ctx.Err() == nil; {
		r, err := m.rest(ctx, time.Second)
		if calm++; err != nil || r.share(0)+r.share(1) > m.base.share(0)+m.base.share(1)+0.03 {
			calm = 0
		}
	}
}

// idle measures what is taken while nothing happens.
func (m *filesMeasure) idle(ctx context.Context) error {
	m.quiet(ctx)
	r, err := m.rest(ctx, m.filesOptions.idle)
	if err != nil {
		return err
	}
	m.memory(r)
	var shares [2]float64
	for i := range shares {
		shares[i] = 100 * max(0, r.share(i)-m.base.share(i))
	}
	m.result.IdlePercent = &shares
	filesSay(m.way.name, "idle: %.2f and %.2f %% of a CPU", shares[0], shares[1])
	if m.way.name == ours {
		m.result.Idle, m.result.IdleBefore = r.parts, m.base.parts
		filesSay(m.way.name, "idle, by part: %s", partsText(r.parts, m.base.parts))
	}
	return nil
}

// burst changes and makes files as fast as one program can, and measures until the other machine has them all.
func (m *filesMeasure) burst(ctx context.Context) error {
	if m.filesOptions.burst == 0 {
		return nil
	}
	m.quiet(ctx)
	meter := startMeter(ctx, m.way.hosts)
	defer meter.stop()
	from := time.Now()
	changes := make([]change, 0, m.filesOptions.burst)
	for range m.filesOptions.burst {
		c, err := m.change(0)
		if err != nil {
			return err
		}
		changes = append(changes, c)
	}
	wrote := time.Since(from)
	if !m.way.live {
		if err := m.way.begin(ctx); err != nil {
			return fmt.Errorf("burst: %w", err)
		}
	}
	for next := 0; next < len(changes); {
		for next < len(changes) && m.there(changes[next]) {
			next++
		}
		if time.Since(from) > m.limit {
			return fmt.Errorf("burst: %s has not arrived after %s, nor have some of the %d others", filepath.Base(changes[next].path), seconds(m.limit), len(changes)-next)
		}
		if err := pauseFor(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	took := time.Since(from)
	m.quiet(ctx)
	used := meter.stop()
	m.memory(used)
	m.result.Burst = &filesBurst{Wrote: wrote.Seconds(), Equal: took.Seconds(), CPU: *m.cpu(used), Load: loadAverage()}
	filesSay(m.way.name, "burst: written in %s, there after %s, CPU %.1f s, load %s", seconds(wrote), seconds(took), m.result.Burst.CPU, m.result.Burst.Load)
	return os.RemoveAll(filepath.Join(m.spares[0], "new"))
}
