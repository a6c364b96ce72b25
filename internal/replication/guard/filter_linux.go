package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// channel is the descriptor over which Shim hands the notifications over: the first of exec.Cmd's ExtraFiles.
const channel = 3

// instructions are the filter of seccomp(2): it has the kernel ask for calls, and lets everything else be.
func instructions() []unix.SockFilter {
	const (
		load    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		compare = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		leave   = unix.BPF_RET | unix.BPF_K
		// Offsets in struct seccomp_data.
		number, arch = 0, 4
	)
	wanted := calls()
	filter := []unix.SockFilter{
		{Code: load, K: arch},
		{Code: compare, K: architecture, Jf: uint8(len(wanted) + 1)},
		{Code: load, K: number},
	}
	for i, call := range wanted {
		filter = append(filter, unix.SockFilter{Code: compare, K: call, Jt: uint8(len(wanted) - i)})
	}
	return append(filter, unix.SockFilter{Code: leave, K: unix.SECCOMP_RET_ALLOW}, unix.SockFilter{Code: leave, K: unix.SECCOMP_RET_USER_NOTIF})
}

// install has the kernel ask for the calls of this thread, and of what it executes, by the descriptor that it returns.
func install() (int, error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, fmt.Errorf("give up new privileges: %w", err)
	}
	filter := instructions()
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// A call that is being answered is not to be begun anew for a signal, which kernels before 5.19 cannot be told.
	var problem error
	for _, flags := range []uintptr{unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER} {
		fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
		if errno == 0 {
			return int(fd), nil
		}
		problem = fmt.Errorf("seccomp: %w", errno)
		if !errors.Is(errno, unix.EINVAL) {
			break
		}
	}
	return -1, problem
}

// Shim becomes the program that its arguments name, after it has handed over the notifications of what that does. A program that cannot be guarded runs
// without. It returns only when there is no program.
func Shim(context.Context) error {
	runtime.LockOSThread() // what is installed is the thread's, and what it executes inherits it
	if err := endWithParent(); err != nil {
		return err
	}
	if len(os.Args) < 2 {
		return errors.New("which program is to be guarded?")
	}
	unix.CloseOnExec(channel)
	fd, err := install()
	word, rights := []byte("ok"), []byte(nil)
	if err != nil {
		word = []byte(err.Error())
	} else {
		unix.CloseOnExec(fd)
		rights = unix.UnixRights(fd)
	}
	if err := unix.Sendmsg(channel, word, rights, nil, 0); err != nil {
		return fmt.Errorf("hand over what %s does: %w", os.Args[1], err)
	}
	return syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
}

// endWithParent has what this thread executes end when the parent does. Whoever started this program has asked for that, but of its first thread, and the
// kernel asks the one that executes (prctl(2), PR_SET_PDEATHSIG).
func endWithParent() error {
	parent := os.Getppid()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("end with the parent: %w", err)
	}
	if os.Getppid() != parent {
		return errors.New("the parent has ended")
	}
	return nil
}

// Guard is what a program is guarded by.
type Guard struct {
	ours, theirs *os.File
}

// Wrap has a command, before it is started, run by way of Shim. This program is shim by name. Call Started once it has been, or was not. The command is
// killed when the thread ends that has started it.
func Wrap(cmd *exec.Cmd, shim string) (*Guard, error) {
	if len(cmd.ExtraFiles) > 0 {
		return nil, errors.New("a command with further files cannot be guarded")
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("guard %s: %w", cmd.Path, err)
	}
	g := &Guard{ours: os.NewFile(uintptr(pair[0]), "guard"), theirs: os.NewFile(uintptr(pair[1]), "guarded")}
	cmd.Args = append([]string{shim, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = shim
	cmd.ExtraFiles = []*os.File{g.theirs}
	return g, nil
}

// Started gives up the program's end, which it has by now.
func (g *Guard) Started() error { return g.theirs.Close() }

// Close gives the guard of a program up that has not started.
func (g *Guard) Close() error { return g.ours.Close() }

// receive returns the notifications that Shim hands over.
func (g *Guard) receive() (int, error) {
	word, rights := make([]byte, 1024), make([]byte, unix.CmsgSpace(4))
	var n, m int
	var err error
	for {
		n, m, _, _, err = unix.Recvmsg(int(g.ours.Fd()), word, rights, unix.MSG_CMSG_CLOEXEC)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return -1, err
	}
	if n == 0 {
		return -1, errors.New("it has ended before it began")
	}
	messages, err := unix.ParseSocketControlMessage(rights[:m])
	if err != nil {
		return -1, err
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err == nil && len(fds) == 1 {
			return fds[0], nil
		}
	}
	return -1, errors.New(string(word[:n]))
}
