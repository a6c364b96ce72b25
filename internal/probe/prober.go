package probe

import (
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Options say who probes.
type Options struct {
	// Cluster and Node name this node.
	Cluster, Node string
	// Port is the mesh's UDP port, the same on all nodes.
	Port int
}

// Peer is another node.
type Peer struct {
	// Key is what only this node and the peer have.
	Key [trust.PairKeySize]byte
	// Mesh is the peer's mesh address, Public its public ones, best first; none for a peer that cannot be reached.
	Mesh   netip.Addr
	Public []netip.Addr
}

// Measurement is how one path to a peer is.
type Measurement struct {
	// Address is where packets go to; the zero address for a path that there is not.
	Address netip.Addr
	// In is the direction from the peer to this node, Out the other.
	In, Out Direction
	// RTT is a round trip, a moving average; 0 while it is not known.
	RTT time.Duration
	// SendError is why the last packet could not even be sent, "" when it was.
	SendError string
}

// Link is all that is known of the paths to a peer.
type Link struct {
	Public, Mesh Measurement
}

// Prober measures. Its methods are safe for concurrent use.
type Prober struct {
	options Options
	log     *slog.Logger
	sockets *sockets
	id      nodeID
	start   time.Time
	run     uint64

	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	peers map[string]*peer
	byID  map[nodeID]*peer
	// attention is for public paths.
	attention attention
}

type peer struct {
	Peer
	id    nodeID
	paths [2]*way
}

// way is one path to one peer.
type way struct {
	*track
	pace pace
	// address is which of the public addresses is in use, tried since when.
	address int
	tried   time.Time
	failure string
}

// patienceOfAddress is how long one of several public addresses may be without an answer until the next one is tried.
const patienceOfAddress = 15 * time.Second

// step is how often it is looked what is due.
const step = 20 * time.Millisecond

// Open opens the sockets in the network namespace of the calling thread and begins. Close ends it.
func Open(o Options, log *slog.Logger) (*Prober, error) {
	s, err := openSockets(o.Port)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	p := &Prober{
		options: o, log: log, sockets: s, id: newNodeID(o.Cluster, o.Node), start: start, run: uint64(max(start.UnixMicro(), 1)), //nolint:gosec // positive
		stop: make(chan struct{}), peers: map[string]*peer{}, byID: map[nodeID]*peer{},
	}
	p.done.Go(p.send)
	p.done.Go(func() { p.receive(s.in4, 20) })
	if s.in6 != nil {
		p.done.Go(func() { p.receive(s.in6, 40) })
	}
	return p, nil
}

// Close ends everything and returns when it has ended.
func (p *Prober) Close() error {
	close(p.stop)
	err := p.sockets.close()
	p.done.Wait()
	return err
}

// SetPeers makes peers (by the names of their nodes) those that are measured. One that stays keeps what is known of it, unless its key
// is another one.
func (p *Prober) SetPeers(peers map[string]Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(p.peers, func(name string, old *peer) bool {
		if now, still := peers[name]; still && now.Key == old.Key {
			return false
		}
		delete(p.byID, old.id)
		return true
	})
	for name, want := range peers {
		have := p.peers[name]
		if have == nil {
			have = &peer{id: newNodeID(p.options.Cluster, name)}
			for _, path := range Paths() {
				// Anywhere in the first interval, so that not all leave at once.
				have.paths[path] = &way{track: newTrack(now), pace: pace{next: now.Add(rand.N(oftenPublic))}, tried: now}
				have.paths[path].taken.next = now.Add(rand.N(5 * time.Second))
			}
			p.peers[name], p.byID[have.id] = have, have
		}
		if !slices.Equal(have.Public, want.Public) {
			have.paths[Public].address = 0
		}
		have.Peer = want
	}
}

// Links returns what is known, by the names of peers.
func (p *Prober) Links() map[string]Link {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, memory := time.Now(), sizesMemory(len(p.peers))
	out := make(map[string]Link, len(p.peers))
	for name, peer := range p.peers {
		one := func(path Path) Measurement {
			w := peer.paths[path]
			w.tick(now)
			m := Measurement{Address: peer.addressOf(path), In: w.in.Direction, Out: w.out.Direction, RTT: w.rtt, SendError: w.failure}
			m.In.MTU, m.Out.MTU = w.sizes.most(memory), w.taken.most
			return m
		}
		out[name] = Link{Public: one(Public), Mesh: one(Mesh)}
	}
	return out
}

func (p *peer) addressOf(path Path) netip.Addr {
	switch {
	case path == Mesh:
		return p.Mesh
	case len(p.Public) == 0:
		return netip.Addr{}
	}
	return p.Public[p.paths[Public].address%len(p.Public)]
}

// send sends what is due until the prober is closed.
func (p *Prober) send() {
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case now := <-tick.C:
			p.mu.Lock()
			for _, peer := range p.peers {
				for _, path := range Paths() {
					p.sendDue(peer, path, now)
				}
			}
			p.mu.Unlock()
		}
	}
}

