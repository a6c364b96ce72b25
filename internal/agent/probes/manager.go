// Package probes keeps a node's eye on its links: it has every path to other nodes measured, says how each link is and why, and makes
// the mesh do without links that are bad where another way was measured to be better.
package probes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/probe"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/steering"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

const (
	// lookInterval is how often it is looked whether a link must be left, judgeInterval how often it is said how links are.
	lookInterval  = 50 * time.Millisecond
	judgeInterval = time.Second
	// late is a look that came too late: the machine has more to do than it can, and what is silent may be this node's own ears. Nothing is called
	// dead for afterStarving then.
	late          = 350 * time.Millisecond
	afterStarving = time.Second
	// seeInterval is how often it is looked who the others are and what they say.
	seeInterval = time.Second
	// reopenInterval is how often it is tried to begin probing when that failed.
	reopenInterval = 30 * time.Second
	// believable is how old another node's report may be: it says again what it knows every half minute.
	believable = 75 * time.Second
)

// Prober measures; probe.Prober is one.
type Prober interface {
	SetPeers(peers map[string]probe.Peer)
	Links() map[string]probe.Link
	Close() error
}

// Sight is what a node knows of its cluster at one moment.
type Sight struct {
	// View is nil while objects are missing or the node is not admitted.
	View *topology.View
	// Identities are those of admitted members, by node.
	Identities map[string]trust.PublicKey
	// Statuses are what other nodes reported last, Received when that came.
	Statuses map[string]spec.Status
	Received map[string]time.Time
	// Peers is how this node sees the others over the mesh.
	Peers map[string]spec.PeerStatus
	// Driver is the mesh's, nil before it runs.
	Driver mesh.Driver
	// ClockWrong tells that this node's clock is wrong.
	ClockWrong bool
}

// Config is what a Manager works with. All fields are required, except for those that say otherwise.
type Config struct {
	Cluster, Node string
	// Before is what this node said last before the agent was started.
	Before map[string]spec.LinkStatus
	// Key makes the key of this node and another.
	Key func(trust.PublicKey) ([trust.PairKeySize]byte, error)
	// Open begins to measure; nil for a node that measures nothing, and leaves no link.
	Open func(probe.Options) (Prober, error)
	// See returns what is known. It must not call the manager.
	See func() Sight
	// Echo tells whether one of some echoes to a mesh address comes back within wait.
	Echo func(ctx context.Context, to netip.Addr, wait time.Duration) bool
	// Dial tells how a TCP port answers: nil when it does.
	Dial func(ctx context.Context, to netip.AddrPort) error
	// Lookup asks name servers; the system's resolver when nil.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Changed is called when All says something else; urgent when others must hear of it at once.
	Changed func(urgent bool)
	Now     func() time.Time
	Log     *slog.Logger
}

// Manager is what keeps the eye. Make it with New; its methods are safe for concurrent use.
type Manager struct {
	cfg Config

	// What follows belongs to Run alone.
	prober  Prober
	port    int
	opened  time.Time
	sight   Sight
	state   steering.State
	steered time.Time
	// starved is when this process last did not run when it should have.
	starved time.Time
	checks  *checks
	fits    fits
	lookups lookups
	// addresses are the public ones of peers, as far as they were looked up.
	addresses map[string][]netip.Addr

	mu    sync.Mutex
	links map[string]spec.LinkStatus
}

// New returns a manager that goes on where the node was before. It does nothing yet.
func New(c Config) *Manager {
	m := &Manager{cfg: c, lookups: lookups{resolver: mesh.NewResolver(c.Lookup)}, state: steering.State{}, links: map[string]spec.LinkStatus{}, checks: newChecks(c)}
	for name, link := range c.Before {
		// What was measured is old; what was decided holds.
		m.links[name] = spec.LinkStatus{Condition: link.Condition, Since: link.Since, Cause: link.Cause, Message: link.Message, Steering: link.Steering}
		if s := link.Steering; s != nil {
			m.state[name] = steering.Link{Away: s.Away, Via: s.Via, Why: steering.Why(s.Why), Since: s.Since, Hold: time.Duration(s.Hold) * time.Second}
		}
	}
	return m
}

