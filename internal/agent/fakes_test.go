package agent_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// fakeMesh is a mesh driver without a mesh.
type fakeMesh struct {
	w *world
	m *machine

	mu  sync.Mutex
	key string
	// used is the key of the last Apply, next one that was prepared. Used is guarded by the world.
	used, next string
	view       *topology.View
	fails      error
	// gate makes the next Apply wait: it takes one value from it, and then waits for the close.
	gate chan struct{}
	// away are the peers whose links are left alone.
	away []string
	// cut tells that nobody is reached, known is the view of the last Apply. They are guarded by the world, as all below.
	cut bool
	// changing tells that a key is prepared.
	changing bool
	known    *topology.View
}

func (f *fakeMesh) EnsureKey(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.key == "" {
		f.key = fmt.Sprintf("key-of-%s-%d", f.m.name, rand.Uint32())
	}
	return f.key, nil
}

// hold makes the next Apply wait, and returns what waits for that and what lets it go on.
func (f *fakeMesh) hold() (held func(), free func()) {
	gate := make(chan struct{})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gate = gate
	return func() { gate <- struct{}{} }, func() { close(gate) }
}

func (f *fakeMesh) Apply(ctx context.Context, v *topology.View) error {
	f.mu.Lock()
	gate := f.gate
	f.gate = nil
	f.mu.Unlock()
	if gate != nil {
		<-gate // somebody knows
		select {
		case <-gate:
		case <-ctx.Done():
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails != nil {
		return f.fails
	}
	f.view = v
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.used, f.known = f.key, v
	if v == nil {
		f.key = ""
		delete(f.w.joined, f.m.name)
		return nil
	}
	f.w.joined[f.m.name] = f
	return nil
}

// accepts tells whether a peer is let in under a key. The world is locked.
func (f *fakeMesh) accepts(name, key string) bool {
	p, _ := f.known.Peer(name)
	return p.MeshKey == key || p.OtherKey != nil && p.OtherKey.Public == key
}

// Keys implements mesh.Rotator.
func (f *fakeMesh) Keys(context.Context) (current, prepared string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.key == "" {
		return "", "", fs.ErrNotExist
	}
	return f.key, f.next, nil
}

// PrepareKey implements mesh.Rotator.
func (f *fakeMesh) PrepareKey(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	for name, other := range f.w.joined {
		if other != f && other.changing {
			f.w.t.Errorf("%s changes its key while %s does", f.m.name, name)
		}
	}
	f.changing = true
	if f.next == "" {
		f.next = fmt.Sprintf("key-of-%s-%d", f.m.name, rand.Uint32())
	}
	return f.next, nil
}

// SwitchKey implements mesh.Rotator.
func (f *fakeMesh) SwitchKey(_ context.Context, prepared string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.key != prepared && f.next != prepared {
		return errors.New("another key is prepared")
	}
	f.key, f.next = prepared, ""
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.changing = false
	return nil
}

// leave is what becomes of a machine that is switched off.
func (f *fakeMesh) leave() {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	delete(f.w.joined, f.m.name)
}

// cutOff takes a machine's way to the others, or gives it back.
func (f *fakeMesh) cutOff(yes bool) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.cut = yes
}

func (f *fakeMesh) Status(context.Context) (mesh.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := mesh.Status{Running: f.view != nil, Interface: "fake0", Peers: map[string]mesh.PeerStatus{}}
	if f.view != nil {
		for _, p := range f.view.Peers {
			s.Peers[p.Name] = mesh.PeerStatus{Reachable: true, Direct: true}
		}
	}
	return s, nil
}

func (f *fakeMesh) state() (key string, view *topology.View) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.key, f.view
}

// fakeProber finds a peer reachable while both are in the mesh and the mesh is up.
type fakeProber struct {
	w    *world
	self string

	mu    sync.Mutex
	peers map[string]netip.Addr
}

func (p *fakeProber) SetPeers(peers map[string]netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peers = peers
}

func (p *fakeProber) Measurements() map[string]mesh.PeerMeasurement {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	out := map[string]mesh.PeerMeasurement{}
	for name := range p.peers {
		self, other := p.w.joined[p.self], p.w.joined[name]
		up := !p.w.down && self != nil && other != nil && !self.cut && !other.cut && self.accepts(name, other.used) && other.accepts(p.self, self.used)
		out[name] = mesh.PeerMeasurement{Reachable: up, RTT: time.Millisecond}
	}
	return out
}

func (*fakeProber) Close() error { return nil }
