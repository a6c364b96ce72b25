//go:build linux

package lab

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/dhcp"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/vm"
)

// Kind says where a machine comes from.
type Kind string

// Kinds of machines.
const (
	KindUnmanaged Kind = "unmanaged" // reachable by SSH only
	KindLinode    Kind = "linode"    // made by the emulated Linode API
)

// ErrNoMachine means that the lab has no machine of that name.
var ErrNoMachine = errors.New("no such machine in the lab")

// errClosing stops what would make something in a lab that is being removed.
var errClosing = errors.New("the lab is being removed")

// machine is one computer of the lab.
type machine struct {
	name      string
	site      string
	kind      Kind
	id        int // of the Linode instance
	addresses network.Addresses
	node      computer
	container *nodes.Node // what node is, or nil
	virtual   *vm.VM      // what node is, or nil

	power sync.Mutex // held while power changes
	boots int        // guarded by power
	dhcp  *dhcp.Server
	boot  atomic.Int64 // boots for whoever does not hold power

	identity sync.Mutex
	hostKey  string // public SSH host key; a virtual machine makes its own and tells it later
}

// NodeState describes a machine of a running lab.
type NodeState struct {
	Name    string `json:"name"`
	Kind    Kind   `json:"kind"`
	Boot    Boot   `json:"boot"`
	Site    string `json:"site"`
	Power   string `json:"power"` // "on", "off" or "frozen"
	PID     int    `json:"pid,omitempty"`
	ID      int    `json:"linode_id,omitempty"`
	IPv4    string `json:"ipv4"`
	IPv6    string `json:"ipv6"`
	HostKey string `json:"ssh_host_key"`

	// Console is the file with what the machine said while booting.
	Console string `json:"console"`

	MemoryBytes uint64        `json:"memory_bytes"`
	CPU         time.Duration `json:"cpu_nanoseconds"`
}

// seed is what a machine is made of.
type seed struct {
	name, site     string
	access         network.Access
	kind           Kind
	id             int
	boot           Boot // of the lab when empty
	authorizedKeys []string
	// Of containers.
	layers []string
	files  map[string]string
	// Of virtual machines: root's password, a seed disk, the raw file system to start from, the disk's size in MiB, and whether the kernel is
	// started without a boot loader. Each may be empty.
	rootPass     string
	seedDisk     string
	imageFile    string
	disk         int
	directKernel bool
	arguments    string // of that kernel
	credentials  map[string][]byte
}

// add reserves a machine's addresses and makes its disk. It has no power yet.
func (l *Lab) add(ctx context.Context, s seed) (*machine, error) {
	addresses, err := l.net.ReserveFor(s.name, s.site, s.access)
	if err != nil {
		return nil, err
	}
	m := &machine{name: s.name, site: s.site, kind: s.kind, id: s.id, addresses: addresses}
	if err := l.furnish(ctx, m, s); err != nil {
		return nil, errors.Join(fmt.Errorf("make %s: %w", s.name, err), l.dispose(context.WithoutCancel(ctx), m))
	}
	l.mu.Lock()
	closing := l.closing
	l.machines[m.name] = m
	l.mu.Unlock()
	if closing {
		return nil, errors.Join(errClosing, l.dispose(context.WithoutCancel(ctx), m))
	}
	return m, nil
}

// furnish makes the machine's disk and what is on it from the start.
func (l *Lab) furnish(ctx context.Context, m *machine, s seed) error {
	if s.boot == "" {
		s.boot = l.options.Boot
	}
	if s.boot == BootVM {
		return l.makeVM(ctx, m, s)
	}
	return l.makeContainer(m, s)
}

