//go:build linux

package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
)

// boot gives a machine power; one that has it stays as it is.
func (l *Lab) boot(ctx context.Context, m *machine) error {
	m.power.Lock()
	defer m.power.Unlock()
	return l.bootLocked(ctx, m)
}

func (l *Lab) bootLocked(ctx context.Context, m *machine) error {
	if m.node.On() {
		return nil
	}
	if l.isClosing() {
		return errClosing
	}
	namespace, err := l.connect(ctx, m)
	if err != nil {
		return err
	}
	m.boots++
	m.boot.Add(1)
	if m.virtual != nil {
		if err := l.entry.write(); err != nil {
			return err
		}
	}
	boot := m.boots
	life := context.WithoutCancel(ctx) // a machine outlives the call that boots it
	if err := m.node.Boot(ctx, namespace.Path(), func(exit nodes.Exit) { l.ended(life, m, boot, exit) }); err != nil {
		return err
	}
	l.tellCloud(m, true)
	return nil
}

// tellCloud lets the cloud's API show what happened to an instance without it.
func (l *Lab) tellCloud(m *machine, running bool) {
	if m.kind == KindLinode {
		l.cloud.SetRunning(m.id, running)
	}
}

// ended follows up when a boot is over: a machine that wants to boot again does, with a network as fresh as its kernel.
func (l *Lab) ended(ctx context.Context, m *machine, boot int, exit nodes.Exit) {
	m.power.Lock()
	defer m.power.Unlock()
	if l.isClosing() || m.boots != boot || m.node.On() {
		return // whoever took the power looks after the rest
	}
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	err := l.disconnect(ctx, m)
	switch {
	case err != nil:
	case exit == nodes.ExitReboot:
		err = l.bootLocked(ctx, m)
	default:
		l.tellCloud(m, false)
	}
	if err != nil {
		l.options.Log.Error("a machine ended and could not be looked after", "machine", m.name, "error", err)
	}
}

// Kill cuts a machine's power. It falls silent at once: no process of it can write or say goodbye.
func (l *Lab) Kill(ctx context.Context, name string) error {
	m, err := l.machine(name)
	if err != nil {
		return err
	}
	m.power.Lock()
	defer m.power.Unlock()
	if err := l.net.Silence(name); err != nil {
		return err
	}
	if err := m.node.PowerCut(ctx); err != nil {
		return err
	}
	l.tellCloud(m, false)
	return l.disconnect(ctx, m)
}

// PowerOn boots a machine with the disk it has. It returns when PID 1 runs; WaitSSH waits for more.
func (l *Lab) PowerOn(ctx context.Context, name string) error {
	m, err := l.machine(name)
	if err != nil {
		return err
	}
	return l.boot(ctx, m)
}

// Shutdown lets a machine switch itself off in order.
func (l *Lab) Shutdown(ctx context.Context, name string) error {
	m, err := l.machine(name)
	if err != nil {
		return err
	}
	return l.shutdown(ctx, m)
}

func (l *Lab) shutdown(ctx context.Context, m *machine) error {
	m.power.Lock()
	defer m.power.Unlock()
	if err := m.node.Shutdown(ctx, m.is().patience().shutdown); err != nil {
		return err
	}
	l.tellCloud(m, false)
	return l.disconnect(ctx, m)
}

// Freeze stops every process of a machine where it stands; its kernel still answers pings, as a machine that swaps
// itself to death does.
func (l *Lab) Freeze(ctx context.Context, name string) error { return l.freeze(ctx, name, true) }

// Thaw lets a frozen machine go on.
func (l *Lab) Thaw(ctx context.Context, name string) error { return l.freeze(ctx, name, false) }

func (l *Lab) freeze(ctx context.Context, name string, frozen bool) error {
	m, err := l.machine(name)
	if err != nil {
		return err
	}
	m.power.Lock()
	defer m.power.Unlock()
	return m.node.Freeze(ctx, frozen)
}

// Cut loses every packet from one end to another, and back unless oneWay. Ends are machines, sites, network.Operator or
// network.Everything.
func (l *Lab) Cut(ctx context.Context, from, to string, oneWay bool) error {
	return l.net.Impair(ctx, from, to, 100, oneWay)
}

// Loss loses that many percent of the packets from one end to another, and back unless oneWay.
func (l *Lab) Loss(ctx context.Context, from, to string, percent int, oneWay bool) error {
	return l.net.Impair(ctx, from, to, percent, oneWay)
}

// Heal ends every impairment between two ends.
func (l *Lab) Heal(ctx context.Context, a, b string) error { return l.net.Heal(ctx, a, b) }

// HealAll ends every impairment of the lab.
func (l *Lab) HealAll(ctx context.Context) error { return l.net.HealAll(ctx) }

// WaitSSH waits until a machine's SSH server answers the operator.
func (l *Lab) WaitSSH(ctx context.Context, name string) error {
	m, err := l.machine(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, m.is().patience().ssh)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		last := l.greet(ctx, m)
		if last == nil {
			last = l.learn(ctx, m)
		}
		if last == nil {
			return nil
		}
		if !m.node.On() {
			return fmt.Errorf("wait for SSH on %s: %w; its console is %s", name, nodes.ErrOff, m.node.Console())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for SSH on %s: %w (last try: %w); its console is %s", name, ctx.Err(), last, m.node.Console())
		case <-tick.C:
		}
	}
}

// greet connects to a machine's SSH server once and reads its greeting.
func (l *Lab) greet(ctx context.Context, m *machine) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := l.net.OperatorNamespace().Dial(ctx, "tcp", net.JoinHostPort(m.addresses.Best().String(), "22"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "SSH-") {
		return errors.New("it answers, but not as SSH does")
	}
	return nil
}
