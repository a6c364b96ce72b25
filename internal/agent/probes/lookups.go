package probes

import (
	"context"
	"net/netip"
	"sync"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// lookups has the addresses of peers looked up beside everything else: name servers may be as far away as the peer that is to be
// left. Its methods are for one goroutine.
type lookups struct {
	done sync.WaitGroup

	mu   sync.Mutex
	busy bool
	// resolver belongs to whoever has set busy.
	resolver *mesh.Resolver
	known    map[string][]netip.Addr
}

// addresses returns what was found out last, by the names of peers; those that were not looked up yet are not in it. It has them looked
// up anew, which takes no time where all are addresses.
func (l *lookups) addresses(ctx context.Context, view *topology.View) map[string][]netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy {
		return l.known
	}
	if !named(view) {
		l.known = l.look(ctx, view)
		return l.known
	}
	l.busy = true
	l.done.Go(func() {
		known := l.look(ctx, view)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.known, l.busy = known, false
	})
	return l.known
}

func (l *lookups) look(ctx context.Context, view *topology.View) map[string][]netip.Addr {
	// What cannot be resolved is said where the link is judged.
	_ = l.resolver.Update(ctx, view)
	known := map[string][]netip.Addr{}
	for _, p := range view.Peers {
		known[p.Name] = l.resolver.Addresses(p)
	}
	return known
}

// named tells whether an address of a peer is a host name.
func named(view *topology.View) bool {
	for _, p := range view.Peers {
		for _, a := range p.Addresses {
			if _, err := netip.ParseAddr(a); err != nil {
				return true
			}
		}
	}
	return false
}
