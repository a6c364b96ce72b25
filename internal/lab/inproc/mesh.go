package inproc

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// driver is a mesh of which only the keys and the peers exist.
type driver struct {
	machine *Machine

	mu   sync.Mutex
	view *topology.View
}

func (m *Machine) newDriver(host.System, *slog.Logger) mesh.Driver { return &driver{machine: m} }

func (d *driver) keyFile() string { return filepath.Join(d.machine.Root, "mesh-key") }

// EnsureKey implements mesh.Driver.
func (d *driver) EnsureKey(context.Context) (string, error) {
	if key, err := os.ReadFile(d.keyFile()); err == nil {
		return string(key), nil
	}
	key := rand.Text()
	return key, os.WriteFile(d.keyFile(), []byte(key), 0o600)
}

// Apply implements mesh.Driver.
func (d *driver) Apply(_ context.Context, v *topology.View) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.view = v
	if v == nil {
		d.machine.setMeshAddress(netip.Addr{})
		return os.RemoveAll(d.keyFile())
	}
	d.machine.setMeshAddress(v.Self.MeshAddress)
	return nil
}

// Status implements mesh.Driver.
func (d *driver) Status(context.Context) (mesh.Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := mesh.Status{Running: d.view != nil, Interface: "lo", Peers: map[string]mesh.PeerStatus{}}
	if d.view == nil {
		return s, nil
	}
	for _, p := range d.view.Peers {
		up := d.machine.all.at(p.MeshAddress)
		s.Peers[p.Name] = mesh.PeerStatus{Reachable: up, Direct: up}
	}
	return s, nil
}

// prober finds a peer reachable while its agent runs.
type prober struct {
	all *Machines

	mu      sync.Mutex
	targets map[string]netip.Addr
}

// SetPeers implements agent.Prober.
func (p *prober) SetPeers(targets map[string]netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.targets = targets
}

// Measurements implements agent.Prober.
func (p *prober) Measurements() map[string]mesh.PeerMeasurement {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]mesh.PeerMeasurement{}
	for name, a := range p.targets {
		m := mesh.PeerMeasurement{Reachable: p.all.at(a)}
		if m.Reachable {
			m.RTT = time.Millisecond / 2
		}
		out[name] = m
	}
	return out
}

// Close implements agent.Prober.
func (p *prober) Close() error { return nil }
