package gossip

import (
	"context"
	"sync"
)

// maxWaiting is how many answers to one peer may wait. What finds the queue full is dropped; the next exchange repairs that.
const maxWaiting = 32

// outbox sends to each peer in the order given, and to all of them at once: a peer that is dead or reached one way only
// holds up no answer but its own. Its zero value is ready; it is safe for concurrent use.
type outbox struct {
	mu      sync.Mutex
	waiting map[string][]func() error
	senders sync.WaitGroup
}

// put queues one send and says whether there was room. After a send has failed, what waits for that peer is dropped, since
// each further one would take as long to fail.
func (o *outbox) put(ctx context.Context, peer string, send func() error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiting == nil {
		o.waiting = map[string][]func() error{}
	}
	queue, busy := o.waiting[peer]
	if len(queue) >= maxWaiting {
		return false
	}
	o.waiting[peer] = append(queue, send)
	if !busy {
		o.senders.Go(func() { o.serve(ctx, peer) })
	}
	return true
}

// serve sends what waits for one peer and ends when that is nothing.
func (o *outbox) serve(ctx context.Context, peer string) {
	failed := false
	for {
		o.mu.Lock()
		queue := o.waiting[peer]
		if failed || ctx.Err() != nil || len(queue) == 0 {
			delete(o.waiting, peer)
			o.mu.Unlock()
			return
		}
		o.waiting[peer] = queue[1:]
		o.mu.Unlock()
		failed = queue[0]() != nil
	}
}

// wait returns when nothing is being sent any more.
func (o *outbox) wait() { o.senders.Wait() }
