//go:build linux

package replicationtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// held is a program that is stopped at what it is about to do to a path (ptrace(2)).
type held struct {
	there, goOn chan struct{}
	ended       chan error
}

// holdUp stops a program when it is about to rename anything to a path of its machine, or to remove what is there.
func holdUp(t *testing.T, pid int, path string) *held {
	t.Helper()
	h := &held{there: make(chan struct{}), goOn: make(chan struct{}), ended: make(chan error, 1)}
	begun := make(chan struct{})
	go func() {
		runtime.LockOSThread() // whoever traces is a thread
		defer runtime.UnlockOSThread()
		h.ended <- h.trace(pid, path, begun)
	}()
	select {
	case <-begun:
	case err := <-h.ended:
		t.Fatalf("trace the program: %v", err)
	}
	return h
}

// await waits until the program is there.
func (h *held) await(t *testing.T) {
	t.Helper()
	select {
	case <-h.there:
	case err := <-h.ended:
		t.Fatalf("trace the program: %v", err)
	case <-time.After(long):
		t.Fatal("the program has done nothing to it")
	}
}

// release lets the program go on.
func (h *held) release(t *testing.T) {
	t.Helper()
	close(h.goOn)
	if err := <-h.ended; err != nil {
		t.Fatalf("trace the program: %v", err)
	}
}

// trace stops a program at one call, and then lets it be.
func (h *held) trace(pid int, path string, begun chan<- struct{}) error {
	// struct ptrace_syscall_info begins so when a call is entered, which is op 1.
	const getInfo, entered = 0x420e, 1
	var info struct {
		op      uint8
		_       [23]byte
		number  uint64
		args    [6]uint64
		further [8]byte
	}
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, unix.PTRACE_O_TRACESYSGOOD, 0, 0); errno != 0 {
		return errno
	}
	if err := unix.PtraceInterrupt(pid); err != nil {
		return err
	}
	close(begun)
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return err
	}
	defer func() { _ = memory.Close() }()
	for {
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, unix.WALL, nil); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return err
		}
		if !status.Stopped() {
			return errors.New("it has ended")
		}
		signal := status.StopSignal()
		switch {
		case signal == unix.SIGTRAP|0x80:
			signal = 0
			if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, getInfo, uintptr(pid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0); errno != 0 {
				return errno
			}
			if info.op == entered && about(memory, info.number, info.args, path) {
				close(h.there)
				<-h.goOn
				return unix.PtraceDetach(pid)
			}
		case uint32(status)>>16 != 0:
			signal = 0 // it is none, but what was asked for
		}
		if err := unix.PtraceSyscall(pid, int(signal)); err != nil {
			return err
		}
	}
}

// about tells whether a call replaces or removes what is at a path.
func about(memory *os.File, number uint64, args [6]uint64, path string) bool {
	if !slices.Contains(replacing(), number) {
		return false
	}
	text := make([]byte, len(path)+1)
	return slices.ContainsFunc(args[:4], func(address uint64) bool {
		_, err := memory.ReadAt(text, int64(address))
		return err == nil && bytes.Equal(text, append([]byte(path), 0))
	})
}
