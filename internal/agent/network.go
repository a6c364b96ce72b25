package agent

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/gossip"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// direct returns how this node calls the others.
func (s *session) direct() gossip.Direct {
	return gossip.Direct{
		Node: s.m.record.Node, Store: s.store, Log: s.log,
		Client: s.client, Target: s.target, Heard: s.heard,
	}
}

func (s *session) client(t api.Target) *api.Client {
	return api.NewNodeClient(s.m.identity, s.proof(), s.m.root, s.a.bootID, t)
}

// target returns how another node is called: over the mesh first, then at its public addresses.
func (s *session) target(snapshot *store.Snapshot, node string) api.Target {
	t := gossip.TargetOf(snapshot, node)
	own := snapshot.Nodes[node].MeshAddress
	if bind := s.a.cfg.MeshBind(own); bind != own {
		for i, endpoint := range t.Endpoints {
			if rest, overMesh := strings.CutPrefix(endpoint, own.String()+":"); overMesh {
				t.Endpoints[i] = bind.String() + ":" + rest
			}
		}
	}
	return t
}

// seeds returns whom to ask while no other node is known to answer, except for this node itself.
func (s *session) seeds() []string {
	snapshot := s.store.Snapshot()
	seeds := slices.Clone(s.m.member.Ticket.Seeds)
	if snapshot.Cluster != nil {
		seeds = append(seeds, snapshot.Cluster.Seeds...)
	}
	own := snapshot.Nodes[s.m.record.Node].Endpoints(s.ports(snapshot.Cluster).API)
	slices.Sort(seeds)
	return slices.DeleteFunc(slices.Compact(seeds), func(seed string) bool { return slices.Contains(own, seed) })
}

// heard notes what a peer thinks of this node.
func (s *session) heard(peer string, err error) {
	if err == nil {
		if s.acceptance.admit(peer) {
			s.log.Info("a node admits this one", "peer", peer)
		}
		return
	}
	var answered *api.Error
	if !errors.As(err, &answered) {
		return
	}
	switch answered.Reason {
	case trust.ReasonSecondIdentity, trust.ReasonRevoked, trust.ReasonReplayed, trust.ReasonExpired, trust.ReasonNotYetValid,
		trust.ReasonBadSignature, trust.ReasonWrongCluster, trust.ReasonWrongNode, trust.ReasonUnknownWireVersion:
		if s.acceptance.refuse(peer, refusal{string(answered.Reason), answered.Message}) {
			s.log.Warn("a node refuses this one", "peer", peer, "reason", string(answered.Reason), "message", answered.Message)
		}
	default: // says nothing of this node's membership
	}
}

// noticeAdmission looks whether some member reports of this node as its peer, which only admitted nodes are.
func (s *session) noticeAdmission(snapshot *store.Snapshot) {
	for node, status := range snapshot.Statuses {
		_, seen := status.Peers[s.m.record.Node]
		if seen && node != s.m.record.Node && api.Fresh(snapshot.Received[node], s.a.cfg.Now()) {
			s.acceptance.admit(node)
		}
	}
}

// spreadRemoval makes sure that as many nodes as possible know of this node's removal before it falls silent.
func (s *session) spreadRemoval(ctx context.Context) {
	records := s.store.Get([]store.Key{store.TombstoneKey(s.m.record.Node)})
	if len(records) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	snapshot := s.store.Snapshot()
	done := make(chan struct{})
	count := 0
	for name := range snapshot.Members {
		if name == s.m.record.Node {
			continue
		}
		count++
		go func() {
			defer func() { done <- struct{}{} }()
			client := s.client(s.target(snapshot, name))
			defer client.Close()
			if _, err := client.Push(ctx, records); err != nil {
				// Whoever knows already does not talk to this node any more.
				s.log.Debug("a node was not told of the removal", "peer", name, "error", err)
			}
		}()
	}
	for range count {
		<-done
	}
}

// peersInGossip returns where the other members gossip.
func (s *session) peersInGossip() []netip.AddrPort {
	snapshot := s.store.Snapshot()
	port := s.ports(snapshot.Cluster).Gossip
	var out []netip.AddrPort
	for name := range snapshot.Members {
		if node, ok := snapshot.Nodes[name]; ok && name != s.m.record.Node {
			out = append(out, netip.AddrPortFrom(s.a.cfg.MeshBind(node.MeshAddress), uint16(port))) //nolint:gosec // validated
		}
	}
	return out
}
