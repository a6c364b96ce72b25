package tinc_test

import (
	"context"
	"io/fs"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
)

// crashingSystem makes some changes and then fails every one, as if the agent had died.
type crashingSystem struct {
	*hosttest.Host
	left int
	err  error
}

func (s *crashingSystem) next() error {
	if s.left == 0 {
		return s.err
	}
	s.left--
	return nil
}

func (s *crashingSystem) Run(ctx context.Context, c host.Command) (host.Output, error) {
	if !c.ReadOnly {
		if err := s.next(); err != nil {
			return host.Output{}, err
		}
	}
	return s.Host.Run(ctx, c)
}

func (s *crashingSystem) WriteFile(name string, data []byte, mode fs.FileMode) (bool, error) {
	if err := s.next(); err != nil {
		return false, err
	}
	return s.Host.WriteFile(name, data, mode)
}

func (s *crashingSystem) Remove(name string) (bool, error) {
	if err := s.next(); err != nil {
		return false, err
	}
	return s.Host.Remove(name)
}

func (s *crashingSystem) Units() host.Units { return crashingUnits{s.Host.Units(), s} }

type crashingUnits struct {
	host.Units
	s *crashingSystem
}

func (u crashingUnits) Ensure(ctx context.Context, unit host.Unit) (bool, error) {
	if err := u.s.next(); err != nil {
		return false, err
	}
	return u.Units.Ensure(ctx, unit)
}

func (u crashingUnits) Restart(ctx context.Context, name string) error {
	if err := u.s.next(); err != nil {
		return err
	}
	return u.Units.Restart(ctx, name)
}

func (u crashingUnits) Signal(ctx context.Context, name, signal string) error {
	if err := u.s.next(); err != nil {
		return err
	}
	return u.Units.Signal(ctx, name, signal)
}
