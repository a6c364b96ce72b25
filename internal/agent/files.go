package agent

import (
	"context"
	"net"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/pairs"
	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/place"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// pairInterval is how often it is judged how pairs are when nothing has happened: what is damped goes by time.
const pairInterval = time.Second

func (s *session) newPairs() *pairs.Manager {
	return pairs.New(pairs.Config{
		Node: s.m.record.Node, Before: s.store.Snapshot().Statuses[s.m.record.Node], Drivers: s.a.replications, See: s.seePairs, Canary: s.askCanary, Now: s.a.cfg.Now, Log: s.log,
		Changed: func(urgent bool) {
			s.mu.Lock()
			s.appliedVersion++
			s.mu.Unlock()
			if urgent {
				s.urgent.Store(true)
				poke(s.poked)
			}
			poke(s.paired)
		},
	})
}

// seePairs returns what the keeper of pairs has to know.
func (s *session) seePairs() pairs.Sight {
	in := s.input()
	_, peers, _ := s.keeper.snapshot()
	s.mu.Lock()
	running := s.running
	s.mu.Unlock()
	out := pairs.Sight{
		Known: in.view != nil && in.admitted, Order: in.snapshot.Generations[spec.Ref{Kind: spec.KindMaintenance, Name: s.m.record.Node}], Statuses: in.snapshot.Statuses, Received: in.snapshot.Received,
		Reaches: func(node string) bool { return peers[node].Reachable },
		Dead: func(node string) bool {
			_, away := in.snapshot.Maintenance[node]
			seen := peers[node]
			return running && !away && !seen.Reachable && !seen.Alive && !api.Fresh(in.snapshot.Received[node], s.a.cfg.Now())
		},
		Lost: s.lostMesh() != "",
	}
	out.Gone = func(string) bool { return false }
	if in.view != nil {
		names := members(in.view)
		out.Gone = func(node string) bool {
			return pairs.Gone(node, s.m.record.Node, names, peers, in.snapshot.Statuses, func(name string) bool { return api.Fresh(in.snapshot.Received[name], s.a.cfg.Now()) })
		}
		out.Pairs = in.view.Pairs
		_, out.Away = in.view.Maintenance[s.m.record.Node]
	}
	return out
}

// members are the names of all admitted nodes, this one included.
func members(v *topology.View) []string {
	names := []string{v.Self.Name}
	for _, p := range v.Peers {
		names = append(names, p.Name)
	}
	return names
}

// judgePairs says how this node's sides of pairs are, until ctx ends.
func (s *session) judgePairs(ctx context.Context) error {
	tick := time.NewTicker(pairInterval)
	defer tick.Stop()
	var before pairs.Fitness
	for {
		switch status, reason, message, pending := s.pairs.Condition(); {
		case pending:
		case status == "":
			s.keeper.unset(spec.ConditionFilesReady)
		default:
			s.keeper.set(spec.ConditionFilesReady, status, reason, "%s", message)
		}
		if now := s.pairs.Health(); now != before {
			before = now
			poke(s.weigh)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.paired:
		case <-tick.C:
		}
	}
}

// filesPart is the pairs' part of the node's health, if it has any.
func (s *session) filesPart() []part {
	// What pairs have to know takes a view of the whole cluster, and every other node of a load balancer asks for this twice a second.
	if len(s.store.Snapshot().Pairs) == 0 {
		return nil
	}
	now := s.pairs.Health()
	if now.None {
		return nil
	}
	return []part{{name: partFiles, problem: now.Problem, barred: now.Barred}}
}

// Canary implements api.Streamer.
func (b backend) Canary(ctx context.Context, pair, node, after string) (string, error) {
	return b.s.pairs.Canary(ctx, pair, node, after)
}

// Stream implements api.Streamer.
func (b backend) Stream(pair, node string) (func(net.Conn), error) {
	return b.s.pairs.Stream(pair, node)
}

// ColdStream implements api.ColdStreamer.
func (b backend) ColdStream(pair, node string) (func(net.Conn), error) {
	return b.s.pairs.ColdStream(pair, node)
}

// Digest implements api.Digester.
func (b backend) Digest(ctx context.Context, pair string, r digest.Request) (digest.Result, error) {
	return b.s.pairs.Digest(ctx, pair, r)
}

// Directory implements api.Digester.
func (b backend) Directory(ctx context.Context, pair string, part digest.Part, path string) (digest.Directory, error) {
	return b.s.pairs.Directory(ctx, pair, part, path)
}

// Place implements api.Placer.
func (b backend) Place(ctx context.Context, path string) (place.Facts, error) {
	return b.s.a.cfg.Look(ctx, path)
}
