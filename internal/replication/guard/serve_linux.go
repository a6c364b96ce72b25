package guard

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notification and response are struct seccomp_notif and struct seccomp_notif_resp of linux/seccomp.h.
type notification struct {
	ID   uint64
	PID  uint32
	_    uint32
	Nr   int32
	_    uint32 // architecture, which the filter has looked at
	_    uint64
	Args [6]uint64
}

type response struct {
	ID    uint64
	Val   int64
	Error int32
	Flags uint32
}

// The kind of a call.
type kind int

const (
	other kind = iota
	rename
	unlink
)

// atCwd is AT_FDCWD as an argument.
const atCwd = int32(unix.AT_FDCWD)

// pointer is where a path is in the program's memory, and the directory that it is from.
type pointer struct {
	dir  int32
	text uint64
}

type call struct {
	kind     kind
	from, to pointer
}

// namedAt finds out what a call is about that has directories among its arguments.
func namedAt(number int32, args [6]uint64) call {
	switch number {
	case unix.SYS_RENAMEAT:
		return call{from: pointer{int32(args[0]), args[1]}, to: pointer{int32(args[2]), args[3]}, kind: rename}
	case unix.SYS_RENAMEAT2:
		if args[4] == 0 {
			return call{from: pointer{int32(args[0]), args[1]}, to: pointer{int32(args[2]), args[3]}, kind: rename}
		}
	case unix.SYS_UNLINKAT:
		if args[2] == 0 { // else it is a directory's, which has to be empty
			return call{from: pointer{int32(args[0]), args[1]}, kind: unlink}
		}
	}
	return call{}
}

// Serve guards a program that has been started until it has ended, with what it has started. It has its thread to itself, with the program's
// rights and no others. An error that wraps ErrUnguarded is that of a program that runs without a guard.
func (g *Guard) Serve(tree Tree) error {
	defer func() { _ = g.ours.Close() }()
	listener, err := g.receive()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnguarded, err)
	}
	defer func() { _ = unix.Close(listener) }()
	ended := make(chan error, 1)
	go func() {
		// The thread has another account than the process: it is never given back.
		runtime.LockOSThread()
		err := Become(tree.UID, tree.GID, tree.Groups)
		if err == nil {
			tree.Serving(unix.Gettid())
			err = (&keeper{tree: tree, copies: map[string]unix.Timespec{}, moved: map[string]bool{}, open: map[string]unix.Timespec{}}).serve(listener)
		}
		ended <- err
	}()
	return <-ended
}

// serve answers until nobody asks any more.
func (k *keeper) serve(listener int) error {
	memory := memory{}
	defer memory.close()
	for {
		fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return fmt.Errorf("wait for what the program does: %w", err)
		}
		if fds[0].Revents&unix.POLLIN == 0 {
			return nil // all that it has guarded have ended
		}
		n := notification{}
		if errno := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); errno != 0 {
			if errno == unix.ENOENT || errno == unix.EINTR {
				continue // whoever asked is gone
			}
			return fmt.Errorf("see what the program does: %w", errno)
		}
		r := response{ID: n.ID, Flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if c := named(n.Nr, n.Args); c.kind != other {
			from, to, err := memory.paths(int(n.PID), c)
			// Its id may be another's by now, and what was read that one's.
			if errno := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&n.ID)); errno != 0 {
				memory.close()
				continue
			}
			switch {
			case errors.Is(err, os.ErrPermission):
				// Somebody has forbidden it, by kernel.yama.ptrace_scope for example: better no guard than no synchronization.
				k.unguarded(err)
			case errors.Is(err, errNoPath): // the kernel knows what to say
			case err != nil:
				memory.close()
				k.tree.Log.Warn("what the program is about to replace cannot be looked at: it has to try again", "error", err)
				r = response{ID: n.ID, Error: -int32(unix.EAGAIN)}
			default:
				if result, ours := k.do(c.kind, from, to); ours {
					r = response{ID: n.ID, Error: -int32(result)}
				}
			}
		}
		if errno := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)); errno != 0 && errno != unix.ENOENT {
			return fmt.Errorf("tell the program: %w", errno)
		}
	}
}

func ioctl(fd int, request uintptr, argument unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(argument))
	return errno
}

// memory reads what calls point at.
type memory struct {
	pid  int
	file *os.File
	page [unix.PathMax]byte
}

func (m *memory) close() {
	if m.file != nil {
		_ = m.file.Close()
		m.file = nil
	}
}

// errNoPath is that of a call that does not point at a path.
var errNoPath = errors.New("there is no path")

// paths returns the absolute paths of a call.
func (m *memory) paths(pid int, c call) (from, to string, err error) {
	if m.file == nil || m.pid != pid {
		m.close()
		file, err := os.Open("/proc/" + strconv.Itoa(pid) + "/mem")
		if err != nil {
			return "", "", err
		}
		m.file, m.pid = file, pid
	}
	from, err = m.path(c.from)
	if err == nil && c.kind == rename {
		to, err = m.path(c.to)
	}
	return from, to, err
}

func (m *memory) path(p pointer) (string, error) {
	end := -1
	for _, size := range []int{256, len(m.page)} { // what comes after may not be there
		n, err := unix.Pread(int(m.file.Fd()), m.page[:size], int64(p.text))
		if err != nil {
			return "", errNoPath
		}
		if end = bytes.IndexByte(m.page[:n], 0); end >= 0 {
			break
		}
	}
	if end <= 0 {
		return "", errNoPath
	}
	path := string(m.page[:end])
	if strings.HasPrefix(path, "/") {
		return path, nil
	}
	at := "cwd"
	if p.dir != atCwd {
		at = "fd/" + strconv.Itoa(int(p.dir))
	}
	dir, err := os.Readlink("/proc/" + strconv.Itoa(m.pid) + "/" + at)
	return filepath.Join(dir, path), err
}
