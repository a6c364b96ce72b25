package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

const (
	observeInterval = time.Second
	// settling is how long after the agent's start bad news about peers is held back: a restarted agent has not heard from
	// anybody yet, and that is no news about them.
	settling = 5 * time.Second
)

// observe looks once a second, and when a round of steps has ended, at how the peers are, until ctx ends.
func (s *session) observe(ctx context.Context) error {
	began := time.Now()
	tick := time.NewTicker(observeInterval)
	defer tick.Stop()
	for {
		in := s.input()
		s.clock.observe(s.m.record.Node, in.snapshot)
		status, reason, message := s.clock.judge()
		s.keeper.set(spec.ConditionClockSane, status, reason, "%s", message)
		s.observePeers(ctx, in.view, time.Since(began) > settling)
		s.noticeAdmission(in.snapshot)
		s.judgeMembership(in)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.look:
		case <-tick.C:
		}
	}
}

// observePeers sets what is known of each peer and the conditions that follow.
func (s *session) observePeers(ctx context.Context, view *topology.View, settled bool) {
	if view == nil {
		s.keeper.set(spec.ConditionMeshReady, spec.ConditionUnknown, "NoObjects", "the objects of the cluster and of this node have not arrived yet")
		s.keeper.set(spec.ConditionGossipReady, spec.ConditionUnknown, "NoObjects", "the objects of the cluster and of this node have not arrived yet")
		return
	}
	s.mu.Lock()
	driver := s.driver
	s.mu.Unlock()
	var inMesh mesh.Status
	if driver != nil {
		var err error
		if inMesh, err = driver.Status(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			s.log.Warn("the mesh cannot be looked at", "error", err)
		}
	}
	s.probe(view)
	measured, alive := s.prober.Measurements(), s.alive()
	peers := make(map[string]spec.PeerStatus, len(view.Peers))
	var unreachable, silent []string
	for _, p := range view.Peers {
		m := measured[p.Name]
		peer := spec.PeerStatus{
			Reachable: m.Reachable, RTT: float64(m.RTT) / float64(time.Millisecond), Loss: m.Loss,
			Direct: inMesh.Peers[p.Name].Direct, NextHop: inMesh.Peers[p.Name].NextHop, Alive: alive[p.Name],
		}
		if !peer.Reachable {
			unreachable = append(unreachable, p.Name)
		}
		if !peer.Alive {
			silent = append(silent, p.Name)
		}
		peers[p.Name] = peer
	}
	reachable := len(peers) - len(unreachable)
	s.mu.Lock()
	s.running, s.reachable, s.peers = inMesh.Running, reachable, len(peers)
	s.mu.Unlock()
	if !settled && (len(unreachable) > 0 || len(silent) > 0 || !inMesh.Running) {
		return
	}
	s.keeper.setPeers(peers)
	s.judgeMesh(inMesh.Running, unreachable, len(peers))
	if len(silent) == 0 {
		s.keeper.set(spec.ConditionGossipReady, spec.ConditionTrue, "Ready", "")
	} else {
		s.keeper.set(spec.ConditionGossipReady, spec.ConditionFalse, "PeersSilent",
			"no gossip with %s: the agent there is down, or the mesh does not reach it", s.withSince(silent))
	}
}

func (s *session) judgeMesh(running bool, unreachable []string, peers int) {
	switch {
	case !running:
		s.keeper.set(spec.ConditionMeshReady, spec.ConditionFalse, "NotRunning", "the mesh does not run on this node; condition Applied says why")
	case len(unreachable) > 0:
		s.keeper.set(spec.ConditionMeshReady, spec.ConditionFalse, "PeersUnreachable",
			"%d of %d peers do not answer over the mesh: %s", len(unreachable), peers, s.withSince(unreachable))
	default:
		s.keeper.set(spec.ConditionMeshReady, spec.ConditionTrue, "Ready", "")
	}
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

// health is what the health endpoint says of a member. A node is fit to serve when it stands with at least half of its
// cluster: were a single dead peer enough to call it unfit, one death would take every node out of service.
func (s *session) health() api.Health {
	h := api.Health{State: stateJoined, Parts: map[string]string{}}
	part := func(name string, good bool, problem string) {
		h.Parts[name] = "ok"
		if !good {
			h.Parts[name] = problem
			h.Waiting = name + ": " + problem
		}
		h.Healthy = h.Healthy && good
	}
	h.Healthy = true
	joined, _ := s.keeper.get(spec.ConditionJoined)
	// Anybody may read this; the whole message is in the API.
	part("membership", joined.Good(), joined.Reason)
	s.mu.Lock()
	running, reachable, peers := s.running, s.reachable, s.peers
	s.mu.Unlock()
	switch {
	case !running:
		part("mesh", false, "not running")
	case 2*(reachable+1) < peers+1:
		part("mesh", false, fmt.Sprintf("reaches %d of %d peers, less than half of the cluster with itself", reachable, peers))
	default:
		part("mesh", true, "")
	}
	return h
}
