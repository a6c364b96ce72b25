// Package inproc runs real agents in this process, each at an address of the loopback network, as the machines of an
// emulated cloud or as machines that are adopted over SSH. Only what would need a machine of its own is replaced: the host
// is a fake, and a mesh path is up while both its agents run.
package inproc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/edge/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/place"
	"github.com/atollhq/terraform-provider-atoll/internal/router"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Machines are machines whose agents run in this process. Set the fields before the first call; the methods may be called
// from several goroutines.
type Machines struct {
	// Dir is where the machines keep their files. It must exist.
	Dir string
	// Network is the second byte of every address: 127.Network.0.0/16 are the machines, and the mesh is mapped to
	// 127.(Network+1).0.0/16.
	Network byte
	// Log may be nil.
	Log *slog.Logger

	mu   sync.Mutex
	last int
	byID map[int]*Machine
	all  []*Machine

	engine engine
	trees  trees
}

var _ linode.Machines = (*Machines)(nil)

// Machine is one machine.
type Machine struct {
	all     *Machines
	Address netip.Addr
	// Root is the machine's root directory.
	Root string
	// firewall is that of the node image, nil on a machine that is adopted.
	firewall *firewall
	// filter is the node's own.
	filter filter

	power  sync.Mutex
	cancel context.CancelFunc
	done   chan error

	mu   sync.Mutex
	mesh netip.Addr // the agent's mesh address, while it runs

	server *server     // guarded by the engine
	files  *treeDriver // guarded by the trees
	// places are the facts of the machine's directories, where they are not those of an empty disk; guarded by the trees.
	places map[string]place.Facts
}

// New returns a new machine that is off.
func (m *Machines) New() (*Machine, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	one := &Machine{
		all: m, Address: netip.AddrFrom4([4]byte{127, m.Network, byte(m.last >> 8), byte(m.last)}),
		Root: filepath.Join(m.Dir, fmt.Sprintf("machine-%d", m.last)),
	}
	if err := os.MkdirAll(filepath.Join(one.Root, "etc", "atoll"), 0o755); err != nil {
		return nil, err
	}
	// Without this the machine would be asked for its vendor, which is that of the machine the tests run on.
	if err := os.WriteFile(filepath.Join(one.Root, "etc", "atoll", "platform"), []byte("none\n"), 0o600); err != nil {
		return nil, err
	}
	m.all = append(m.all, one)
	return one, nil
}

