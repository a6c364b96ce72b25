package pairs

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

const (
	// probeFirst is how long after a measurement the next one is while files change or changes take long: then somebody waits for them. While nothing is
	// wrong and nothing changes, that grows to probeMost. But a canary has both sides write down all that they know of the tree, so that it is no sooner than
	// so many times as long as a round of the program takes, as far as that is no longer than probeRarest.
	probeFirst  = 30 * time.Second
	probeMost   = 5 * time.Minute
	probeBusy   = 200
	probeIdle   = 2000
	probeRarest = 30 * time.Minute
	// headStart is how long before the change the other node is asked for it, so that its answer needs only its way back.
	headStart = time.Second
	// giveUp is when a canary is not waited for any longer. A change that has not arrived by then has long been told of.
	giveUp = 10 * time.Minute
)

// probe is how a side is measured.
type probe struct {
	// measuring tells that a canary is under way.
	measuring bool
	// last is when the last one had arrived, or was given up; zero for none since it could be measured. Pause is after what time the next one is due when
	// nothing changes, late tells that the last one took too long, and unheard that nobody knows what it took.
	last          time.Time
	pause         time.Duration
	late, unheard bool
	// window holds what the last ones took.
	window window
	// arrived is the last canary that the other node has told of.
	arrived string
}

// slow tells whether the last change that was measured took longer than it may.
func (s *side) slow(p topology.Pair) bool {
	return p.Objective > 0 && s.said.Propagation > float64(p.Objective)
}

// measurable tells whether changes of the side go to the other one.
func (s *side) measurable() bool {
	return s.equal && (s.said.State == spec.PairSynced || s.said.State == spec.PairSyncing)
}

// due returns the pairs that are to be measured now, and notes that they are.
func (m *Manager) due() []topology.Pair {
	sight := m.cfg.See()
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []topology.Pair
	for _, p := range sight.Pairs {
		s := m.sides[p.Name]
		switch {
		case s == nil || s.measuring || m.cfg.Drivers[p.Driver] == nil:
		case !s.measurable() || sight.Away:
			// When it comes back is when something may have changed.
			s.last, s.pause, s.late, s.unheard = time.Time{}, 0, false, false
		case s.last.IsZero() || time.Since(s.last) >= s.rests():
			if s.measuring = true; s.changes() {
				s.pause = 0
			}
			out = append(out, p)
		}
	}
	return out
}

// changes tells that something has changed in the tree since the last canary, or that one took too long.
func (s *side) changes() bool { return s.late || s.unheard || s.found.Changed.After(s.last) }

// rests returns for how long nothing is measured after the last time.
func (s *side) rests() time.Duration {
	if s.unheard {
		return probeFirst
	}
	if s.changes() {
		return min(max(probeFirst, probeBusy*s.found.Round), probeRarest)
	}
	return min(max(s.pause, probeIdle*s.found.Round), probeRarest)
}

// measure writes a canary and waits until the other node says that it is there. Both moments are of this node's clock.
func (m *Manager) measure(ctx context.Context, p topology.Pair) {
	ctx, cancel := context.WithTimeout(ctx, giveUp)
	defer cancel()
	word := &word{arrivals: make(chan string)}
	go m.listen(ctx, p, word)
	took, ok := m.race(ctx, p, word)
	m.mu.Lock()
	s := m.sides[p.Name]
	if s == nil {
		m.mu.Unlock()
		return
	}
	s.measuring = false
	s.pause = min(max(2*s.pause, probeFirst), probeMost)
	s.late, s.unheard = took > time.Duration(p.Objective)*time.Second, !ok
	s.last = time.Now()
	if ok {
		s.window = s.window.add(m.cfg.Now(), inSeconds(took))
	}
	m.mu.Unlock()
	if ok {
		m.took(p, took)
	}
}

// word is what the other node says of canaries.
type word struct {
	arrivals chan string
	// silent tells that it did not answer when it was asked last.
	silent atomic.Bool
}

