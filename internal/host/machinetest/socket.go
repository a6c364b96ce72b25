package machinetest

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
)

// Listen listens on a TCP address of the machine. The test itself serves what comes.
func (m *Machine) Listen(ctx context.Context, address string) (net.Listener, error) {
	var out net.Listener
	err := inNetwork(m.PID, func() error {
		var config net.ListenConfig
		var err error
		out, err = config.Listen(ctx, "tcp", address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", m.Name, err)
	}
	return out, nil
}

// Dial connects to a TCP address, an IP address with a port, as a program on the machine does.
func (m *Machine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var out net.Conn
	err := inNetwork(m.PID, func() error {
		var dialer net.Dialer
		var err error
		out, err = dialer.DialContext(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", m.Name, err)
	}
	return out, nil
}

// DialSocket connects to a Unix socket, by its path on the machine.
func (m *Machine) DialSocket(ctx context.Context, path string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", filepath.Join(fmt.Sprintf("/proc/%d/root", m.PID), path))
}