// All returns how each link is, by the name of the other node. What it returns is not changed any more.
func (m *Manager) All() map[string]spec.LinkStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.links
}

// Run works until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	if m.cfg.Open == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	defer m.checks.wait()
	defer m.lookups.done.Wait()
	defer m.fits.done.Wait()
	defer func() {
		if m.prober != nil {
			if err := m.prober.Close(); err != nil {
				m.cfg.Log.Warn("probing does not end cleanly", "error", err)
			}
		}
	}()
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	var seen, judged, looked time.Time
	for {
		now := m.cfg.Now()
		if now.Sub(seen) >= seeInterval || now.Before(seen) {
			seen = now
			m.see(ctx, now)
		}
		if m.prober != nil && m.sight.View != nil {
			links := m.prober.Links()
			// Asked between what was measured and what is decided: this process may stop anywhere.
			now = m.cfg.Now()
			if !looked.IsZero() && now.Sub(looked) > late {
				m.starved = now
			}
			looked = now
			m.steer(ctx, links, now)
			if now.Sub(judged) >= judgeInterval || now.Before(judged) {
				judged = now
				m.judge(ctx, links, now)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// see looks who the others are, and has them measured.
func (m *Manager) see(ctx context.Context, now time.Time) {
	m.sight = m.cfg.See()
	view := m.sight.View
	if view == nil {
		return
	}
	m.open(view.Mesh.Port, now)
	if m.prober == nil {
		return
	}
	m.addresses = m.lookups.addresses(ctx, view)
	peers := map[string]probe.Peer{}
	for _, p := range view.Peers {
		key, err := m.cfg.Key(m.sight.Identities[p.Name])
		if err != nil {
			m.cfg.Log.Debug("a node cannot be measured", "peer", p.Name, "error", err)
			continue
		}
		peer := probe.Peer{Key: key, Mesh: p.MeshAddress}
		if !hidden(view) {
			peer.Public = m.addresses[p.Name]
		}
		peers[p.Name] = peer
	}
	m.prober.SetPeers(peers)
}

// hidden tells that nobody can call this node, as behind address translation: what the others would send it over the public network does
// not arrive by nature, and is no trouble to be told of.
func hidden(view *topology.View) bool { return len(view.Self.Addresses) == 0 }

// open begins to measure at the mesh's port, and begins anew at another one.
func (m *Manager) open(port int, now time.Time) {
	if m.prober != nil && m.port == port {
		return
	}
	if m.prober != nil {
		if err := m.prober.Close(); err != nil {
			m.cfg.Log.Warn("probing does not end cleanly", "error", err)
		}
		m.prober, m.opened = nil, time.Time{}
	}
	if !m.opened.IsZero() && now.Sub(m.opened) < reopenInterval {
		return
	}
	m.opened = now
	prober, err := m.cfg.Open(probe.Options{Cluster: m.cfg.Cluster, Node: m.cfg.Node, Port: port})
	if err != nil {
		m.cfg.Log.Error("links are not measured, and no bad link is left", "error", err)
		return
	}
	m.prober, m.port = prober, port
}

// judge says how links are.
func (m *Manager) judge(ctx context.Context, links map[string]probe.Link, now time.Time) {
	next := map[string]spec.LinkStatus{}
	paths := map[string]int{}
	urgent := false
	before := m.All()
	for _, p := range m.sight.View.Peers {
		if len(p.Addresses) == 0 || hidden(m.sight.View) {
			continue // there is no direct way to be measured
		}
		if _, looked := m.addresses[p.Name]; !looked {
			if s, said := before[p.Name]; said {
				next[p.Name] = s
			}
			continue
		}
		f := m.facts(p, links[p.Name], now)
		if f.wantsCheck() {
			m.checks.ask(ctx, p.Name, f.address, f.meshPort(), p.APIPort)
		}
		s, said := before[p.Name]
		if f.lookup == nil && f.early() {
			if said {
				// What is said of the link waits, what is counted does not: the other end goes by it.
				s.In, s.Out, s.Steering = shown(f.link.In), shown(f.link.Out), steeringStatus(m.state, p.Name)
				next[p.Name] = s
			}
			continue
		}
		if size, known := f.takes(); known {
			paths[p.Name] = size
		}
		verdict := f.judge()
		if !said || verdict.Condition != s.Condition || verdict.Cause != s.Cause {
			verdict.Since = now.UTC()
			urgent = urgent || said
			m.cfg.Log.Info("a link changed", "peer", p.Name, "condition", string(verdict.Condition), "cause", string(verdict.Cause), "message", verdict.Message)
		} else {
			verdict.Since = s.Since
		}
		verdict.Steering = steeringStatus(m.state, p.Name)
		next[p.Name] = calm(s, verdict)
	}
	m.fit(ctx, paths, now)
	m.publish(next, urgent)
}

func (m *Manager) publish(next map[string]spec.LinkStatus, urgent bool) {
	m.mu.Lock()
	changed := !maps.EqualFunc(next, m.links, sameLink)
	m.links = next
	m.mu.Unlock()
	if changed {
		m.cfg.Changed(urgent)
	}
}

func sameLink(a, b spec.LinkStatus) bool {
	return a.Condition == b.Condition && a.Since.Equal(b.Since) && a.Cause == b.Cause && a.Message == b.Message && a.RTT == b.RTT &&
		same(a.In, b.In) && same(a.Out, b.Out) && same(a.Steering, b.Steering)
}

func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// calm keeps a round trip that differs by no more than noise, which is not worth a report to every node.
func calm(before, now spec.LinkStatus) spec.LinkStatus {
	if before.RTT > 0 && now.RTT > 0 && math.Abs(before.RTT-now.RTT) <= 0.5+0.1*before.RTT {
		now.RTT = before.RTT
	}
	return now
}

// shown is a direction as others read it: rounded, for the same reason.
func shown(d probe.Direction) *spec.LinkDirection {
	if !d.Known {
		return nil
	}
	round := func(loss float64) float64 { return math.Round(loss*50) / 50 }
	out := &spec.LinkDirection{Silent: d.Silent, Loss: round(d.Loss.Slow), Now: round(d.Loss.Fast)}
	if d.Silent {
		out.Loss, out.Now = 1, 1
	}
	if d.MTU >= probe.LeastLarge {
		out.MTU = d.MTU
	}
	return out
}

func steeringStatus(state steering.State, peer string) *spec.LinkSteering {
	l, decided := state[peer]
	if !decided {
		return nil
	}
	return &spec.LinkSteering{Away: l.Away, Via: l.Via, Why: string(l.Why), Since: l.Since.UTC(), Hold: int(l.Hold / time.Second)}
}

// Away returns the peers whose direct links the mesh does without, by this node's decision.
func (m *Manager) Away() []string {
	var out []string
	for name, link := range m.All() {
		if link.Steering != nil && link.Steering.Away {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// errNoAddress is what a link without an address has.
var errNoAddress = errors.New("no address is known")

func (m *Manager) facts(p topology.Peer, link probe.Link, now time.Time) facts {
	s := m.sight
	f := facts{
		self: m.cfg.Node, peer: p.Name, port: s.View.Mesh.Port, apiPort: p.APIPort, driver: s.View.Mesh.Driver,
		now: now, link: link.Public, mesh: s.Peers[p.Name], address: link.Public.Address, away: m.state[p.Name].Away, clockWrong: s.ClockWrong,
		checked: m.checks.result(p.Name), before: m.All()[p.Name].Condition,
	}
	if !f.address.IsValid() {
		f.lookup = fmt.Errorf("%v: %w", p.Addresses, errNoAddress)
	}
	if now.Sub(s.Received[p.Name]) < believable {
		status := s.Statuses[p.Name]
		if theirs, said := status.Links[m.cfg.Node]; said {
			f.theirs, f.said = &theirs, s.Received[p.Name]
		}
		if c, said := status.Condition(spec.ConditionClockSane); said && c.Status == spec.ConditionFalse {
			f.clockWrong = true
		}
	}
	return f
}
