package mesh

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// PeerMeasurement is how one peer answers over the mesh.
type PeerMeasurement struct {
	// Reachable is true from the first answer until DeadAfter probes in a row went unanswered.
	Reachable bool
	// Since is when Reachable last changed, or when probing began.
	Since time.Time
	// RTT is the round-trip time, a moving average; 0 before the first answer.
	RTT time.Duration
	// Loss is the share of unanswered probes since the peer last became reachable or unreachable, a moving average from 0
	// to 1. A peer that was away and is back has no loss for that: it was unreachable then.
	Loss float64
	// LastAnswer is when the last answer came; zero before the first.
	LastAnswer time.Time
	// Sent and Answered count probes whose fate is known.
	Sent, Answered uint64
}

// ProberOptions are a prober's settings; the zero value of each is its default.
type ProberOptions struct {
	// Interval is the time between two probes of one peer, 1 s by default. With a probe of 40 bytes, 20 nodes cause
	// 760 B/s on each.
	Interval time.Duration
	// Timeout is how long a probe waits for its answer, 1 s by default.
	Timeout time.Duration
	// DeadAfter is how many probes in a row must go unanswered until a peer is unreachable, 5 by default: longer than the
	// mesh takes to go round a dead link, which is not to be reported as a dead peer.
	DeadAfter int
}

// How much one probe moves an average: about the last 10 answers for the round-trip time, the last 30 probes for loss.
const (
	rttWeight  = 0.1
	lossWeight = 1.0 / 30
)

// Prober sends ICMP echoes to every peer, for as long as it is open. All peers share one raw socket and one goroutine each
// way, so peers may come and go at no cost; the libraries at hand keep a socket and growing tables for each target.
// It needs CAP_NET_RAW. Its methods are safe for concurrent use.
type Prober struct {
	options ProberOptions
	log     *slog.Logger
	conn    *icmp.PacketConn
	id      int

	stop chan struct{}
	// more wakes the sender when there are new peers.
	more chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	peers map[string]*probed
}

type probed struct {
	PeerMeasurement
	addr netip.Addr
	next time.Time
	// lost counts unanswered probes in a row.
	lost int
	// counted is how many probes the loss is the average of.
	counted uint64
	seq     uint16
	pending map[uint16]time.Time
}

// NewProber opens the socket in the network namespace of the calling thread and starts probing. Close ends it.
func NewProber(o ProberOptions, log *slog.Logger) (*Prober, error) {
	if o.Interval == 0 {
		o.Interval = time.Second
	}
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	if o.DeadAfter == 0 {
		o.DeadAfter = 5
	}
	conn, err := icmp.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return nil, fmt.Errorf("open a socket for probes: %w", err)
	}
	// The kernel keeps everybody else's ICMP from waking the receiver.
	var filter ipv4.ICMPFilter
	filter.SetAll(true)
	filter.Accept(ipv4.ICMPTypeEchoReply)
	if err := conn.IPv4PacketConn().SetICMPFilter(&filter); err != nil {
		return nil, errors.Join(fmt.Errorf("filter the socket for probes: %w", err), conn.Close())
	}
	p := &Prober{
		options: o, log: log, conn: conn, id: rand.IntN(1 << 16),
		stop: make(chan struct{}), more: make(chan struct{}, 1), peers: map[string]*probed{},
	}
	p.done.Add(2)
	go p.send()
	go p.receive()
	return p, nil
}

// Close ends probing and returns when both goroutines have ended.
func (p *Prober) Close() error {
	close(p.stop)
	err := p.conn.Close()
	p.done.Wait()
	return err
}

// SetPeers makes peers (name to mesh address) those that are probed. A peer that stays at its address keeps its averages.
func (p *Prober) SetPeers(peers map[string]netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for name, old := range p.peers {
		if peers[name] != old.addr {
			delete(p.peers, name)
		}
	}
	for name, addr := range peers {
		if p.peers[name] != nil {
			continue
		}
		p.peers[name] = &probed{
			PeerMeasurement: PeerMeasurement{Since: now},
			addr:            addr,
			// Anywhere in the first interval, so that not all probes leave at once.
			next:    now.Add(time.Duration(rand.Int64N(int64(p.options.Interval)/4 + 1))),
			pending: map[uint16]time.Time{},
		}
		select {
		case p.more <- struct{}{}:
		default:
		}
	}
}

