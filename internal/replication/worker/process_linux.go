package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process identifies a process of this machine for as long as the machine lasts: ids are given again, starts are not.
type process struct {
	Boot    string `json:"boot"`
	PID     int    `json:"pid"`
	Started string `json:"started"`
}

func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data)), err
}

// identify returns the identity of a process that has not been waited for.
func identify(pid int) (*process, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	started, _, err := startOf(pid)
	if err != nil {
		return nil, err
	}
	return &process{Boot: boot, PID: pid, Started: started}, nil
}

// startOf returns when a process started, in ticks since the machine did, and its state (proc_pid_stat(5), fields 22 and 3).
func startOf(pid int) (started, state string, err error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", "", err
	}
	// The name in parentheses may hold anything.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	const field = 22 - 3
	if len(fields) <= field {
		return "", "", fmt.Errorf("read the state of process %d: it has only %d fields", pid, len(fields))
	}
	return fields[field], fields[0], nil
}

// lives tells whether the process is still there.
func (p *process) lives() bool {
	boot, err := bootID()
	if err != nil || boot != p.Boot {
		return false
	}
	started, state, err := startOf(p.PID)
	// One that is dead and was not waited for yet holds nothing any more.
	return err == nil && started == p.Started && state != "Z" && state != "X"
}

// end kills the process with all that it started, and returns when it is gone.
func (p *process) end(ctx context.Context) error {
	for p.lives() {
		// The group first: it may outlive its leader.
		if err := errors.Join(unix.Kill(-p.PID, unix.SIGKILL), unix.Kill(p.PID, unix.SIGKILL)); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("end process %d of an earlier worker: %w", p.PID, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// startAs starts a command as an account, in a process group of its own that dies with this process. Wait for the command by calling wait.
func startAs(cmd *exec.Cmd, a Account) (wait func() error, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if a.UID != os.Getuid() || a.GID != os.Getgid() {
		groups := make([]uint32, len(a.Groups))
		for i, g := range a.Groups {
			groups[i] = uint32(g)
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.UID), Gid: uint32(a.GID), Groups: groups}
	}
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		// The death that Pdeathsig looks at is that of the thread which started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return func() error { return <-ended }, nil
}

// killGroup ends a command that startAs started, with all that it started.
func killGroup(pid int, hard bool) error {
	signal := unix.SIGTERM
	if hard {
		signal = unix.SIGKILL
	}
	if err := unix.Kill(-pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// peerOf returns the process at the other end of a Unix socket.
func peerOf(conn syscall.RawConn) (int, error) {
	var cred *unix.Ucred
	var credErr error
	err := conn.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, credErr); err != nil {
		return 0, err
	}
	return int(cred.Pid), nil
}
