// Package wireguard is the mesh driver over WireGuard.
//
// The interface belongs to a program of its own (package tunnel, the subcommand "atolld wireguard") that runs as a systemd
// unit, so the mesh lives on, and goes round dead links, when the agent does not run. It is the kernel's WireGuard where
// there is one, else wireguard-go in that process. Every node has every other as a peer: a cluster has few of them, and
// WireGuard is silent where nothing is sent but the hellos of package linkstate.
package wireguard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/wireguard/tunnel"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// Driver implements mesh.Driver.
type Driver struct {
	sys     host.System
	log     *slog.Logger
	program string
	settle  time.Duration

	mu       sync.Mutex
	view     *topology.View
	resolver *mesh.Resolver
	// paths are what the paths to peers take, in bytes; nil before it was looked what the tunnel knows of that.
	paths map[string]int
}

var (
	_ mesh.Driver   = (*Driver)(nil)
	_ mesh.Fitter   = (*Driver)(nil)
	_ mesh.Rotator  = (*Driver)(nil)
	_ host.Packager = (*Driver)(nil)
)

// Options are the parts of a driver that a test replaces; the zero value is production.
type Options struct {
	// Program is the command whose subcommand "wireguard" runs the tunnel, this program's own file if empty.
	Program string
	// Settle is how long the tunnel may take to start or to obey, 10 s if zero.
	Settle time.Duration
	// Lookup resolves a host name, by the system's resolver if nil.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// New returns a driver for sys.
func New(sys host.System, log *slog.Logger) mesh.Driver { return NewWith(sys, log, Options{}) }

// NewWith returns a driver for sys with options.
func NewWith(sys host.System, log *slog.Logger, o Options) *Driver {
	d := &Driver{sys: sys, log: log, program: o.Program, settle: o.Settle, resolver: mesh.NewResolver(o.Lookup)}
	if d.settle == 0 {
		d.settle = 10 * time.Second
	}
	return d
}

// Packages implements host.Packager. WireGuard itself is the kernel's or in this program.
func (*Driver) Packages() []host.Package {
	return []host.Package{
		{Name: "iproute2", Binary: "ip"},
		{Name: "nftables", Binary: "nft"},
		{Name: "iputils-ping", Binary: "ping"},
	}
}

// Run is the program that the driver's unit starts. It finds its files where the driver has put them, and runs until ctx
// ends. Ready is called when the interface is up, alive once a second from then on.
func Run(ctx context.Context, ready, alive func(), log *slog.Logger) error {
	return tunnel.Run(ctx, tunnel.Options{ConfigPath: configPath, KeyPath: keyPath, StatePath: statePath, Ready: ready, Alive: alive, Log: log})
}

// Apply implements mesh.Driver.
func (d *Driver) Apply(ctx context.Context, v *topology.View) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v == nil {
		d.view, d.paths = nil, nil
		return d.remove(ctx)
	}
	public, err := d.publicKey()
	if err != nil {
		return fmt.Errorf("apply the mesh: %w", err)
	}
	// What is wrong with one peer must not keep the others from their links, so problems are collected and all else is done.
	lookups := d.resolver.Update(ctx, v)
	d.forget(v)
	c, problems := newConfig(v, public, d.resolver.Addresses, d.paths)
	d.view = v
	err = d.apply(ctx, c)
	if err == nil && v.Self.MeshKey != "" && v.Self.MeshKey != public {
		err = fmt.Errorf("the cluster knows another mesh key of node %q than the one in %s; its peers will refuse it until it joins again", v.Self.Name, keyPath)
	}
	if err = errors.Join(err, problems, lookups); err != nil {
		return fmt.Errorf("apply the mesh: %w", err)
	}
	return nil
}

// apply makes the node as c says. It returns when the tunnel has taken over c, so that whoever is not in it is shut out.
func (d *Driver) apply(ctx context.Context, c tunnel.Config) error {
	if err := d.applyFilter(ctx); err != nil {
		return err
	}
	text, err := c.Encode()
	if err != nil {
		return err
	}
	if _, err := d.sys.WriteFile(configPath, text, 0o600); err != nil {
		return err
	}
	program := d.program
	if program == "" {
		if program, err = os.Executable(); err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
	}
	if _, err := d.sys.Units().Ensure(ctx, serviceUnit(program)); err != nil {
		return err
	}
	if host.Recording(d.sys) {
		return nil
	}
	// The unit's start takes an old state away, so any state is that of the program that runs now, which takes signals.
	state, err := d.awaitState(ctx, "start", func(tunnel.State) bool { return true })
	if err != nil {
		return err
	}
	dev, err := host.LookAtNetDevice(ctx, d.sys, interfaceName)
	if err != nil {
		return err
	}
	if want := tunnel.Digest(text); state.Read != want || state.Problem != "" || !dev.Up || !slices.Contains(dev.Addresses, c.Address) {
		before := state.Repairs
		if err := d.sys.Units().Signal(ctx, unitName, "HUP"); err != nil {
			return err
		}
		state, err = d.awaitState(ctx, "take its configuration over", func(s tunnel.State) bool { return s.Read == want && s.Repairs > before })
		if err != nil {
			return err
		}
	}
	if state.Problem != "" {
		return fmt.Errorf("the tunnel refuses its configuration: %s", state.Problem)
	}
	return nil
}

