//go:build linux

package databasetest

import (
	"context"
	"fmt"
	"io/fs"
	"sync"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
)

// system is a machine as its agent has it, over all of the machine's boots. It counts changes.
type system struct {
	machine *bare.Machine

	mu      sync.Mutex
	changes []string
}

func (s *system) changed(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes = append(s.changes, fmt.Sprintf(format, args...))
}

// takeChanges returns the changes since the last call.
func (s *system) takeChanges() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.changes
	s.changes = nil
	return out
}

// now is the machine of this boot.
//
//nolint:contextcheck // its commands get their contexts when they run
func (s *system) now() (host.System, error) { return s.machine.System() }

// Run implements host.System.
func (s *system) Run(ctx context.Context, c host.Command) (host.Output, error) {
	if !c.ReadOnly {
		s.changed("run %s", c)
	}
	now, err := s.now()
	if err != nil {
		return host.Output{}, err
	}
	return now.Run(ctx, c)
}

// ReadFile implements host.System.
func (s *system) ReadFile(path string) ([]byte, error) {
	now, err := s.now()
	if err != nil {
		return nil, err
	}
	return now.ReadFile(path)
}

// WriteFile implements host.System.
func (s *system) WriteFile(path string, data []byte, mode fs.FileMode) (bool, error) {
	now, err := s.now()
	if err != nil {
		return false, err
	}
	changed, err := now.WriteFile(path, data, mode)
	if changed {
		s.changed("write %s", path)
	}
	return changed, err
}

// Remove implements host.System.
func (s *system) Remove(path string) (bool, error) {
	now, err := s.now()
	if err != nil {
		return false, err
	}
	changed, err := now.Remove(path)
	if changed {
		s.changed("remove %s", path)
	}
	return changed, err
}

// ReadDir implements host.System.
func (s *system) ReadDir(path string) ([]string, error) {
	now, err := s.now()
	if err != nil {
		return nil, err
	}
	return now.ReadDir(path)
}

// Units implements host.System. A machine without power has none that can be reached.
func (s *system) Units() host.Units { return units{s} }

type units struct{ *system }

func (u units) on(what, name string, do func(host.Units) (bool, error)) (bool, error) {
	now, err := u.now()
	if err != nil {
		return false, err
	}
	changed, err := do(now.Units())
	if changed {
		u.changed("%s %s", what, name)
	}
	return changed, err
}

func (u units) Ensure(ctx context.Context, want host.Unit) (bool, error) {
	return u.on("change", want.Name, func(now host.Units) (bool, error) { return now.Ensure(ctx, want) })
}

func (u units) Reload(ctx context.Context, name string) error {
	_, err := u.on("reload", name, func(now host.Units) (bool, error) { return true, now.Reload(ctx, name) })
	return err
}

func (u units) Restart(ctx context.Context, name string) error {
	_, err := u.on("restart", name, func(now host.Units) (bool, error) { return true, now.Restart(ctx, name) })
	return err
}

func (u units) Stop(ctx context.Context, name string) error {
	_, err := u.on("stop", name, func(now host.Units) (bool, error) { return true, now.Stop(ctx, name) })
	return err
}

func (u units) Signal(ctx context.Context, name, signal string) error {
	_, err := u.on("signal", name, func(now host.Units) (bool, error) { return true, now.Signal(ctx, name, signal) })
	return err
}

func (u units) Remove(ctx context.Context, name string) (bool, error) {
	return u.on("remove", name, func(now host.Units) (bool, error) { return now.Remove(ctx, name) })
}

func (u units) Status(ctx context.Context, name string) (st host.UnitStatus, err error) {
	_, err = u.on("", name, func(now host.Units) (bool, error) {
		st, err = now.Status(ctx, name)
		return false, err
	})
	return st, err
}
