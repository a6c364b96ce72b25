//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// commandLines collects what anybody on a machine can see of its processes. The kernel tells of each program that starts
// (its process connector, Linux 2.6.15; root in the first namespaces only); its command line is read at once. A program that
// ends within the fraction of a millisecond that this takes is counted, its command line is lost: one in six, on a busy
// machine. Where the kernel does not tell, the process list is looked at again and again, and what ends between two looks is
// not seen.
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

// listen reads the kernel's messages until the context ends. The wire form is that of linux/connector.h and linux/cn_proc.h:
// the ids of the sender (20 bytes), what happened (4), where and when (12), and for a program that starts its thread and its
// process (4 each), in the byte order of the machine.
func (c *commandLines) listen(ctx context.Context) error {
	socket, err := nl.Subscribe(unix.NETLINK_CONNECTOR, netlink.CN_IDX_PROC)
	if err != nil {
		return err
	}
	defer socket.Close()
	defer context.AfterFunc(ctx, socket.Close)()
	if err := socket.SetReceiveBufferSize(16<<20, true); err != nil {
		return err
	}
	begin := nl.NetlinkRequest{NlMsghdr: unix.NlMsghdr{Len: unix.SizeofNlMsghdr, Type: unix.NLMSG_DONE, Pid: uint32(os.Getpid())}}
	begin.AddData(nl.NewCnMsg(netlink.CN_IDX_PROC, netlink.CN_VAL_PROC, netlink.PROC_CN_MCAST_LISTEN))
	if err := socket.Send(&begin); err != nil {
		return err
	}
	// Programs do not wait until they have been looked at, so this thread goes before all others. It ends with the goroutine.
	runtime.LockOSThread()
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, -20); err != nil {
		return err
	}
	for {
		messages, from, err := socket.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			c.mu.Lock()
			c.gaps = append(c.gaps, err)
			c.mu.Unlock()
			continue
		case err != nil:
			return err
		case from.Pid != nl.PidKernel:
			continue // what other listeners of this machine have sent
		}
		for _, m := range messages {
			const what, process = 20, 40
			if len(m.Data) >= process+4 && binary.NativeEndian.Uint32(m.Data[what:]) == netlink.PROC_EVENT_EXEC {
				line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", binary.NativeEndian.Uint32(m.Data[process:])))
				c.note(line, true, err != nil || len(line) == 0)
			}
		}
	}
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
	if len(c.gaps) > 0 {
		t.Logf("the kernel's messages of programs were interrupted %d times, what ran for less than 200 ms then may have gone unseen: %v", len(c.gaps), c.gaps[0])
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
