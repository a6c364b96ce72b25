// Package tinc is the mesh driver over tinc 1.0.
//
// tincd runs as a systemd unit of its own, so the mesh lives on when the agent does not. Every node dials every peer that
// has an address: with the 3 to 20 nodes that a cluster has, a full mesh costs each node at most 19 connections and one
// ping a second on each. Beyond some fifty nodes the edges (n²) that every tincd keeps and spreads would need a sparser
// graph.
package tinc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// Driver implements mesh.Driver.
type Driver struct {
	sys     host.System
	log     *slog.Logger
	keyBits int
	settle  time.Duration

	mu sync.Mutex
	// view is the last one applied, nil before the first.
	view     *topology.View
	resolver *mesh.Resolver
	// connected and logRead are what followLog knows: the connections, and how much of the log it has read.
	connected connections
	logRead   int
	// ready is the process of the tincd that is known to take signals.
	ready int
	// detours keeps the last known next hop to each peer that has one.
	detours map[string]string
	// away are the peers whose direct links are left alone, sorted.
	away []string
}

var (
	_ mesh.Driver   = (*Driver)(nil)
	_ mesh.Steerer  = (*Driver)(nil)
	_ mesh.Rotator  = (*Driver)(nil)
	_ host.Packager = (*Driver)(nil)
)

// Options are the parts of a driver that a test replaces; the zero value is production.
type Options struct {
	// KeyBits is the length of new keys, 3072 if zero, which is as strong as the AES-128 that guards most of the Internet
	// and takes a small machine a second to make.
	KeyBits int
	// Settle is how long tincd may take to start or to obey a signal, 10 s if zero.
	Settle time.Duration
	// Lookup resolves a host name, by the system's resolver if nil.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// New returns a driver for sys.
func New(sys host.System, log *slog.Logger) mesh.Driver { return NewWith(sys, log, Options{}) }

// NewWith returns a driver for sys with options.
func NewWith(sys host.System, log *slog.Logger, o Options) *Driver {
	d := &Driver{
		sys: sys, log: log, keyBits: o.KeyBits, settle: o.Settle, resolver: mesh.NewResolver(o.Lookup),
		connected: connections{}, detours: map[string]string{},
	}
	if d.keyBits == 0 {
		d.keyBits = 3072
	}
	if d.settle == 0 {
		d.settle = 10 * time.Second
	}
	return d
}

// Packages implements host.Packager.
func (*Driver) Packages() []host.Package {
	return []host.Package{
		{Name: "tinc", Binary: "tincd"},
		{Name: "iproute2", Binary: "ip"},
		{Name: "nftables", Binary: "nft"},
		{Name: "iputils-ping", Binary: "ping"},
	}
}

// Apply implements mesh.Driver.
func (d *Driver) Apply(ctx context.Context, v *topology.View) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v == nil {
		d.view, d.logRead, d.away = nil, 0, nil
		clear(d.connected)
		return d.remove(ctx)
	}
	public, err := d.publicKey()
	if err != nil {
		return fmt.Errorf("apply the mesh: %w", err)
	}
	// What is wrong with one peer must not keep the others from their links, so problems are collected and all else is done.
	lookups := d.resolver.Update(ctx, v)
	c, problems := newConfig(v, public, d.resolver.Addresses)
	d.view = v
	// Who comes later under the name of one that has gone is another node.
	d.away = slices.DeleteFunc(slices.Clone(d.away), func(name string) bool {
		_, known := v.Peer(name)
		return !known
	})
	err = d.apply(ctx, v, c)
	if err == nil && v.Self.MeshKey != "" && v.Self.MeshKey != public {
		err = fmt.Errorf("the cluster knows another mesh key of node %q than the one in %s; its peers will refuse it until it joins again", v.Self.Name, keyPath)
	}
	if err = errors.Join(err, problems, lookups); err != nil {
		return fmt.Errorf("apply the mesh: %w", err)
	}
	return nil
}

// remove takes away everything that Apply and EnsureKey made.
func (d *Driver) remove(ctx context.Context) error {
	var problems []error
	if _, err := d.sys.Units().Remove(ctx, unitName); err != nil {
		problems = append(problems, err)
	}
	for _, path := range []string{configDir, runDir} {
		if _, err := d.sys.Remove(path); err != nil {
			problems = append(problems, err)
		}
	}
	if mark, err := d.filterMark(ctx); err != nil {
		problems = append(problems, err)
	} else if mark != nil {
		problems = append(problems, d.run(ctx, host.Command{Name: "nft", Args: []string{"delete", "table", "inet", tableName}}))
	}
	// The interface goes with tincd; only one that somebody made by hand stays.
	state, err := d.device(ctx)
	switch {
	case err != nil:
		problems = append(problems, err)
	case state.Exists && !host.Recording(d.sys):
		problems = append(problems, d.run(ctx, host.Command{Name: "ip", Args: []string{"link", "delete", "dev", interfaceName}}))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("remove the mesh: %w", err)
	}
	return nil
}

func (d *Driver) run(ctx context.Context, c host.Command) error {
	_, err := d.sys.Run(ctx, c)
	return err
}

// filterMark returns the mark of the driver's table in the kernel, nil when there is no such table.
func (d *Driver) filterMark(ctx context.Context) (*string, error) {
	out, err := d.sys.Run(ctx, host.Command{Name: "nft", Args: []string{"list", "tables", "inet"}, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	if !slices.Contains(strings.Fields(string(out.Stdout)), tableName) {
		return nil, nil
	}
	out, err = d.sys.Run(ctx, host.Command{Name: "nft", Args: []string{"list", "table", "inet", tableName}, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	mark := markOf(string(out.Stdout))
	return &mark, nil
}
