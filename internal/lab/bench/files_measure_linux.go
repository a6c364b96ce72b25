package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// filesWay is one way to keep a tree on two machines.
type filesWay struct {
	name string
	// live ways carry changes by themselves; the others are run. twoWay ones carry them in both directions.
	live, twoWay bool
	hosts        [2]filesHost
	// begin begins to keep the trees, the first of which is full. A way that is not live has done it then.
	begin func(ctx context.Context) error
	// again looks at everything although nothing has changed. It may be nil.
	again func(ctx context.Context) error
	// ready waits until the way itself says that it is; nil for none.
	ready func(ctx context.Context) error
	// note is what is to be said of it.
	note string
}

// How soon who measures looks again, and what is waited for besides.
const (
	lookEvery   = 500 * time.Microsecond
	baselineFor = 15 * time.Second
	changeLimit = 5 * time.Minute
)

// filesMeasure measures one way.
type filesMeasure struct {
	filesOptions
	way    *filesWay
	result *filesResult

	trees  [2]string
	spares [2]string // folders beside the trees
	owner  int
	base   meterReading
	// have is how many files there are, used how many of them were changed, so that no file is changed twice.
	have, made, used int
	order            []int
}

// begin makes the tree, and measures what the machines take without the way.
func (m *filesMeasure) begin(ctx context.Context) error {
	for i, h := range m.way.hosts {
		if err := m.makeRoom(ctx, h); err != nil {
			return err
		}
		var err error
		if m.trees[i], err = h.tree(); err != nil {
			return err
		}
		if m.spares[i], err = h.path("/srv/spare"); err != nil {
			return err
		}
	}
	id, err := m.way.hosts[0].run(ctx, "id", "-u", rig.PairOwner)
	if err != nil {
		return err
	}
	if m.owner, err = strconv.Atoi(strings.TrimSpace(id)); err != nil {
		return err
	}
	from := time.Now()
	if err := makeTree(ctx, m.trees[0], m.files, m.size, m.owner); err != nil {
		return err
	}
	m.have, m.order = m.files, rand.Perm(m.files)
	m.base, err = m.rest(ctx, baselineFor)
	filesSay(m.way.name, "a tree of %d files was made in %s", m.files, seconds(time.Since(from)-baselineFor))
	return err
}

// first measures from the beginning until the second machine has all files.
func (m *filesMeasure) first(ctx context.Context) error {
	meter := startMeter(ctx, m.way.hosts)
	defer meter.stop()
	ctx, cancel := context.WithTimeout(ctx, m.limit)
	defer cancel()
	from := time.Now()
	begun := make(chan error, 1)
	go func() { begun <- m.way.begin(ctx) }()
	var took time.Duration
	if m.way.live {
		var err error
		if took, err = m.complete(ctx, from, begun); err != nil {
			return fmt.Errorf("first synchronization: %w", err)
		}
	} else {
		if err := <-begun; err != nil {
			return fmt.Errorf("first synchronization: %w", err)
		}
		took = time.Since(from)
	}
	used := meter.stop()
	m.result.First = secondsOf(took)
	m.result.FirstCPU = m.cpu(used)
	m.memory(used)
	filesSay(m.way.name, "first synchronization: %s, %.0f files/s, CPU %.1f s, memory %s", seconds(took), float64(m.files)/took.Seconds(), *m.result.FirstCPU, m.result.memory())
	if m.way.ready != nil {
		return m.way.ready(ctx)
	}
	return nil
}

// complete waits until the second machine has all files, and for the end of what begins it.
func (m *filesMeasure) complete(ctx context.Context, from time.Time, begun <-chan error) (time.Duration, error) {
	var took time.Duration
	for running := true; running || took == 0; {
		before := time.Now()
		n, last, err := countTree(m.trees[1], m.size)
		if err != nil {
			return 0, err
		}
		if n == m.have && took == 0 {
			took = last.Sub(from)
		}
		select {
		case err := <-begun:
			if err != nil {
				return 0, err
			}
			running, begun = false, nil
		case <-ctx.Done():
			return 0, fmt.Errorf("%d of %d files are there after %s: %w", n, m.have, seconds(time.Since(from)), ctx.Err())
		// Counting is not to take much of what is measured.
		case <-time.After(max(100*time.Millisecond, 5*time.Since(before))):
		}
	}
	return took, nil
}

// same demands that both trees hold the same in the end.
func (m *filesMeasure) same(ctx context.Context) error {
	_, err := await.Attempt(ctx, changeLimit, func(ctx context.Context) error {
		err := sameTrees(ctx, m.trees[0], m.trees[1])
		if err != nil {
			_ = pauseFor(ctx, time.Second)
		}
		return err
	})
	return err
}

