//go:build race && linux

package replicationtest

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// EndsAtOnce has a program that is built with the race detector end when it ends: by default it stays for another second, in case other threads
// have something to report, and a test that starts hundreds of programs one after the other does little else than wait for that. It is called
// first, by a test's program that was started by another one, as which it is started anew when need be. WithParent tells that it was to end with the one that
// has started it, which the kernel has noted of its first thread and asks of the one that starts it anew (prctl(2), PR_SET_PDEATHSIG).
func EndsAtOnce(withParent bool) error {
	const variable, option = "GORACE", "atexit_sleep_ms=0"
	if strings.Contains(os.Getenv(variable), option) {
		// It was named after the file then, and not after the link to it by which others know it.
		return os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0)
	}
	if err := os.Setenv(variable, strings.TrimSpace(os.Getenv(variable)+" "+option)); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if withParent {
		runtime.LockOSThread()
		parent := os.Getppid()
		if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
			return err
		}
		if os.Getppid() != parent {
			return errors.New("the parent has ended")
		}
	}
	return syscall.Exec(self, os.Args, os.Environ())
}