// awaitState waits until the tunnel's state is as done wants it, for at most d.settle.
func (d *Driver) awaitState(ctx context.Context, what string, done func(tunnel.State) bool) (tunnel.State, error) {
	ctx, cancel := context.WithTimeout(ctx, d.settle)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		state, ok, err := d.readState()
		if ok && done(state) {
			return state, nil
		}
		select {
		case <-ctx.Done():
			return state, errors.Join(fmt.Errorf("wait for the tunnel to %s: %w; see journalctl -u %s", what, ctx.Err(), unitName), err)
		case <-tick.C:
		}
	}
}

// readState returns what the tunnel says of itself, and whether it says anything.
func (d *Driver) readState() (tunnel.State, bool, error) {
	text, err := d.sys.ReadFile(statePath)
	if errors.Is(err, fs.ErrNotExist) {
		return tunnel.State{}, false, nil
	}
	if err != nil {
		return tunnel.State{}, false, err
	}
	s, err := tunnel.ParseState(text)
	return s, err == nil, err
}

// applyFilter loads the table where it is not. The file is for the unit, so that it is there before the interface is.
func (d *Driver) applyFilter(ctx context.Context) error {
	if _, err := d.sys.WriteFile(filterPath, []byte(filterRules()), 0o644); err != nil {
		return err
	}
	out, err := d.listTable(ctx)
	if err != nil || strings.Contains(out, filterMark()) {
		return err
	}
	return d.run(ctx, host.Command{Name: "nft", Args: []string{"-f", filterPath}})
}

// listTable returns the driver's table as text, "" when there is none.
func (d *Driver) listTable(ctx context.Context) (string, error) {
	out, err := d.sys.Run(ctx, host.Command{Name: "nft", Args: []string{"list", "tables", "inet"}, ReadOnly: true})
	if err != nil {
		return "", err
	}
	if !slices.Contains(strings.Fields(string(out.Stdout)), tableName) {
		return "", nil
	}
	out, err = d.sys.Run(ctx, host.Command{Name: "nft", Args: []string{"list", "table", "inet", tableName}, ReadOnly: true})
	return string(out.Stdout), err
}

// remove takes away everything that Apply and EnsureKey made.
func (d *Driver) remove(ctx context.Context) error {
	var problems []error
	// Without a unit of this driver's, an interface and a table by these names are another driver's.
	unit, err := d.sys.Units().Status(ctx, unitName)
	if err != nil {
		problems = append(problems, err)
	}
	if unit.Exists {
		problems = append(problems, d.removeRunning(ctx))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("remove the mesh: %w", err)
	}
	for _, path := range []string{configDir, runDir} {
		if _, err := d.sys.Remove(path); err != nil {
			problems = append(problems, err)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("remove the mesh: %w", err)
	}
	return nil
}

// removeRunning takes away the interface, the table and, last, the unit, which says that they are this driver's.
func (d *Driver) removeRunning(ctx context.Context) error {
	if err := d.sys.Units().Stop(ctx, unitName); err != nil {
		return err
	}
	text, err := d.listTable(ctx)
	if err != nil {
		return err
	}
	if text != "" {
		if err := d.run(ctx, host.Command{Name: "nft", Args: []string{"delete", "table", "inet", tableName}}); err != nil {
			return err
		}
	}
	// The kernel's interface outlives the program; that of wireguard-go is gone already.
	dev, err := host.LookAtNetDevice(ctx, d.sys, interfaceName)
	if err != nil {
		return err
	}
	if dev.Exists && !host.Recording(d.sys) {
		if err := d.run(ctx, host.Command{Name: "ip", Args: []string{"link", "delete", "dev", interfaceName}}); err != nil {
			return err
		}
	}
	if _, err := d.sys.Remove(socketPath); err != nil {
		return err
	}
	_, err = d.sys.Units().Remove(ctx, unitName)
	return err
}

func (d *Driver) run(ctx context.Context, c host.Command) error {
	_, err := d.sys.Run(ctx, c)
	return err
}

// Status implements mesh.Driver.
func (d *Driver) Status(ctx context.Context) (mesh.Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := mesh.Status{Interface: interfaceName, Peers: map[string]mesh.PeerStatus{}}
	if d.view != nil {
		for _, p := range d.view.Peers {
			st.Peers[p.Name] = mesh.PeerStatus{}
		}
	}
	unit, err := d.sys.Units().Status(ctx, unitName)
	if err != nil {
		return st, fmt.Errorf("look at the mesh: %w", err)
	}
	dev, err := host.LookAtNetDevice(ctx, d.sys, interfaceName)
	if err != nil {
		return st, fmt.Errorf("look at the mesh: %w", err)
	}
	state, there, err := d.readState()
	if err != nil {
		return st, fmt.Errorf("look at the mesh: %w", err)
	}
	if st.Running = unit.Active && dev.Up && there; !st.Running {
		return st, nil
	}
	for name := range st.Peers {
		switch next := state.Routes[name]; next {
		case "":
		case name:
			st.Peers[name] = mesh.PeerStatus{Reachable: true, Direct: true}
		default:
			st.Peers[name] = mesh.PeerStatus{Reachable: true, NextHop: next}
		}
	}
	return st, nil
}