// sendDue sends what is due to a peer by a path. A datagram is written at once or not at all, so the lock is not held for long.
func (p *Prober) sendDue(to *peer, path Path, now time.Time) {
	w, interval := to.paths[path], Interval(path, len(p.peers))
	w.tick(now)
	closer := &p.attention
	if path == Mesh {
		closer = nil
	}
	if !w.pace.due(closer, w.in.Direction, w.out.Direction, interval, now) {
		return
	}
	address := to.addressOf(path)
	if !address.IsValid() {
		return
	}
	if path == Public {
		w.rotate(len(to.Public), now)
	}
	template := packet{path: path, from: p.id, to: to.id, run: p.run, interval: interval, sent: uint64(now.Sub(p.start).Microseconds())} //nolint:gosec // time goes on
	target := netip.AddrPortFrom(address, uint16(p.options.Port))                                                                        //nolint:gosec // a port has 16 bits
	memory := sizesMemory(len(p.peers))
	err := p.sockets.send(target, w.next(template, now, memory), to.Key[:], 0)
	if w.failure = ""; err != nil {
		w.failure = reason(err)
	}
	if err != nil || !w.taken.due(now, sizesEvery(len(p.peers))) {
		return
	}
	large := w.describe(template, now, memory)
	large.large = true
	for _, size := range sizes() {
		// One that the own interface does not take is none that arrives.
		_ = p.sockets.send(target, large, to.Key[:], size)
	}
}

// reason is what the kernel says without whom it says it of.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

// rotate goes on to the next public address when there is no word from this one.
func (w *way) rotate(addresses int, now time.Time) {
	if addresses < 2 || (w.out.Known && !w.out.Silent) {
		w.tried = now
		return
	}
	if now.Sub(w.tried) >= patienceOfAddress {
		w.address, w.tried = (w.address+1)%addresses, now
	}
}

// receive takes packets until the socket is closed.
func (p *Prober) receive(in *net.IPConn, header int) {
	buffer := make([]byte, 2048)
	for {
		n, _, err := in.ReadFromIP(buffer)
		now := time.Now()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			p.log.Debug("socket for probes", "error", err)
			select {
			case <-p.stop:
				return
			case <-time.After(time.Second): // an error that stays must not spin
			}
			continue
		}
		if n > udpHeader {
			p.take(buffer[udpHeader:n], n+header, now)
		}
	}
}

func (p *Prober) take(b []byte, size int, now time.Time) {
	from, to, ok := ends(b)
	if !ok || to != p.id {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	peer := p.byID[from]
	if peer == nil {
		return
	}
	if packet, ok := unseal(peer.Key[:], b); ok {
		peer.paths[packet.path].take(packet, size, p.run, p.start, now)
	}
}