// again measures a look at everything, when all is quiet.
func (m *filesMeasure) again(ctx context.Context) error {
	if m.way.again == nil {
		return nil
	}
	m.quiet(ctx)
	from := time.Now()
	if err := m.way.again(ctx); err != nil {
		return fmt.Errorf("look at everything: %w", err)
	}
	took := time.Since(from)
	if m.way.name == ours {
		// It is restarted, and says that it has looked by carrying a change.
		c, err := m.change(0)
		if err != nil {
			return err
		}
		if err := m.arrives(ctx, c); err != nil {
			return err
		}
		took = time.Since(from)
	}
	m.result.Again = secondsOf(took)
	filesSay(m.way.name, "a look at everything: %s", seconds(took))
	return nil
}

// change is a file that was written on one machine.
type change struct {
	path, text string
	at         time.Time
}

// change writes a file on a machine: by turns one that is there is changed in place, and a new one is put into its place.
func (m *filesMeasure) change(from int) (change, error) {
	m.made++
	c := change{text: fmt.Sprintf("%s %d\n", m.way.name, m.made)}
	if m.made%2 == 0 && m.used < len(m.order) {
		name := treeName(m.order[m.used])
		m.used++
		c.path = filepath.Join(m.trees[1-from], name)
		err := writeFile(filepath.Join(m.trees[from], name), os.O_TRUNC, c.text, m.size, -1)
		c.at = time.Now()
		return c, err
	}
	name := fmt.Sprintf("%s/new-%d.dat", treeFolder(rand.IntN(m.files)), m.made) //nolint:gosec // anywhere
	c.path = filepath.Join(m.trees[1-from], name)
	temporary := filepath.Join(m.spares[from], "new")
	if err := writeFile(temporary, os.O_CREATE, c.text, m.size, m.owner); err != nil {
		return c, err
	}
	m.have++
	err := os.Rename(temporary, filepath.Join(m.trees[from], name))
	c.at = time.Now()
	return c, err
}

// there tells whether a change has arrived.
func (m *filesMeasure) there(c change) bool { return begins(c.path, c.text, m.size) }

// arrives waits until a change has arrived.
func (m *filesMeasure) arrives(ctx context.Context, c change) error {
	for !m.there(c) {
		waited := time.Since(c.at)
		if waited > changeLimit {
			return fmt.Errorf("%s has not arrived after %s", c.path, seconds(waited))
		}
		if err := pauseFor(ctx, max(lookEvery, min(waited/500, 20*time.Millisecond))); err != nil {
			return err
		}
	}
	return nil
}

// alone measures changes one after another, each of which finds everything quiet.
func (m *filesMeasure) alone(ctx context.Context) error {
	m.quiet(ctx)
	var took sample
	for until := time.Now().Add(m.filesOptions.alone); len(took) < m.changes && (time.Now().Before(until) || len(took) < 3); {
		c, err := m.change(m.side(len(took)))
		if err != nil {
			return err
		}
		if err := m.arrives(ctx, c); err != nil {
			return err
		}
		took = append(took, time.Since(c.at))
		if err := pauseFor(ctx, 300*time.Millisecond+rand.N(500*time.Millisecond)); err != nil { //nolint:gosec // no beat
			return err
		}
	}
	m.result.Alone = latencyOf(took)
	filesSay(m.way.name, "a change, alone: %s", m.result.Alone)
	return nil
}

// side is where the next change is made.
func (m *filesMeasure) side(n int) int {
	if m.way.twoWay {
		return n % 2
	}
	return 0
}

// steady measures changes that come one after another without waiting for each other.
func (m *filesMeasure) steady(ctx context.Context) error {
	var mu sync.Mutex
	var open []change
	var took sample
	var failed error
	written := make(chan struct{})
	go func() {
		defer close(written)
		for n, until := 0, time.Now().Add(m.filesOptions.steady); time.Now().Before(until); n++ {
			c, err := m.change(m.side(n / 2)) // new and changed files from both
			mu.Lock()
			open, failed = append(open, c), err
			mu.Unlock()
			if err != nil || pauseFor(ctx, 200*time.Millisecond+rand.N(200*time.Millisecond)) != nil { //nolint:gosec // no beat
				return
			}
		}
	}()
	for last := time.Now(); ; {
		mu.Lock()
		kept := open[:0]
		for _, c := range open {
			if m.there(c) {
				took, last = append(took, time.Since(c.at)), time.Now()
			} else {
				kept = append(kept, c)
			}
		}
		open = kept
		left, err := len(open), failed
		mu.Unlock()
		if err != nil {
			return err
		}
		select {
		case <-written:
			if left == 0 {
				m.result.Steady = latencyOf(took)
				filesSay(m.way.name, "changes every 0.3 s: %s", m.result.Steady)
				return nil
			}
		default:
		}
		if left > 0 && time.Since(last) > changeLimit {
			return fmt.Errorf("%d changes have not arrived after %s, such as %s", left, seconds(changeLimit), open[0].path)
		}
		if err := pauseFor(ctx, lookEvery); err != nil {
			return err
		}
	}
}

// pauseFor waits, or until the context ends.
func pauseFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
