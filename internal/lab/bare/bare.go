//go:build linux

package bare

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
)

// bootWithin is how long a machine may take until its systemd has started everything.
const bootWithin = time.Minute

// noFirewall is the machines' /etc/nftables.conf: the image's own closes every port that an agent has not opened.
const noFirewall = "#!/usr/sbin/nft -f\nflush ruleset\n"

// Options are what the machines are made of.
type Options struct {
	// Dir is where the machines' disks are; a temporary folder when empty. It may not be on an overlayfs itself.
	Dir string
	// Image is the root file system; that of all of the lab's nodes when its Suite is empty.
	Image nodes.Image
	// Progress is told what takes long. It may be nil.
	Progress func(string)
}

// Lab is a network and its machines. Its methods are safe for concurrent use.
type Lab struct {
	name, dir, layer string
	temporary        bool
	net              *network.Network
}

// Machine is a machine with a systemd and a disk of its own. Its methods are safe for concurrent use, but changes of power are not.
type Machine struct {
	// Name is the host name.
	Name string
	// Address is the machine's in the network that all share.
	Address netip.Addr

	lab  *Lab
	node *nodes.Node

	mu    sync.Mutex
	space network.Namespace
}

// New makes a network without machines. The name must be no other lab's on this machine. Missing requirements are a
// *nodes.MissingError. Close removes everything.
func New(ctx context.Context, name string, o Options) (*Lab, error) {
	if err := nodes.Check(); err != nil {
		return nil, err
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Image.Suite == "" {
		o.Image = nodes.DefaultImage()
	}
	layer, err := nodes.Cache{}.Ensure(ctx, o.Image, o.Progress)
	if err != nil {
		return nil, err
	}
	l := &Lab{name: name, dir: o.Dir, layer: layer}
	if l.dir == "" {
		if l.dir, err = os.MkdirTemp("", "atoll-bare-"); err != nil {
			return nil, err
		}
		l.temporary = true
	}
	if l.net, err = network.New(ctx, name, slog.New(slog.DiscardHandler)); err != nil {
		return nil, errors.Join(err, l.removeDir())
	}
	return l, nil
}

// Network is the internet between the machines, whose paths can be cut and made lossy.
func (l *Lab) Network() *network.Network { return l.net }

// Add makes a machine and boots it.
func (l *Lab) Add(ctx context.Context, name string) (*Machine, error) {
	addresses, err := l.net.Reserve(name, network.SiteVPS)
	if err != nil {
		return nil, err
	}
	node, err := nodes.New(nodes.Config{Lab: l.name, Name: name, Hostname: name, Dir: filepath.Join(l.dir, "disks", name), Layers: []string{l.layer}})
	if err != nil {
		return nil, err
	}
	m := &Machine{Name: name, Address: addresses.IPv4, lab: l, node: node}
	if err := node.Write("/etc/nftables.conf", []byte(noFirewall), 0o755); err != nil {
		return nil, err
	}
	return m, m.PowerOn(ctx)
}

// Close takes all machines' power and removes everything that the lab made.
func (l *Lab) Close(ctx context.Context) error {
	err := errors.Join(nodes.Sweep(ctx, l.name, filepath.Join(l.dir, "disks")), l.net.Close(ctx))
	return errors.Join(err, l.removeDir())
}

func (l *Lab) removeDir() error {
	if !l.temporary {
		return nil
	}
	return os.RemoveAll(l.dir)
}

// PowerOn boots the machine and returns when everything that starts by itself has started.
func (m *Machine) PowerOn(ctx context.Context) error {
	if err := m.Power(ctx); err != nil {
		return err
	}
	_, err := await.Attempt(ctx, bootWithin, func(ctx context.Context) error {
		// It says "degraded", with a status of its own, when a unit has failed.
		out, err := m.Run(ctx, "sh", "-c", "systemctl is-system-running || true")
		if err != nil {
			return err
		}
		if state := strings.TrimSpace(out); state != "running" && state != "degraded" {
			return fmt.Errorf("%s is %q", m.Name, state)
		}
		return nil
	})
	return err
}

// Power boots the machine and returns as soon as its PID 1 runs.
func (m *Machine) Power(ctx context.Context) error {
	space, err := m.lab.net.Plug(ctx, m.Name)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.space = space
	m.mu.Unlock()
	return m.node.Boot(ctx, space.Path(), func(nodes.Exit) {})
}

// PowerCut takes the machine's power without a word to anybody.
func (m *Machine) PowerCut(ctx context.Context) error {
	if err := m.lab.net.Silence(m.Name); err != nil {
		return err
	}
	return m.node.PowerCut(ctx)
}

// Freeze stops every process of the machine where it stands, or lets them go on.
func (m *Machine) Freeze(ctx context.Context, frozen bool) error { return m.node.Freeze(ctx, frozen) }

// System is the machine as an agent on it has it, until it loses power.
func (m *Machine) System() (host.System, error) {
	pid, err := m.node.PID()
	if err != nil {
		return nil, err
	}
	return host.Within(fmt.Sprintf("/proc/%d/root", pid), nodes.Enter(context.Background(), pid).Args...), nil
}

// PID is the machine's first process, as this machine sees it, until it loses power.
func (m *Machine) PID() (int, error) { return m.node.PID() }

// Command prepares a command that runs as root on the machine.
func (m *Machine) Command(ctx context.Context, argv ...string) (*exec.Cmd, error) {
	return m.node.Command(ctx, argv...)
}

// Run runs a command on the machine and returns its standard output.
func (m *Machine) Run(ctx context.Context, argv ...string) (string, error) {
	cmd, err := m.Command(ctx, argv...)
	if err != nil {
		return "", err
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s: %s: %w: %s", m.Name, argv[0], err, strings.TrimSpace(complaint.String()))
	}
	return string(out), nil
}

// Write puts a file on the machine's disk.
func (m *Machine) Write(path string, data []byte, mode fs.FileMode) error {
	return m.node.Write(path, data, mode)
}

// Dial connects from the machine: to an address, or to a socket among its files when network is "unix".
func (m *Machine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "unix" {
		return m.namespace().Connect(ctx, network, address)
	}
	pid, err := m.node.PID()
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, "/proc/"+strconv.Itoa(pid)+"/root"+address)
}

// Listen announces on an address of the machine. Who called it serves what comes.
func (m *Machine) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return m.namespace().Listen(ctx, network, address)
}

func (m *Machine) namespace() network.Namespace {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.space
}

// Usage measures what the machine consumes.
func (m *Machine) Usage() (nodes.Usage, error) { return m.node.Usage() }