// Create implements linode.Machines.
func (m *Machines) Create(_ context.Context, want linode.Machine) (linode.Addresses, error) {
	one, err := m.New()
	if err != nil {
		return linode.Addresses{}, err
	}
	one.firewall = newFirewall()
	if len(want.UserData) > 0 {
		if err := os.WriteFile(filepath.Join(one.Root, platform.FirstBootFile), want.UserData, 0o600); err != nil {
			return linode.Addresses{}, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byID == nil {
		m.byID = map[int]*Machine{}
	}
	m.byID[want.ID] = one
	return linode.Addresses{IPv4: one.Address}, nil
}

// Boot implements linode.Machines.
func (m *Machines) Boot(_ context.Context, id int) error {
	one, err := m.machine(id)
	if err != nil {
		return err
	}
	one.Start()
	return nil
}

// Shutdown implements linode.Machines.
func (m *Machines) Shutdown(_ context.Context, id int) error {
	one, err := m.machine(id)
	if err != nil {
		return err
	}
	return one.Stop()
}

// Reboot implements linode.Machines.
func (m *Machines) Reboot(ctx context.Context, id int) error {
	return errors.Join(m.Shutdown(ctx, id), m.Boot(ctx, id))
}

// Delete implements linode.Machines.
func (m *Machines) Delete(_ context.Context, id int) error {
	one, err := m.machine(id)
	if err != nil {
		return nil //nolint:nilerr // gone already, which is what is wanted
	}
	m.mu.Lock()
	delete(m.byID, id)
	m.mu.Unlock()
	return one.Stop()
}

func (m *Machines) machine(id int) (*Machine, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	one := m.byID[id]
	if one == nil {
		return nil, fmt.Errorf("there is no machine %d", id)
	}
	return one, nil
}

// Close stops every agent.
func (m *Machines) Close() error {
	m.mu.Lock()
	all := append([]*Machine{}, m.all...)
	m.mu.Unlock()
	var errs []error
	for _, one := range all {
		errs = append(errs, one.Stop())
	}
	return errors.Join(errs...)
}

// at tells whether the agent with a mesh address runs.
func (m *Machines) at(meshAddress netip.Addr) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.all {
		if one.meshAddress() == meshAddress {
			return true
		}
	}
	return false
}

// Start switches the machine on: its agent runs.
//
//nolint:contextcheck // a machine outlives who switches it on
func (m *Machine) Start() {
	m.power.Lock()
	defer m.power.Unlock()
	if m.cancel != nil {
		return
	}
	log := m.all.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cfg := agent.Config{
		StateDir:     m.StateDir(),
		Machine:      platform.Machine{Root: m.Root},
		Listen:       m.Address.String(),
		System:       m.system(),
		Drivers:      map[spec.MeshDriver]mesh.New{spec.MeshTinc: m.newDriver},
		Edge:         cloudflare.Open,
		Proxies:      map[spec.ProxyDriver]balancer.New{spec.ProxyHAProxy: newProxy},
		Databases:    map[spec.DatabaseEngine]database.New{spec.DatabaseMySQL: m.newDatabase},
		Routers:      map[spec.RouterDriver]router.New{spec.RouterMySQL: m.newRouter, spec.RouterHAProxy: m.newRouter},
		Replications: map[spec.ReplicationDriver]replication.New{spec.ReplicationUnison: m.newReplication}, Look: m.look,
		// A member of these machines is back at once, or not at all.
		RolloutPatience: 3 * time.Second,
		NewProber: func(*slog.Logger) (agent.Prober, error) {
			return &prober{all: m.all}, nil
		},
		MeshBind: func(a netip.Addr) netip.Addr {
			b := a.As4()
			return netip.AddrFrom4([4]byte{127, m.all.Network + 1, b[2], b[3]})
		},
		Console: func(string) {},
		Version: "inproc",
		Log:     log.With("machine", m.Address.String()),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := run(ctx, cfg)
		if err != nil {
			log.Error("the agent has ended", "machine", m.Address.String(), "error", err)
		}
		done <- err
	}()
	m.cancel, m.done = cancel, done
}

// run runs the agent. A store that another process has open and a port that another process has are tried again, as systemd
// would: a program that this process starts at the same time has every open file, and with it the lock of the store and the
// listeners of the agent that has just been stopped, from its fork to its exec.
func run(ctx context.Context, cfg agent.Config) error {
	for n := 1; ; n++ {
		err := agent.New(cfg).Run(ctx)
		taken := errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EADDRINUSE)
		if n == 100 || !taken {
			return err
		}
		cfg.Log.Info("the agent begins again", "error", err)
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil
		}
	}
}

// system is a machine of which nothing but its firewalls is looked at.
func (m *Machine) system() host.System {
	h := hosttest.New()
	h.Handle("nft", func(c host.Command) (host.Output, error) {
		if out, mine, err := m.filter.run(c); mine {
			return out, err
		}
		return m.firewall.run(c)
	})
	return h
}

// Stop switches the machine off. Its files stay.
func (m *Machine) Stop() error {
	m.power.Lock()
	defer m.power.Unlock()
	if m.cancel == nil {
		return nil
	}
	m.cancel()
	m.powerOff()
	m.stopFiles()
	err := <-m.done
	m.cancel, m.done = nil, nil
	m.setMeshAddress(netip.Addr{})
	return err
}

// StateDir is where the machine's agent keeps its state.
func (m *Machine) StateDir() string { return filepath.Join(m.Root, "var", "lib", "atoll") }

func (m *Machine) meshAddress() netip.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mesh
}

func (m *Machine) setMeshAddress(a netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mesh = a
}