func (l *Lab) makeContainer(m *machine, s seed) error {
	node, err := nodes.New(nodes.Config{
		Lab: l.options.Name, Name: m.name, Hostname: nodes.Hostname(m.name),
		Dir: filepath.Join(l.record.data.DataDir, "nodes", m.name), Layers: s.layers,
	})
	if err != nil {
		return err
	}
	m.node, m.container = node, node
	public, private, err := newSSHKey("root@" + m.name)
	if err != nil {
		return err
	}
	m.learnKey(public)
	if err := node.Write("/etc/ssh/ssh_host_ed25519_key", private, 0o600); err != nil {
		return err
	}
	if err := node.Write("/etc/ssh/ssh_host_ed25519_key.pub", []byte(public+"\n"), 0o644); err != nil {
		return err
	}
	if len(s.authorizedKeys) > 0 {
		keys := strings.Join(s.authorizedKeys, "\n") + "\n"
		if err := node.Write("/root/.ssh/authorized_keys", []byte(keys), 0o600); err != nil {
			return err
		}
	}
	for path, text := range s.files {
		if err := node.Write(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// newSSHKey makes an Ed25519 key pair in OpenSSH's forms.
func newSSHKey(comment string) (public string, private []byte, err error) {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", nil, fmt.Errorf("make SSH key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return "", nil, fmt.Errorf("make SSH key: %w", err)
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		return "", nil, fmt.Errorf("make SSH key: %w", err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshPub))), pem.EncodeToMemory(block), nil
}

// addUnmanaged makes a machine that no API knows, boots it, and tells the operator its host key.
func (l *Lab) addUnmanaged(ctx context.Context, spec Machine) error {
	m, err := l.add(ctx, seed{
		name: spec.Name, site: spec.Site, access: spec.Access, kind: KindUnmanaged,
		layers: []string{l.layers.base}, authorizedKeys: []string{l.operator.publicKey}, seedDisk: spec.Seed,
		boot: spec.Boot, directKernel: spec.DirectKernel, arguments: spec.KernelArguments, disk: spec.Disk, credentials: spec.Credentials,
	})
	if err != nil {
		return err
	}
	if m.knownKey() != "" {
		if err := l.operator.addHost(m); err != nil {
			return err
		}
	}
	if spec.Off {
		return nil
	}
	return l.boot(ctx, m)
}

// is says what the machine is.
func (m *machine) is() Boot {
	if m.virtual != nil {
		return BootVM
	}
	return BootContainer
}

// dispose takes a machine's power and removes everything of it.
func (l *Lab) dispose(ctx context.Context, m *machine) error {
	m.power.Lock()
	defer m.power.Unlock()
	m.boots++ // whatever watches the present boot has nothing to do any more
	if err := m.hangUp(); err != nil {
		return err
	}
	if m.node != nil {
		if err := m.node.Destroy(ctx); err != nil {
			return err
		}
	}
	l.entry.hosts.remove(m)
	l.operator.hosts.remove(m)
	if err := l.net.Release(ctx, m.name); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.machines[m.name] == m {
		delete(l.machines, m.name)
	}
	return nil
}

func (l *Lab) machine(name string) (*machine, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m, ok := l.machines[name]
	if !ok {
		var there []string
		for other := range l.machines {
			there = append(there, other)
		}
		slices.Sort(there)
		return nil, fmt.Errorf("%q: %w (there are: %s)", name, ErrNoMachine, strings.Join(there, ", "))
	}
	return m, nil
}

// all returns every machine, sorted by name.
func (l *Lab) all() []*machine {
	l.mu.Lock()
	list := slices.Collect(maps.Values(l.machines))
	l.mu.Unlock()
	slices.SortFunc(list, func(a, b *machine) int { return strings.Compare(a.name, b.name) })
	return list
}

// Nodes describes every machine, sorted by name.
func (l *Lab) Nodes() []NodeState {
	list := l.all()
	states := make([]NodeState, 0, len(list))
	for _, m := range list {
		states = append(states, m.state())
	}
	return states
}

// Node describes one machine.
func (l *Lab) Node(name string) (NodeState, error) {
	m, err := l.machine(name)
	if err != nil {
		return NodeState{}, err
	}
	return m.state(), nil
}

func (m *machine) state() NodeState {
	s := NodeState{
		Name: m.name, Kind: m.kind, Site: m.site, ID: m.id, Power: "off", HostKey: m.knownKey(), Boot: m.is(),
		Console: m.node.Console(),
		IPv4:    written(m.addresses.IPv4), IPv6: written(m.addresses.IPv6),
	}
	pid, err := m.node.PID()
	if err != nil {
		return s
	}
	s.Power, s.PID = "on", pid
	if m.node.Frozen() {
		s.Power = "frozen"
	}
	if u, err := m.node.Usage(); err == nil {
		s.MemoryBytes, s.CPU = u.MemoryBytes, u.CPU
	}
	return s
}

// written is an address as text, "" for none.
func written(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// Command prepares a command that runs as root inside a machine.
func (l *Lab) Command(ctx context.Context, name string, argv ...string) (*exec.Cmd, error) {
	m, err := l.machine(name)
	if err != nil {
		return nil, err
	}
	if m.container != nil {
		return m.container.Command(ctx, argv...)
	}
	if !m.node.On() {
		return nil, fmt.Errorf("%s: %w", name, nodes.ErrOff)
	}
	if err := l.learn(ctx, m); err != nil {
		return nil, err
	}
	return entryCommand(ctx, l.net.Router(), l.entry.config(), name, argv...), nil
}

// Exec runs a command as root inside a machine and returns its standard output. What it says on standard error is in the
// error.
func (l *Lab) Exec(ctx context.Context, name string, argv ...string) ([]byte, error) {
	cmd, err := l.Command(ctx, name, argv...)
	if err != nil {
		return nil, err
	}
	return output(cmd, name)
}

func output(cmd *exec.Cmd, where string) ([]byte, error) {
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("on %s: %w: %s", where, err, strings.TrimSpace(complaint.String()))
	}
	return out, nil
}
