package gossip

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

const (
	// soon is the pause between two rounds while something is missing or has just changed, calm the pause otherwise. Both
	// are drawn from a half to one and a half of this.
	soon = 2 * time.Second
	calm = 15 * time.Second
	// few is how many members, drawn by lot, a round asks once somebody has answered: every handshake costs both sides, and
	// the others ask in their turn.
	few = 3
	// abreast is how many members are asked at once.
	abreast = 4
)

// Syncer compares this store's digest with other nodes' from time to time. It finds what every faster way has lost,
// and it is the way that works when the mesh does not.
type Syncer struct {
	d     Direct
	seeds func() []string
}

// NewSyncer returns a Syncer, which does nothing before Run. Seeds returns endpoints (host:port) that are asked as long as
// no other node is known to answer; nil is none.
func NewSyncer(d Direct, seeds func() []string) *Syncer {
	if seeds == nil {
		seeds = func() []string { return nil }
	}
	return &Syncer{d: d.withDefaults(), seeds: seeds}
}

// Run syncs until ctx ends, and returns its error.
func (s *Syncer) Run(ctx context.Context) error {
	alone := true
	for {
		before := settledKeys(s.d.Store.Digest())
		answered, merged := s.round(ctx, alone)
		alone = answered == 0
		// A change that another agent brought may not have reached everybody: it is worth one more look.
		stirred := merged || !maps.Equal(before, settledKeys(s.d.Store.Digest()))
		missing := alone || stirred || incomplete(s.d.Store.Snapshot())
		if !s.pause(ctx, missing) {
			return ctx.Err()
		}
	}
}

// pause waits for the next round. In calm times a change of what the operator described ends it soon.
func (s *Syncer) pause(ctx context.Context, missing bool) bool {
	length := calm
	if missing {
		length = soon
	}
	timer := time.NewTimer(jitter(length))
	defer timer.Stop()
	before := settledKeys(s.d.Store.Digest())
	for {
		changed := s.d.Store.Changed()
		if !missing && !maps.Equal(before, settledKeys(s.d.Store.Digest())) {
			missing = true
			timer.Reset(jitter(soon))
		}
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-changed:
		}
	}
}

// round asks other nodes, all of them or a few, and returns how many answered and whether anything that
// they said was news.
func (s *Syncer) round(ctx context.Context, all bool) (answered int, merged bool) {
	targets := s.targets(all)
	a, m := s.ask(ctx, targets)
	if a == 0 {
		var seeds []api.Target
		for _, endpoint := range s.seeds() {
			seeds = append(seeds, api.Target{Cluster: s.d.Store.Root().Cluster, Endpoints: []string{endpoint}})
		}
		b, n := s.ask(ctx, seeds)
		return b, m || n
	}
	return a, m
}

func (s *Syncer) targets(all bool) []api.Target {
	snapshot := s.d.Store.Snapshot()
	names := slices.Collect(maps.Keys(snapshot.Nodes))
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	var out []api.Target
	for _, name := range names {
		if name == s.d.Node {
			continue
		}
		if t := s.d.Target(snapshot, name); len(t.Endpoints) > 0 {
			out = append(out, t)
		}
		if !all && len(out) == few {
			break
		}
	}
	return out
}

func (s *Syncer) ask(ctx context.Context, targets []api.Target) (answered int, merged bool) {
	var count, news atomic.Int32
	var g errgroup.Group
	g.SetLimit(abreast)
	for _, t := range targets {
		g.Go(func() error {
			client := s.d.Client(t)
			defer client.Close()
			fresh, err := s.d.exchange(ctx, client)
			if fresh {
				news.Add(1)
			}
			if ctx.Err() != nil {
				return nil
			}
			s.d.Heard(nameOf(t), err)
			if err != nil {
				s.d.Log.Debug("no exchange with a node", "peer", nameOf(t), "error", err)
				return nil
			}
			count.Add(1)
			return nil
		})
	}
	// The tasks return no errors.
	_ = g.Wait()
	return int(count.Load()), news.Load() > 0
}

func nameOf(t api.Target) string {
	if t.Node == "" {
		return t.Endpoints[0]
	}
	return t.Node
}

// incomplete tells whether the store obviously lacks something that others may have.
func incomplete(s *store.Snapshot) bool {
	if s.Cluster == nil {
		return true
	}
	for node := range s.Nodes {
		if _, member := s.Members[node]; !member {
			return true
		}
	}
	for node := range s.Members {
		if _, described := s.Nodes[node]; !described {
			return true
		}
	}
	return false
}

// settledKeys returns the part of a digest that changes only when the operator or a joining node does something.
func settledKeys(d store.Digest) store.Digest {
	out := store.Digest{}
	for k, v := range d {
		if !k.IsStatus() {
			out[k] = v
		}
	}
	return out
}

func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }
