package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// Timers for 3 to 20 nodes. memberlist's own defaults need 6 s (LAN) to 36 s (WAN) to find a death; these need about one.
const (
	probeTimeout   = 100 * time.Millisecond
	gossipInterval = 50 * time.Millisecond
	pushPull       = 10 * time.Second
	tcpTimeout     = 2 * time.Second
	suspicionMult  = 3
	// rejoinEvery is how often members that are not alive in gossip are called.
	rejoinEvery = time.Second
	// leaveTimeout bounds how long Close waits for the others to hear of it.
	leaveTimeout = 500 * time.Millisecond
)

// Config says where and with whom to gossip.
type Config struct {
	// Node is this node's name.
	Node string
	// Bind is the mesh address that gossip listens on and advertises, TCP and UDP, and no other.
	Bind netip.Addr
	Port int
	// Peers returns where the other members' gossip listens. Nobody else is let in.
	Peers func() []netip.AddrPort
	// RTT is the longest round trip between nodes that is normal; 0 is 50 ms. A death is found the later the longer it is.
	RTT   time.Duration
	Store *store.Store
	// Changed is called when Alive has news of another node; it must not block or call back. Nil is fine.
	Changed func()
	// Log hears of peers at info and of gossip's own troubles at debug; nil is silent.
	Log *slog.Logger
}

// Liveness is what gossip thinks of a node's agent, and since when.
type Liveness struct {
	Alive bool
	Since time.Time
}

// Gossip is a running gossip. Safe for concurrent use.
type Gossip struct {
	cfg    Config
	log    *slog.Logger
	list   *memberlist.Memberlist
	spread *spread
	alive  *liveness
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	once   sync.Once
}

// Start begins to gossip. It fails when the address cannot be bound, for example because the mesh is not up yet.
//
//nolint:contextcheck // it lives until Close
func Start(cfg Config) (*Gossip, error) {
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	g := &Gossip{cfg: cfg, log: log, alive: newLiveness(cfg.Node, log, cfg.Changed)}
	g.spread = newSpread(cfg, log)
	list, err := memberlist.Create(g.config())
	if err != nil {
		return nil, fmt.Errorf("start gossip on %s: %w", netip.AddrPortFrom(cfg.Bind, uint16(cfg.Port)), err)
	}
	g.list = list
	g.spread.attach(list)
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	g.tasks.Go(func() { g.spread.work(ctx) })
	g.tasks.Go(func() { g.spread.announce(ctx) })
	g.tasks.Go(func() { g.rejoin(ctx) })
	return g, nil
}

func (g *Gossip) config() *memberlist.Config {
	timeout := max(probeTimeout, 2*g.cfg.RTT)
	c := memberlist.DefaultLANConfig()
	c.Name = g.cfg.Node
	c.BindAddr, c.BindPort = g.cfg.Bind.String(), g.cfg.Port
	c.AdvertiseAddr, c.AdvertisePort = g.cfg.Bind.String(), g.cfg.Port
	c.ProbeTimeout, c.ProbeInterval = timeout, 2*timeout
	c.GossipInterval = gossipInterval
	// What is gossiped fits into a packet as it is, and compressing it was a tenth of what an idle agent used.
	c.EnableCompression = false
	c.SuspicionMult = suspicionMult
	c.PushPullInterval = pushPull
	c.TCPTimeout = tcpTimeout
	// A node that was made again may come back under its name at another address at once.
	c.DeadNodeReclaimTime = time.Second
	c.DNSConfigPath = ""
	c.LogOutput = logWriter{g.log}
	c.Delegate, c.Events, c.Alive = g.spread, g.alive, admission{g.cfg}
	return c
}

// Alive returns what is known of each node that was ever heard of, this one included.
func (g *Gossip) Alive() map[string]Liveness { return g.alive.all() }

// Close tells the others that this node leaves and stops. Further calls do nothing.
func (g *Gossip) Close() error {
	return g.stop(func() {
		if err := g.list.Leave(leaveTimeout); err != nil {
			g.log.Debug("left gossip unheard", "error", err)
		}
	})
}

func (g *Gossip) stop(leave func()) (err error) {
	g.once.Do(func() {
		g.cancel()
		leave()
		g.alive.end()
		err = g.list.Shutdown()
		g.tasks.Wait()
	})
	if err != nil {
		return fmt.Errorf("stop gossip: %w", err)
	}
	return nil
}

// rejoin calls members that are not alive in gossip, for as long as there are any: after a split nobody else brings the
// halves together.
func (g *Gossip) rejoin(ctx context.Context) {
	tick := time.NewTicker(rejoinEvery)
	defer tick.Stop()
	for {
		for _, address := range g.missing() {
			if ctx.Err() != nil {
				return
			}
			if _, err := g.list.Join([]string{address.String()}); err != nil {
				g.log.Debug("gossip does not reach a member", "address", address.String(), "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (g *Gossip) missing() []netip.AddrPort {
	there := g.alive.addresses()
	var out []netip.AddrPort
	for _, p := range g.cfg.Peers() {
		if !there[p.String()] {
			out = append(out, p)
		}
	}
	return out
}

// admission keeps everybody out of gossip who is not a member or is not where members are.
type admission struct{ cfg Config }

var errNotAdmitted = errors.New("not an admitted node at its address")

// NotifyAlive implements memberlist.AliveDelegate.
func (a admission) NotifyAlive(n *memberlist.Node) error {
	if n.Name == a.cfg.Node {
		return nil
	}
	if _, ok := a.cfg.Store.Snapshot().Members[n.Name]; !ok {
		return errNotAdmitted
	}
	for _, p := range a.cfg.Peers() {
		if p.String() == n.Address() {
			return nil
		}
	}
	return errNotAdmitted
}