// Measurements returns how each peer answers.
func (p *Prober) Measurements() map[string]PeerMeasurement {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string]PeerMeasurement, len(p.peers))
	for name, peer := range p.peers {
		out[name] = peer.PeerMeasurement
	}
	return out
}

// send sends the probes that are due and gives up those that are overdue, and sleeps in between.
func (p *Prober) send() {
	defer p.done.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-p.more:
		case <-timer.C:
		}
		probes, next := p.due(time.Now())
		for _, probe := range probes {
			p.sendOne(probe)
		}
		timer.Reset(time.Until(next))
	}
}

type probe struct {
	addr netip.Addr
	seq  uint16
}

// due gives up what is overdue and returns what is due, and when the next of either will be.
func (p *Prober) due(now time.Time) (out []probe, next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next = now.Add(p.options.Interval)
	sooner := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	for _, peer := range p.peers {
		for seq, sent := range peer.pending {
			if now.Sub(sent) >= p.options.Timeout {
				delete(peer.pending, seq)
				peer.unanswered(now, p.options.DeadAfter)
				continue
			}
			sooner(sent.Add(p.options.Timeout))
		}
		if now.Before(peer.next) {
			sooner(peer.next)
			continue
		}
		// After a pause (a machine that was frozen) the missed probes are not made up for.
		if peer.next = peer.next.Add(p.options.Interval); peer.next.Before(now) {
			peer.next = now.Add(p.options.Interval)
		}
		peer.seq++
		peer.pending[peer.seq] = now
		out = append(out, probe{peer.addr, peer.seq})
		sooner(peer.next)
		sooner(now.Add(p.options.Timeout))
	}
	return out, next
}

func (p *Prober) sendOne(pr probe) {
	message := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: p.id, Seq: int(pr.seq), Data: make([]byte, 12)}}
	text, err := message.Marshal(nil)
	if err == nil {
		_, err = p.conn.WriteTo(text, &net.IPAddr{IP: pr.addr.AsSlice()})
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		// No route, or the interface is away: the probe goes unanswered and counts as lost.
		p.log.Debug("probe not sent", "peer", pr.addr, "error", err)
	}
}

func (p *Prober) receive() {
	defer p.done.Done()
	buffer := make([]byte, 1500)
	for {
		n, from, err := p.conn.ReadFrom(buffer)
		now := time.Now()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			p.log.Debug("probe socket", "error", err)
			select {
			case <-p.stop:
				return
			case <-time.After(p.options.Interval): // an error that stays must not spin
			}
			continue
		}
		m, err := icmp.ParseMessage(1, buffer[:n])
		if err != nil || m.Type != ipv4.ICMPTypeEchoReply {
			continue // somebody else's packet
		}
		echo, ok := m.Body.(*icmp.Echo)
		ip, isIP := from.(*net.IPAddr)
		if !ok || !isIP || echo.ID != p.id {
			continue
		}
		if addr, ok := netip.AddrFromSlice(ip.IP); ok {
			p.answer(addr.Unmap(), uint16(echo.Seq), now) //nolint:gosec // a sequence number has 16 bits
		}
	}
}

func (p *Prober) answer(from netip.Addr, seq uint16, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, peer := range p.peers {
		if peer.addr != from {
			continue
		}
		sent, waiting := peer.pending[seq]
		if !waiting {
			return // too late, or twice
		}
		delete(peer.pending, seq)
		peer.answered(now, now.Sub(sent))
		return
	}
}

func (m *probed) answered(now time.Time, rtt time.Duration) {
	m.Sent++
	m.Answered++
	m.lost = 0
	m.LastAnswer = now
	if m.Answered == 1 {
		m.RTT = rtt
	} else {
		m.RTT += time.Duration(rttWeight * float64(rtt-m.RTT))
	}
	if !m.Reachable {
		m.Reachable, m.Since, m.counted = true, now, 0
	}
	m.count(0)
}

func (m *probed) unanswered(now time.Time, deadAfter int) {
	m.Sent++
	m.lost++
	if m.Reachable && m.lost >= deadAfter {
		m.Reachable, m.Since, m.counted = false, now, 0
	}
	m.count(1)
}

// count takes one probe into the loss. That of the first probes is their plain average, so that a new peer's first lost
// probe is not forgotten for half a minute nor counts for everything.
func (m *probed) count(loss float64) {
	m.counted++
	m.Loss += max(lossWeight, 1/float64(m.counted)) * (loss - m.Loss)
}
