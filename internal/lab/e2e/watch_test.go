//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// commandLines collects what anybody on a machine can see of its processes. The kernel tells of each program that starts
// (its process connector, Linux 2.6.15; root in the first namespaces only); its command line is read at once. A program that
// ends within the fraction of a millisecond that this takes is counted, its command line is lost. Where the kernel does not
// tell, the process list is looked at again and again, and what ends between two looks is not seen.
type commandLines struct {
	mu   sync.Mutex
	seen map[string]bool
	// started counts the programs that the kernel told of; missed those of them that had ended already.
	started, missed int
	// gaps are what made the watcher begin anew.
	gaps []error
}

// watchCommandLines watches until the test ends.
func watchCommandLines(t *testing.T) *commandLines {
	t.Helper()
	c := &commandLines{seen: map[string]bool{}}
	ctx := t.Context()
	var work sync.WaitGroup
	work.Go(func() { every(ctx, 200*time.Millisecond, c.look) })
	work.Go(func() {
		every(ctx, time.Second, func() {
			if err := c.listen(ctx); err != nil {
				c.mu.Lock()
				c.gaps = append(c.gaps, err)
				c.mu.Unlock()
			}
		})
	})
	t.Cleanup(work.Wait)
	return c
}

// every calls f at once and then, with a pause in between, until the context ends.
func every(ctx context.Context, pause time.Duration, f func()) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// listen reads the kernel's messages until the context ends or messages were lost.
func (c *commandLines) listen(ctx context.Context) error {
	events, failed, done := make(chan netlink.ProcEvent, 4096), make(chan error, 1), make(chan struct{})
	if err := netlink.ProcEventMonitor(events, done, failed); err != nil {
		return err
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-c.read(events, failed):
	}
	close(done)
	return err
}

// read looks at each program that starts, until the messages end.
func (c *commandLines) read(events <-chan netlink.ProcEvent, failed <-chan error) <-chan error {
	ended := make(chan error, 1)
	go func() {
		for event := range events {
			if event.What != netlink.PROC_EVENT_EXEC {
				continue
			}
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", event.Msg.Tgid()))
			c.note(line, true, err != nil || len(line) == 0)
		}
		ended <- <-failed
	}()
	return ended
}

// look reads the whole process list.
func (c *commandLines) look() {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return
	}
	for _, file := range lines {
		line, err := os.ReadFile(file)
		c.note(line, false, err != nil)
	}
}

func (c *commandLines) note(line []byte, started, missed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if started {
		c.started++
	}
	if started && missed {
		c.missed++
	}
	if !missed {
		c.seen[string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))] = true
	}
}

// text returns every command line that was seen.
func (c *commandLines) text() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b bytes.Buffer
	for line := range c.seen {
		b.WriteString(line + "\n")
	}
	return b.Bytes()
}

// report says how much of what ran was seen.
func (c *commandLines) report(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Logf("%d different command lines were seen; the kernel told of %d programs, of which %d had ended too early to be looked at", len(c.seen), c.started, c.missed)
	for _, gap := range c.gaps {
		t.Logf("the kernel's messages of programs were interrupted, what ran for less than 200 ms then went unseen: %v", gap)
	}
	if c.started == 0 {
		t.Log("THE KERNEL DID NOT TELL OF PROGRAMS: what ran for less than 200 ms went unseen")
	}
}

// firstBoots collects the first-boot data that machines get: it carries secrets that are nowhere afterwards.
type firstBoots struct {
	mu   sync.Mutex
	data map[string]map[string]bool
}

// catchFirstBoots reads the file that an operator's run puts onto machines, from outside, until the test ends. It is there from
// then on until the machine has joined, which is much longer than the pause.
func catchFirstBoots(t *testing.T, root func(machine string) string, machines ...string) *firstBoots {
	t.Helper()
	f := &firstBoots{data: map[string]map[string]bool{}}
	ctx, done := t.Context(), make(chan struct{})
	go func() {
		defer close(done)
		every(ctx, 10*time.Millisecond, func() {
			for _, machine := range machines {
				if data, err := os.ReadFile(filepath.Join(root(machine), firstBootFile)); err == nil && len(data) > 0 {
					f.add(machine, data)
				}
			}
		})
	}()
	t.Cleanup(func() { <-done })
	return f
}

func (f *firstBoots) add(machine string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.data[machine] == nil {
		f.data[machine] = map[string]bool{}
	}
	f.data[machine][string(data)] = true
}

// of returns all first-boot data that a machine was given so far.
func (f *firstBoots) of(machine string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.data[machine]))
}
