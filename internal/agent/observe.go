package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

const (
	observeInterval = time.Second
	// observeMesh is how often the driver is asked, which costs it a few processes.
	observeMesh = 2 * time.Second
	// settling is how long the silence of a peer says nothing, after the peer's admission or the agent's start: a restarted
	// agent has not heard from anybody yet, and that is no news about them.
	settling = 5 * time.Second
)

// observe looks once a second, and when a round of steps has ended, at how the peers are, until ctx ends.
func (s *session) observe(ctx context.Context) error {
	tick := time.NewTicker(observeInterval)
	defer tick.Stop()
	for {
		in := s.input()
		s.clock.observe(s.m.record.Node, in.snapshot)
		status, reason, message := s.clock.judge()
		s.keeper.set(spec.ConditionClockSane, status, reason, "%s", message)
		s.observePeers(ctx, in.view)
		s.noticeAdmission(in.snapshot)
		s.judgeMembership(in)
		s.watchTwin(in.snapshot)
		s.announce(in)
		poke(s.weigh)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.look:
		case <-tick.C:
		}
	}
}

// observePeers sets what is known of each peer and the conditions that follow.
func (s *session) observePeers(ctx context.Context, view *topology.View) {
	if view == nil {
		s.keeper.set(spec.ConditionMeshReady, spec.ConditionUnknown, "NoObjects", "the objects of the cluster and of this node have not arrived yet")
		s.keeper.set(spec.ConditionGossipReady, spec.ConditionUnknown, "NoObjects", "the objects of the cluster and of this node have not arrived yet")
		return
	}
	inMesh := s.lookAtMesh(ctx)
	if ctx.Err() != nil {
		return
	}
	s.probe(view)
	measured, alive := s.prober.Measurements(), s.alive()
	_, before, _ := s.keeper.snapshot()
	s.public.watch(view, before)
	peers := make(map[string]spec.PeerStatus, len(view.Peers))
	inTheMesh, inGossip := verdict{bad: map[string]bool{}}, verdict{bad: map[string]bool{}}
	reachable, counted := 0, 0
	for _, p := range view.Peers {
		m := s.measure(p.Name, measured, inMesh)
		peer := spec.PeerStatus{
			Reachable: m.Reachable, RTT: float64(m.RTT) / float64(time.Millisecond), Loss: m.Loss,
			Direct: inMesh.Peers[p.Name].Direct, NextHop: inMesh.Peers[p.Name].NextHop, Alive: alive[p.Name],
		}
		fresh := s.fresh(p.Name)
		// Of a node that the operator has taken out of service, silence is no news.
		if _, away := view.Maintenance[p.Name]; !away || peer.Reachable {
			counted++
			inTheMesh.count(p.Name, peer.Reachable, fresh)
			inGossip.count(p.Name, peer.Alive || away, fresh)
		}
		if peer.Reachable {
			reachable++
		}
		if old, known := before[p.Name]; known && fresh && (!peer.Reachable || !peer.Alive) {
			peer = old
		}
		peer.Public = s.public.status(p.Name, m)
		peers[p.Name] = peer
	}
	// Who reads that peers are lost must not read how they were before.
	s.keeper.setPeers(peers)
	s.mu.Lock()
	changed := s.running != inMesh.Running || s.reachable != reachable || s.peers != counted
	s.running, s.reachable, s.peers = inMesh.Running, reachable, counted
	s.mu.Unlock()
	if changed {
		poke(s.weigh)
	}
	s.forgetOthers(peers)
	switch names := inTheMesh.names(); {
	case !inMesh.Running:
		s.keeper.set(spec.ConditionMeshReady, spec.ConditionFalse, "NotRunning", "the mesh does not run on this node; condition Applied says why")
	case len(names) > 0:
		s.keeper.set(spec.ConditionMeshReady, spec.ConditionFalse, "PeersUnreachable",
			"%d of %d peers do not answer over the mesh: %s", len(names), len(peers), s.withSince(names))
	case !inTheMesh.pending:
		s.keeper.set(spec.ConditionMeshReady, spec.ConditionTrue, "Ready", "")
	}
	switch names := inGossip.names(); {
	case len(names) > 0:
		s.keeper.set(spec.ConditionGossipReady, spec.ConditionFalse, "PeersSilent",
			"no gossip with %s: the agent there is down, or the mesh does not reach it", s.withSince(names))
	case !inGossip.pending:
		s.keeper.set(spec.ConditionGossipReady, spec.ConditionTrue, "Ready", "")
	}
}

