package machinetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// System is the real host of a machine, except that units are processes which the test itself keeps: there is no systemd in
// a machine of namespaces. It counts changes.
type System struct {
	host.System
	m   *Machine
	log func(format string, args ...any)

	mu      sync.Mutex
	changes []string
	enabled map[string]bool
	running map[string]*process
}

type process struct {
	pid  int
	done chan struct{}
}

func newSystem(t testing.TB, m *Machine) *System {
	return &System{
		System: host.Within(fmt.Sprintf("/proc/%d/root", m.PID), m.Enter()...),
		m:      m, log: t.Logf,
		enabled: map[string]bool{}, running: map[string]*process{},
	}
}

func (s *System) changed(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes = append(s.changes, fmt.Sprintf(format, args...))
}

// TakeChanges returns the changes since the last call.
func (s *System) TakeChanges() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.changes
	s.changes = nil
	return out
}

// Run implements host.System. A command that is not read-only counts as a change.
func (s *System) Run(ctx context.Context, c host.Command) (host.Output, error) {
	if !c.ReadOnly {
		s.changed("run %s", c)
	}
	return s.System.Run(ctx, c)
}

// WriteFile implements host.System.
func (s *System) WriteFile(name string, data []byte, mode fs.FileMode) (bool, error) {
	changed, err := s.System.WriteFile(name, data, mode)
	if changed {
		s.changed("write %s", name)
	}
	return changed, err
}

// Remove implements host.System.
func (s *System) Remove(name string) (bool, error) {
	removed, err := s.System.Remove(name)
	if removed {
		s.changed("remove %s", name)
	}
	return removed, err
}

// Units implements host.System: units are processes of the test.
func (s *System) Units() host.Units { return units{s} }

func (s *System) stopAll() {
	s.mu.Lock()
	names := make([]string, 0, len(s.running))
	for name := range s.running {
		names = append(names, name)
	}
	s.mu.Unlock()
	for _, name := range names {
		_ = s.stop(name)
	}
}

// Kill ends a unit's process without giving it a chance to clean up.
func (s *System) Kill(name string) error {
	p := s.process(name)
	if p == nil {
		return fmt.Errorf("unit %s does not run", name)
	}
	if err := kill(p.pid); err != nil {
		return err
	}
	<-p.done
	return nil
}

func kill(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }

func (s *System) process(name string) *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.running[name]
	if p == nil {
		return nil
	}
	select {
	case <-p.done:
		return nil
	default:
		return p
	}
}

func (s *System) stop(name string) error {
	p := s.process(name)
	if p == nil {
		return nil
	}
	if err := syscall.Kill(p.pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
		<-p.done
	}
	return nil
}

// start runs a unit's ExecStartPre and ExecStart lines after making its RuntimeDirectory.
func (s *System) start(ctx context.Context, name string) error {
	content, err := s.ReadFile(path.Join(host.UnitDirectory, name))
	if err != nil {
		return err
	}
	var argv []string
	oneshot := false
	for line := range strings.Lines(string(content)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		words := strings.Fields(value)
		switch key {
		case "Type":
			oneshot = value == "oneshot"
			continue
		case "RuntimeDirectory":
			for i := range words {
				words[i] = "/run/" + words[i]
			}
			words = append([]string{"mkdir", "-p"}, words...)
		case "ExecStartPre":
			words[0] = strings.TrimLeft(words[0], "-+")
		case "ExecStart":
			argv = words
			continue
		default:
			continue
		}
		if _, err := s.System.Run(ctx, host.Command{Name: words[0], Args: words[1:]}); err != nil {
			return err
		}
	}
	if argv == nil {
		return fmt.Errorf("unit %s has no ExecStart", name)
	}
	if oneshot {
		_, err := s.System.Run(ctx, host.Command{Name: argv[0], Args: argv[1:]})
		return err
	}
	argv = slices.Concat(s.m.Enter(), argv)
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // it outlives the call that starts it, as a service does
	if err := cmd.Start(); err != nil {
		return err
	}
	p := &process{done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	for p.pid == 0 { // until nsenter has made the process
		select {
		case <-p.done:
			return fmt.Errorf("unit %s: %s", name, cmd.ProcessState)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
		if pid, err := OnlyChild(cmd.Process.Pid); err == nil {
			p.pid = pid
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[name] = p
	return nil
}

type units struct{ *System }

func (u units) Ensure(ctx context.Context, want host.Unit) (bool, error) {
	written, err := u.WriteFile(path.Join(host.UnitDirectory, want.Name), want.Content, 0o644)
	if err != nil {
		return false, err
	}
	u.mu.Lock()
	changed := written || u.enabled[want.Name] != want.Enabled
	u.enabled[want.Name] = want.Enabled
	u.mu.Unlock()
	switch running := u.process(want.Name) != nil; {
	case want.Running && (written || !running):
		return true, u.Restart(ctx, want.Name)
	case !want.Running && running:
		return true, u.Stop(ctx, want.Name)
	default:
		return changed, nil
	}
}

func (u units) Reload(ctx context.Context, name string) error { return u.Signal(ctx, name, "HUP") }

func (u units) Restart(ctx context.Context, name string) error {
	u.changed("restart %s", name)
	if err := u.stop(name); err != nil {
		return err
	}
	return u.start(ctx, name)
}

func (u units) Stop(_ context.Context, name string) error {
	u.changed("stop %s", name)
	return u.stop(name)
}

func (u units) Signal(_ context.Context, name, signal string) error {
	numbers := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "ALRM": syscall.SIGALRM, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2}
	number, known := numbers[signal]
	p := u.process(name)
	if !known || p == nil {
		return fmt.Errorf("signal %s to unit %s: cannot be sent", signal, name)
	}
	if signal == "HUP" || signal == "ALRM" {
		u.changed("signal %s to %s", signal, name)
	}
	return syscall.Kill(p.pid, number)
}

func (u units) Remove(_ context.Context, name string) (bool, error) {
	if err := u.stop(name); err != nil {
		return false, err
	}
	u.mu.Lock()
	delete(u.enabled, name)
	u.mu.Unlock()
	return u.System.Remove(path.Join(host.UnitDirectory, name))
}

func (u units) Status(_ context.Context, name string) (host.UnitStatus, error) {
	_, err := u.ReadFile(path.Join(host.UnitDirectory, name))
	st := host.UnitStatus{Exists: err == nil, State: "inactive"}
	u.mu.Lock()
	st.Enabled = u.enabled[name]
	u.mu.Unlock()
	if p := u.process(name); p != nil {
		st.Active, st.State, st.MainPID = true, "active", p.pid
	}
	return st, nil
}