// race returns how long a canary took, ok unless that was not to be found out.
func (m *Manager) race(ctx context.Context, p topology.Pair, word *word) (took time.Duration, ok bool) {
	lead := time.NewTimer(headStart)
	defer lead.Stop()
	for waiting := true; waiting; {
		select {
		case <-ctx.Done():
			return 0, false
		case <-word.arrivals: // of one before
		case <-lead.C:
			waiting = false
		}
	}
	canary, err := m.cfg.Drivers[p.Driver].Canary(ctx, p.Name)
	if err != nil {
		m.cfg.Log.Debug("a canary cannot be written", "pair", p.Name, "error", err)
		return 0, false
	}
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	late := false
	for {
		select {
		case <-ctx.Done():
			return 0, false
		case nonce := <-word.arrivals:
			if nonce == canary.Nonce {
				return time.Since(canary.Written), true
			}
		case <-tick.C:
			sofar := time.Since(canary.Written)
			overdue := sofar > time.Duration(p.Objective)*time.Second
			// Of a node that does not answer nobody knows whether it has arrived.
			if !m.goesOn(p.Name) || overdue && word.silent.Load() {
				return 0, false
			}
			// One that is late is told of before it has arrived: it may never do.
			if overdue && !late {
				late = true
				m.took(p, sofar)
			}
		}
	}
}

// listen tells of each canary of this node that the other one has got, until ctx ends.
func (m *Manager) listen(ctx context.Context, p topology.Pair, word *word) {
	for ctx.Err() == nil {
		m.mu.Lock()
		s := m.sides[p.Name]
		after := ""
		if s != nil {
			after = s.arrived
		}
		m.mu.Unlock()
		nonce, err := m.cfg.Canary(ctx, p.Name, after)
		word.silent.Store(err != nil)
		switch {
		case err != nil:
			m.cfg.Log.Debug("the other node does not tell of canaries", "pair", p.Name, "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(lookInterval):
			}
		case nonce != "" && s != nil:
			m.mu.Lock()
			s.arrived = nonce
			m.mu.Unlock()
			select {
			case <-ctx.Done():
			case word.arrivals <- nonce:
			}
		}
	}
}

// goesOn tells whether a canary may still arrive.
func (m *Manager) goesOn(pair string) bool {
	sight := m.cfg.See()
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sides[pair]
	return s != nil && s.measurable() && !sight.Away
}

// took notes what was measured.
func (m *Manager) took(p topology.Pair, d time.Duration) {
	m.mu.Lock()
	s := m.sides[p.Name]
	if s == nil {
		m.mu.Unlock()
		return
	}
	before := s.slow(p)
	s.said.Propagation = inSeconds(d)
	s.said.Measured = m.cfg.Now().UTC()
	urgent := before != s.slow(p)
	m.mu.Unlock()
	m.cfg.Changed(urgent)
}

// inSeconds rounds to milliseconds, of which there is at least one.
func inSeconds(d time.Duration) float64 { return max(0.001, math.Round(d.Seconds()*1000)/1000) }

// Canary implements api.Streamer.
func (m *Manager) Canary(ctx context.Context, pair, node, after string) (string, error) {
	p, driver, err := m.ofPeer(pair, node)
	if err != nil {
		return "", err
	}
	canary, err := driver.Canaries(ctx, p.Name, replication.Canary{Nonce: after})
	return canary.Nonce, err
}

// ofPeer returns a pair whose other node it is, or why that may not ask for it.
func (m *Manager) ofPeer(pair, node string) (topology.Pair, replication.Driver, error) {
	p, driver, err := m.of(pair)
	if err == nil && p.Peer.Node != node {
		err = &api.Error{StatusCode: http.StatusForbidden, Reason: trust.ReasonNotAllowed, Message: fmt.Sprintf("pair %q is none of node %q on this node's account", pair, node)}
	}
	return p, driver, err
}

// of returns a pair of this node.
func (m *Manager) of(pair string) (topology.Pair, replication.Driver, error) {
	sight := m.cfg.See()
	i := slices.IndexFunc(sight.Pairs, func(p topology.Pair) bool { return p.Name == pair })
	if i < 0 || !sight.Known {
		return topology.Pair{}, nil, &api.Error{StatusCode: http.StatusNotFound, Reason: api.ReasonNoSuchPair, Message: fmt.Sprintf("node %q has no pair %q, or does not know of it yet", m.cfg.Node, pair)}
	}
	p := sight.Pairs[i]
	driver := m.cfg.Drivers[p.Driver]
	if driver == nil {
		return p, nil, &api.Error{StatusCode: http.StatusNotFound, Reason: api.ReasonNoSuchPair, Message: fmt.Sprintf("node %q does not know driver %q", m.cfg.Node, p.Driver)}
	}
	return p, driver, nil
}
