//go:build linux

package lab

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/vm"
)

// Boot says what a lab's machines are.
type Boot string

// What machines can be.
const (
	// BootContainer is a systemd in a container: up in a second, with the kernel of this machine.
	BootContainer Boot = "container"
	// BootVM is a virtual machine of the real node image, with its own boot loader and kernel: up in about a minute where
	// there is no KVM.
	BootVM Boot = "vm"
)

// Boots lists every kind of machine.
func Boots() []Boot { return []Boot{BootContainer, BootVM} }

// computer is what gives a machine of the lab its life. Changes of power are serialized by the lab.
type computer interface {
	Boot(ctx context.Context, namespace string, ended func(nodes.Exit)) error
	PowerCut(ctx context.Context) error
	Shutdown(ctx context.Context, grace time.Duration) error
	Freeze(ctx context.Context, frozen bool) error
	Frozen() bool
	On() bool
	PID() (int, error)
	Usage() (nodes.Usage, error)
	Console() string
	Destroy(ctx context.Context) error
}

var (
	_ computer = (*nodes.Node)(nil)
	_ computer = (*vm.VM)(nil)
)

// patience is how long a kind of machine takes for what it does.
type patience struct {
	ssh      time.Duration // from power to an SSH server that answers
	shutdown time.Duration // from being asked to having switched itself off
}

func (b Boot) patience() patience {
	if b == BootVM {
		return patience{ssh: 5 * time.Minute, shutdown: 90 * time.Second}
	}
	return patience{ssh: time.Minute, shutdown: 15 * time.Second}
}

// anyVM says whether a lab may have virtual machines.
func (o Options) anyVM() bool {
	return o.Boot == BootVM || slices.ContainsFunc(o.Machines, func(m Machine) bool { return m.Boot == BootVM })
}

// anyContainer says whether a lab may have containers.
func (o Options) anyContainer() bool {
	return o.Boot != BootVM || slices.ContainsFunc(o.Machines, func(m Machine) bool { return m.Boot == BootContainer })
}

// allow says whether the lab can have a machine.
func (o Options) allow(m Machine) error {
	boot := m.Boot
	if boot == "" {
		boot = o.Boot
	}
	switch {
	case !slices.Contains(Boots(), boot):
		return fmt.Errorf("%s: %q is nothing that a machine can be: %q are", m.Name, boot, Boots())
	case boot == BootVM && !o.anyVM():
		return fmt.Errorf("%s: %w", m.Name, ErrNotVirtual)
	case boot == BootContainer && !o.anyContainer():
		return fmt.Errorf("%s: the lab was started for virtual machines alone", m.Name)
	case boot == BootVM && m.Access != network.AccessPublic:
		return fmt.Errorf("%s: a virtual machine has public addresses; only a container can have access %q", m.Name, m.Access)
	case boot != BootVM && (m.Seed != "" || m.DirectKernel || m.KernelArguments != "" || m.Disk != 0 || m.Credentials != nil):
		return fmt.Errorf("%s: %w", m.Name, ErrNotVirtual)
	}
	return nil
}

// Check returns an error that says what this machine lacks for such a lab, and how to get it.
func (o Options) Check() error {
	o = o.withDefaults()
	for _, m := range append([]Machine{{Name: "the lab"}}, o.Machines...) {
		if err := o.allow(m); err != nil {
			return err
		}
	}
	if o.anyVM() {
		return nodes.Check(vm.Requirements()...)
	}
	return nodes.Check()
}
