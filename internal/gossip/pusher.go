package gossip

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// How long a peer that does not answer is left alone, with jitter.
const (
	firstPause = 200 * time.Millisecond
	mostPause  = 15 * time.Second
)

// Pusher sends every record that this node is the first to know to every other member, and again until the member has
// acknowledged it. One goroutine serves one peer; all that it remembers of it are versions, and of one that does not
// answer not even those: when it is back, the difference is found by comparing digests.
type Pusher struct {
	d Direct

	mu    sync.Mutex
	peers map[string]bool
}

// NewPusher returns a Pusher, which does nothing before Run.
func NewPusher(d Direct) *Pusher { return &Pusher{d: d.withDefaults(), peers: map[string]bool{}} }

// Run pushes until ctx ends, and returns its error.
func (p *Pusher) Run(ctx context.Context) error {
	var peers sync.WaitGroup
	defer peers.Wait()
	for {
		changed := p.d.Store.Changed()
		s := p.d.Store.Snapshot()
		for node := range s.Members {
			if _, described := s.Nodes[node]; !described || node == p.d.Node || !p.begin(node) {
				continue
			}
			peers.Go(func() {
				defer p.end(node)
				p.serve(ctx, node)
			})
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (p *Pusher) begin(node string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.peers[node] {
		return false
	}
	p.peers[node] = true
	return true
}

func (p *Pusher) end(node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.peers, node)
}

// serve keeps one peer up to date until it is no member any more or ctx ends.
func (p *Pusher) serve(ctx context.Context, node string) {
	peer := &peer{d: p.d, node: node}
	defer peer.close()
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstPause, mostPause
	for ctx.Err() == nil {
		changed := p.d.Store.Changed()
		s := p.d.Store.Snapshot()
		if _, member := s.Members[node]; !member {
			return
		}
		if err := peer.update(ctx, p.d.Target(s, node)); err != nil {
			if ctx.Err() != nil {
				return
			}
			p.d.Log.Debug("a member was not reached", "peer", node, "error", err)
			if !sleep(ctx, pause.NextBackOff()) {
				return
			}
			continue
		}
		pause.Reset()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// peer is what a Pusher remembers of one member.
type peer struct {
	d      Direct
	node   string
	target api.Target
	client *api.Client
	// acked holds what the peer is known to have, or to have refused; nil when nothing is known of it.
	acked store.Digest
}

// update brings the peer to what this store holds locally.
func (p *peer) update(ctx context.Context, target api.Target) error {
	if p.client == nil || !same(target, p.target) {
		p.close()
		p.target, p.client = target, p.d.Client(target)
	}
	local := p.d.Store.Local()
	if p.acked == nil {
		_, err := p.d.exchange(ctx, p.client)
		p.d.Heard(p.node, err)
		if err == nil {
			p.acked = local
		}
		return err
	}
	var keys []store.Key
	for k, v := range local {
		if p.acked[k] != v {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return p.push(ctx, keys, local)
}

func (p *peer) push(ctx context.Context, keys []store.Key, local store.Digest) error {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	out, err := p.client.Push(ctx, p.d.Store.Get(keys))
	p.d.Heard(p.node, err)
	if err != nil {
		p.acked = nil
		p.d.heed(err)
		return err
	}
	behind := false
	for _, o := range out {
		if o.Settled() {
			behind = behind || o.Result == store.Older && p.d.Store.Digest()[o.Key] == local[o.Key]
			continue
		}
		p.d.Log.Debug("a member refused a record", "peer", p.node, "key", string(o.Key), "reason", string(o.Reason), "message", o.Message)
		if retryable(o) {
			p.acked = nil
			return fmt.Errorf("push %s: %w", o.Key, errors.New(o.Message))
		}
	}
	for _, k := range keys {
		p.acked[k] = local[k]
	}
	if behind {
		// The peer has what supersedes this node's own word: another run's object, or a second machine's report as this node.
		if _, err := p.d.exchange(ctx, p.client); err != nil {
			p.acked = nil // or nobody would ask for it again
			return err
		}
	}
	return nil
}

func (p *peer) close() {
	if p.client != nil {
		p.client.Close()
	}
	p.client, p.acked = nil, nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// retryable tells whether a refused record may be taken later although nothing about it changes: the peer's disk was full,
// or it does not know the member yet.
func retryable(o store.Outcome) bool {
	return o.Reason == trust.ReasonStorage || o.Reason == trust.ReasonUnknownMember
}
