//go:build linux

package lab

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/dhcp"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/vm"
	atollseed "github.com/atollhq/terraform-provider-atoll/internal/seed"
)

// ErrNotVirtual means that something only works with virtual machines.
var ErrNotVirtual = errors.New("only virtual machines can do that: start the lab with --boot vm")

// tapName is what a virtual machine's end of its cable is called.
const tapName = "tap0"

// loginCredential is how the firmware hands systemd a key that may log in as root (systemd.system-credentials(7)).
const loginCredential = "ssh.authorized_keys.root"

// makeVM makes the machine as a virtual one.
func (l *Lab) makeVM(ctx context.Context, m *machine, s seed) error {
	c := vm.Config{
		Lab: l.options.Name, Name: m.name,
		Dir: filepath.Join(l.record.data.DataDir, "nodes", m.name), Run: filepath.Join(l.files.dir(), "run"),
		Memory: l.options.Memory, Accelerator: l.accelerator, Disk: s.disk, MAC: m.mac(l.options.Name), Seed: s.seedDisk,
		KernelArguments: s.arguments, System: vm.System{UUID: randomUUID()},
	}
	var err error
	switch s.kind {
	case KindLinode:
		// What the vendor's own machines say of themselves: cloud-init and the agent go by it.
		c.System.Manufacturer, c.System.Product, c.System.Serial = "Akamai", "Linode", strconv.Itoa(s.id)
		c.DirectKernel, c.Image = true, s.imageFile
		if c.Image == "" {
			c.Image, err = l.images.filesystem(ctx, l.options.Progress)
		}
	case KindUnmanaged:
		if c.DirectKernel = s.directKernel; c.DirectKernel {
			c.Image, err = l.images.filesystem(ctx, l.options.Progress)
			break
		}
		c.Image, err = l.images.disk(ctx)
	}
	if err != nil {
		return err
	}
	c.Credentials = maps.Clone(s.credentials)
	if s.seedDisk != "" || s.kind == KindLinode {
		// Whoever made that seed decides who logs in by it; the lab has its own way in.
		if c.Credentials == nil {
			c.Credentials = map[string][]byte{}
		}
		c.Credentials[loginCredential] = []byte(l.operator.publicKey + "\n")
	}
	machine, err := vm.New(ctx, c)
	if err != nil {
		return err
	}
	m.node, m.virtual = machine, machine
	if s.rootPass != "" {
		return machine.SetRootPassword(ctx, s.rootPass)
	}
	if s.seedDisk == "" && s.kind == KindUnmanaged {
		return l.insertLogin(ctx, m, s.authorizedKeys)
	}
	return nil
}

// insertLogin puts a seed disk into a machine that lets the keys log in, as whoever sets up a machine in a rack does.
func (l *Lab) insertLogin(ctx context.Context, m *machine, keys []string) error {
	userData := "#cloud-config\ndisable_root: false\nssh_authorized_keys:\n"
	for _, k := range keys {
		userData += fmt.Sprintf("  - %q\n", k)
	}
	path := filepath.Join(l.files.dir(), "seed-"+m.name)
	volume, err := atollseed.Volume([]atollseed.File{
		{Name: "user-data", Data: []byte(userData)},
		{Name: "meta-data", Data: fmt.Appendf(nil, "instance-id: %s\nlocal-hostname: %s\n", rand.Text(), nodes.Hostname(m.name))},
	})
	if err != nil {
		return err
	}
	if err := writeFile(path, volume); err != nil {
		return err
	}
	return errors.Join(m.virtual.Insert(ctx, path), removeFile(path))
}

// randomUUID makes a UUID of version 4 (RFC 9562).
func randomUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// mac is the hardware address of the machine's network card. Linode's begin like this, and cloud-init prefers such cards.
func (m *machine) mac(lab string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(lab + " " + m.name))
	if m.kind == KindLinode {
		return append(net.HardwareAddr{0xf2, 0x3c, 0x95}, sum[:3]...)
	}
	return append(net.HardwareAddr{0x52, 0x54, 0x00}, sum[:3]...)
}

