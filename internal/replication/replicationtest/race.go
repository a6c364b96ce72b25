//go:build race

package replicationtest

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// EndsAtOnce has a program that is built with the race detector end when it ends: by default it stays for another second, in case other threads
// have something to report, and a test that starts hundreds of programs one after the other does little else than wait for that. It is called
// first, by a test's program that was started by another one, as which it is started anew when need be.
func EndsAtOnce() error {
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
	return syscall.Exec(self, os.Args, os.Environ())
}
