package host

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

const (
	// apartOutput is how much of a program's output is kept, in bytes.
	apartOutput = 4 << 10
	// apartGrace is how long systemd may take beyond a program's own time until it has ended it.
	apartGrace = 2 * time.Second
	// apartMemory and apartTasks bound what a program may use.
	apartMemory = 256 << 20
	apartTasks  = 64
)

// Apart runs programs of the operator's as short services of this machine's systemd: as the user nobody, without
// capabilities and new privileges, on a file system that they cannot write to, with bounded memory and time. They have
// none of the agent's rights and restrictions, and nothing that they start outlives them. It is safe for concurrent use.
type Apart struct {
	mu   sync.Mutex
	conn *dbus.Conn
}

// NewApart returns a runner. It connects to systemd when it first runs something.
func NewApart() *Apart { return &Apart{} }

// RunApart runs argv to its end, one at a time for each name, and returns its exit code and the beginning of what it wrote to
// standard output and standard error. Env holds its environment beside a PATH. It fails when systemd could not start the
// program, and with context.DeadlineExceeded in the error's chain when that did not end before ctx's deadline; it is killed
// then with everything that it started.
func (a *Apart) RunApart(ctx context.Context, name string, argv, env []string) (exitCode int, output string, err error) {
	unit := "atoll-check-" + name + ".service"
	conn, err := a.connect(ctx)
	if err != nil {
		return 0, "", fmt.Errorf("reach systemd: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return 0, "", fmt.Errorf("start %s: %w", unit, err)
	}
	said := collect(read)
	// What an agent that died has left would be in the way. There is rarely anything.
	_ = conn.ResetFailedUnitContext(ctx, unit)
	ended := make(chan string, 1)
	_, err = conn.StartTransientUnitContext(ctx, unit, "replace", apartProperties(ctx, name, argv, env, write.Fd()), ended)
	// systemd has its own copy; reading ends when the program's is closed.
	_ = write.Close()
	if err != nil {
		end(ctx, conn, unit)
		return 0, "", fmt.Errorf("start %s: %w", unit, err)
	}
	select {
	case result := <-ended:
		return outcome(ctx, conn, unit, argv[0], result, said)
	case <-ctx.Done():
		end(ctx, conn, unit)
		return 0, said(), fmt.Errorf("run %s: %w", argv[0], ctx.Err())
	}
}

// apartProperties describes the service: a oneshot, whose start is over when its program is.
func apartProperties(ctx context.Context, name string, argv, env []string, output uintptr) []dbus.Property {
	type command struct {
		Path  string
		Args  []string
		Flags []string
	}
	limit := apartGrace
	if deadline, ok := ctx.Deadline(); ok {
		limit += max(0, time.Until(deadline))
	}
	out := godbus.UnixFD(int32(output)) //nolint:gosec // a file descriptor
	var list []dbus.Property
	for _, p := range []struct {
		name  string
		value any
	}{
		{"Description", "Atoll's check of " + name},
		{"Type", "oneshot"},
		// The operator's dollar signs are for the program.
		{"ExecStartEx", []command{{Path: argv[0], Args: argv, Flags: []string{"no-env-expand"}}}},
		{"Environment", append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}, env...)},
		{"User", "nobody"},
		{"StandardInput", "null"},
		{"StandardOutputFileDescriptor", out},
		{"StandardErrorFileDescriptor", out},
		{"TimeoutStartUSec", uint64(limit.Microseconds())}, //nolint:gosec // not negative
		{"TimeoutStopUSec", uint64(apartGrace.Microseconds())},
		{"CapabilityBoundingSet", uint64(0)},
		{"NoNewPrivileges", true},
		{"ProtectSystem", "strict"},
		{"ProtectHome", "yes"},
		{"PrivateTmp", true},
		{"MemoryMax", uint64(apartMemory)},
		{"TasksMax", uint64(apartTasks)},
		// Or every look would be some lines in the journal.
		{"LogLevelMax", int32(2)},
	} {
		list = append(list, dbus.Property{Name: p.name, Value: godbus.MakeVariant(p.value)})
	}
	return list
}

// notExecuted is the exit code by which systemd tells that it could not execute a program.
const notExecuted = 203

// outcome is how a service ended whose job is over.
func outcome(ctx context.Context, conn *dbus.Conn, unit, program, result string, said func() string) (exitCode int, output string, err error) {
	if result == "done" {
		return 0, said(), nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), busTimeout)
	defer cancel()
	defer func() { _ = conn.ResetFailedUnitContext(ctx, unit) }()
	service, err := conn.GetUnitTypePropertiesContext(ctx, unit, "Service")
	if err != nil {
		return 0, said(), fmt.Errorf("ask systemd how %s ended: %w", unit, err)
	}
	code := int(property[int32](service, "ExecMainStatus"))
	switch why := property[string](service, "Result"); {
	case why == "exit-code" && code == notExecuted:
		return 0, said(), fmt.Errorf("run %s: there is no such program, or the user nobody may not execute it", program)
	case why == "exit-code":
		return code, said(), nil
	case why == "timeout":
		return 0, said(), fmt.Errorf("run %s: %w", program, context.DeadlineExceeded)
	default:
		return 0, said(), fmt.Errorf("run %s: it ended by %s (job %s)", program, why, result)
	}
}

// end kills a service and what it started, also when ctx is over.
func end(ctx context.Context, conn *dbus.Conn, unit string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), busTimeout)
	defer cancel()
	// It may have ended meanwhile.
	_ = conn.KillUnitWithTarget(ctx, unit, dbus.All, int32(syscall.SIGKILL))
	stopped := make(chan string, 1)
	if _, err := conn.StopUnitContext(ctx, unit, "replace", stopped); err == nil {
		select {
		case <-stopped:
		case <-ctx.Done():
		}
	}
	_ = conn.ResetFailedUnitContext(ctx, unit)
}

// collect reads until the end and returns what gives the beginning of that, as soon as everybody who writes is gone, or
// nothing when somebody stays.
func collect(from *os.File) func() string {
	var kept bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = from.Close() }()
		// It ends with the last process of the service; an error is the end, too.
		_, _ = io.CopyN(&kept, from, apartOutput)
		_, _ = io.Copy(io.Discard, from)
	}()
	return func() string {
		select {
		case <-done:
			return kept.String()
		case <-time.After(apartGrace):
			return ""
		}
	}
}

func (a *Apart) connect(ctx context.Context) (*dbus.Conn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil && a.conn.Connected() {
		return a.conn, nil
	}
	if a.conn != nil {
		// systemd closes the connection when it starts itself anew.
		a.conn.Close()
		a.conn = nil
	}
	// The connection outlives the question, so the question's context must not end it.
	conn, err := dbus.NewSystemdConnectionContext(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	a.conn = conn
	return conn, nil
}
