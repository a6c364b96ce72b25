package gossip

import (
	"context"

	"github.com/hashicorp/memberlist"
)

// Kill stops gossip without a word to the others, like a power cut.
func (g *Gossip) Kill() error { return g.stop(func() {}) }

// Config is how memberlist is configured.
func (g *Gossip) Config() *memberlist.Config { return g.config() }

// Receive takes a message as if it had come over the network.
func (g *Gossip) Receive(data []byte) { g.spread.receive(data) }

// Outbox is outbox for tests.
type Outbox = outbox

// Put is put.
func (o *Outbox) Put(ctx context.Context, peer string, send func() error) bool {
	return o.put(ctx, peer, send)
}

// Wait is wait.
func (o *Outbox) Wait() { o.wait() }

// MaxWaiting is how many answers to one peer may wait.
const MaxWaiting = maxWaiting
