package machinetest

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Require skips the test, loudly, where machines of namespaces cannot be made, and fails it where one of the programs that
// machines and the test need is missing.
func Require(t testing.TB, programs ...string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skipf("NOT RUN: needs Linux network namespaces, this is %s", runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: needs root to make network namespaces")
	}
	packages := map[string]string{
		"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "nft": "nftables", "ping": "iputils-ping", "tincd": "tinc",
	}
	for _, p := range append(programs, "unshare", "nsenter", "ip", "nft") {
		if _, err := exec.LookPath(p); err != nil {
			name := packages[p]
			if name == "" {
				name = p
			}
			t.Fatalf("%v; install the Debian package %s", err, name)
		}
	}
}

// Logger returns a log that goes to the test's, with the name of a machine before each line.
func Logger(t *testing.T, machine string) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t, machine}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// testWriter sends a driver's log to the test's.
type testWriter struct {
	t       *testing.T
	machine string
}

func (w testWriter) Write(line []byte) (int, error) {
	w.t.Logf("%s: %s", w.machine, strings.TrimRight(string(line), "\n"))
	return len(line), nil
}

// Eventually waits until fn is true and returns how long that took. It fails the test when it takes longer than limit.
func Eventually(t *testing.T, limit time.Duration, what string, fn func(context.Context) bool) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for !fn(t.Context()) {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", limit, what)
		case <-tick.C:
		}
	}
	return time.Since(start)
}
