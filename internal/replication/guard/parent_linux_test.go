package guard_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/guard"
)

// parent starts a guarded program that is to end with it, says which, and waits.
func parent(shim string) error {
	runtime.LockOSThread() // it is this thread's death that counts
	cmd := exec.CommandContext(context.Background(), "/bin/sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	g, err := guard.Wrap(cmd, shim)
	if err != nil {
		return err
	}
	if err := errors.Join(cmd.Start(), g.Started()); err != nil {
		return err
	}
	fmt.Println(cmd.Process.Pid)
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, cmd.Process.Kill())
}

// startHere starts a command on a thread that lives as long as the test: what is guarded ends with the thread that has started it.
func startHere(t *testing.T, cmd *exec.Cmd) error {
	t.Helper()
	started, over := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		started <- cmd.Start()
		<-over
	}()
	t.Cleanup(func() { close(over) })
	return <-started
}

// TestEndsWithItsParent kills whoever has started a guarded program.
func TestEndsWithItsParent(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "program"), "parent", filepath.Join(bin, guard.Name))
	cmd.Stderr = os.Stderr
	waits, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = waits.Close() }()
	says, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(says).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGKILL) })
	await.NoError(t, "it is the program", time.Minute, func(context.Context) error {
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err != nil || string(name) != "sleep\n" {
			return fmt.Errorf("it is %q, %w", name, err)
		}
		return nil
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	await.NoError(t, "it has ended, too", time.Minute, func(context.Context) error {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, os.ErrNotExist) || strings.Contains(string(state), ") Z ") {
			return nil
		}
		return fmt.Errorf("it lives on: %s, %w", state, err)
	})
}