// connect connects a machine to its site and returns the namespace that it runs in.
func (l *Lab) connect(ctx context.Context, m *machine) (network.Namespace, error) {
	if m.virtual == nil {
		return l.net.Plug(ctx, m.name)
	}
	if err := m.hangUp(); err != nil {
		return "", err
	}
	namespace, err := l.net.PlugTap(ctx, m.name, tapName)
	if err != nil {
		return "", err
	}
	lease := dhcp.Lease{
		MAC: m.mac(l.options.Name), Address: m.addresses.IPv4, Gateway: m.addresses.Gateway,
		Server: netip.MustParseAddr(network.RouterAddress),
	}
	if network.HaveIPv6() {
		lease.Address6, lease.Gateway6 = m.addresses.IPv6, netip.MustParseAddr(network.GatewayAddress6)
	}
	if err := l.net.AtCable(m.name, func(device string) error {
		m.dhcp, err = dhcp.Serve(device, lease, l.options.Log.With("machine", m.name))
		return err
	}); err != nil {
		return "", errors.Join(err, l.net.Unplug(context.WithoutCancel(ctx), m.name))
	}
	return namespace, nil
}

// disconnect takes a machine without power off the network.
func (l *Lab) disconnect(ctx context.Context, m *machine) error {
	return errors.Join(m.hangUp(), l.net.Unplug(ctx, m.name))
}

// hangUp ends what serves the machine's cable.
func (m *machine) hangUp() error {
	if m.dhcp == nil {
		return nil
	}
	err := m.dhcp.Close()
	m.dhcp = nil
	return err
}

// Disk is the file of a virtual machine's disk: raw when it has no partitions, else qcow2. The machine must be off for
// anybody to touch it.
func (l *Lab) Disk(name string) (string, error) {
	m, err := l.machine(name)
	switch {
	case err != nil:
		return "", err
	case m.virtual == nil:
		return "", fmt.Errorf("%s: %w", name, ErrNotVirtual)
	case m.virtual.On():
		return "", fmt.Errorf("%s is on: its disk is its own", name)
	}
	return m.virtual.Disk(), nil
}

// Insert puts a seed disk (the path of an image) into a virtual machine, in the place of the one that is there; "" only
// takes that one out. A running machine notices at once.
func (l *Lab) Insert(ctx context.Context, name, path string) error {
	m, err := l.machine(name)
	if err != nil {
		return err
	}
	if m.virtual == nil {
		return fmt.Errorf("%s: %w", name, ErrNotVirtual)
	}
	m.power.Lock()
	defer m.power.Unlock()
	return m.virtual.Insert(ctx, path)
}

// Add makes another machine that no API knows and boots it. It does not wait for it.
func (l *Lab) Add(ctx context.Context, spec Machine) error {
	if err := l.options.allow(spec); err != nil {
		return err
	}
	return l.addUnmanaged(ctx, spec)
}

// Discard takes a machine that no API knows out of the lab, with its disk.
func (l *Lab) Discard(ctx context.Context, name string) error {
	m, err := l.machine(name)
	if err != nil {
		return err
	}
	if m.kind != KindUnmanaged {
		return fmt.Errorf("%s belongs to a cloud: delete it by its API", name)
	}
	if err := l.net.Silence(name); err != nil {
		return err
	}
	return l.dispose(ctx, m)
}

// PullCable takes a machine that is on off the network: other than with a cut path, not even an address is to be had.
func (l *Lab) PullCable(name string) error { return l.net.Silence(name) }

// PlugCable ends PullCable.
func (l *Lab) PlugCable(name string) error { return l.net.Restore(name) }

// removeFile removes a file that nobody needs any more.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("tidy up: %w", err)
	}
	return nil
}