// verdict collects how all peers are in one respect.
type verdict struct {
	bad map[string]bool
	// pending tells that some peer is not good, but too new to judge.
	pending bool
}

func (v *verdict) count(name string, good, fresh bool) {
	switch {
	case good:
	case fresh:
		v.pending = true
	default:
		v.bad[name] = true
	}
}

func (v *verdict) names() []string { return slices.Sorted(maps.Keys(v.bad)) }

// fresh tells whether a peer has been looked at for so short a time that its silence means nothing: it was just admitted,
// or this agent was just started.
func (s *session) fresh(peer string) bool {
	first, known := s.firstSeen[peer]
	if !known {
		first = time.Now()
		s.firstSeen[peer] = first
	}
	return time.Since(first) < settling
}

// forgetOthers makes a peer that goes and comes back new again.
func (s *session) forgetOthers(peers map[string]spec.PeerStatus) {
	maps.DeleteFunc(s.firstSeen, func(name string, _ time.Time) bool {
		_, still := peers[name]
		return !still
	})
}

// lookAtMesh returns the mesh as its driver sees it, at most observeMesh old.
func (s *session) lookAtMesh(ctx context.Context) mesh.Status {
	s.mu.Lock()
	driver, known, looked := s.driver, s.meshStatus, s.meshLooked
	s.mu.Unlock()
	if driver == nil {
		return mesh.Status{}
	}
	if known.Running && time.Since(looked) < observeMesh {
		return known
	}
	status, err := driver.Status(ctx)
	if err != nil && ctx.Err() == nil {
		s.log.Warn("the mesh cannot be looked at", "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meshStatus, s.meshLooked = status, time.Now()
	return status
}

// withSince names peers, and since when they are as they are.
func (s *session) withSince(names []string) string {
	_, peers, _ := s.keeper.snapshot()
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = fmt.Sprintf("%s (since %s)", name, peers[name].Since.Format(time.RFC3339))
	}
	return strings.Join(texts, ", ")
}

// health is what the health endpoint says of a member.
func (s *session) health() api.Health { return s.healthBut(nil) }

// healthBut is health, for which some parts of the node itself do not count.
func (s *session) healthBut(forgiven map[string]bool) api.Health {
	h := api.Health{State: stateJoined, Parts: map[string]string{}, Healthy: true}
	for _, p := range s.parts() {
		h.Parts[p.name] = sayOK(p.problem)
		if p.problem != "" && !forgiven[p.name] {
			h.Waiting = p.name + ": " + p.problem
			h.Healthy = false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fileProblem != "" {
		// It says something about the file, not about the node's fitness.
		h.Parts["first-boot file"] = s.fileProblem
	}
	return h
}

// healthFor is what the health endpoint says of a hostname, and whether this node belongs to its load balancer.
func (s *session) healthFor(hostname string) (h api.Health, known bool) {
	status, known := s.fitness.of(hostname)
	if !known {
		// Before the first look nobody knows what this node serves.
		h = s.health()
		h.Healthy, h.Waiting = false, "the agent has just started"
		return h, !s.fitness.judged()
	}
	// What a floor helps against was judged, and is as soon as it changes; all else, such as maintenance, counts at once.
	h = s.healthBut(map[string]bool{partMesh: status.Fit, partDatabase: status.Fit, partFiles: status.Fit})
	for name, text := range s.fitness.partsOf(hostname) {
		h.Parts[name] = text
		if h.Healthy && !status.Fit && text != "ok" {
			h.Waiting = name + ": " + text
		}
	}
	h.Healthy = h.Healthy && status.Fit
	return h, true
}
