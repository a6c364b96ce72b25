package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

const (
	// lookupTimeout bounds the wait for the name servers, per host name.
	lookupTimeout = 2 * time.Second
	// An answer is used for lookupEvery; after a failure the next question waits for lookupRetry.
	lookupEvery = time.Minute
	lookupRetry = 10 * time.Second
)

// Resolver turns the host names of peers into addresses, for drivers whose programs must not wait for name servers. It
// keeps the last answer for each name, for when the name servers are away. It is not safe for concurrent use.
type Resolver struct {
	lookup   func(ctx context.Context, host string) ([]netip.Addr, error)
	resolved map[string]resolution
}

// resolution is what a host name stood for when it was last asked.
type resolution struct {
	ips []netip.Addr
	at  time.Time
	err error
}

// NewResolver returns a resolver that asks lookup, the system's resolver if nil.
func NewResolver(lookup func(ctx context.Context, host string) ([]netip.Addr, error)) *Resolver {
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	return &Resolver{lookup: lookup, resolved: map[string]resolution{}}
}

// Update brings what is known of the addresses of a view's peers up to date, and forgets all others. The error names those
// that nothing is known of; all others hold.
func (r *Resolver) Update(ctx context.Context, v *topology.View) error {
	var problems []error
	fresh := map[string]resolution{}
	for _, p := range v.Peers {
		for _, host := range p.Addresses {
			answer, done := fresh[host]
			if !done {
				answer = r.ask(ctx, host)
				fresh[host] = answer
			}
			if len(answer.ips) == 0 {
				problems = append(problems, fmt.Errorf("address of node %q: %w", p.Name, answer.err))
			}
		}
	}
	r.resolved = fresh
	return errors.Join(problems...)
}

// Addresses returns the IP addresses of a peer, best first, each once.
func (r *Resolver) Addresses(p topology.Peer) []netip.Addr {
	var out []netip.Addr
	for _, host := range p.Addresses {
		for _, ip := range r.resolved[host].ips {
			if ip = ip.Unmap(); !slices.Contains(out, ip) {
				out = append(out, ip)
			}
		}
	}
	return out
}

func (r *Resolver) ask(ctx context.Context, host string) resolution {
	if ip, err := netip.ParseAddr(host); err == nil {
		return resolution{ips: []netip.Addr{ip}}
	}
	last, known := r.resolved[host]
	age := time.Since(last.at)
	if known && (age < lookupRetry || (last.err == nil && age < lookupEvery)) {
		return last
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	ips, err := r.lookup(ctx, host)
	if err == nil && len(ips) == 0 {
		err = fmt.Errorf("host name %s has no address", host)
	}
	if err != nil {
		return resolution{ips: last.ips, at: time.Now(), err: err}
	}
	// Name servers answer in any order; a fixed one keeps files as they are.
	ips = slices.Clone(ips)
	slices.SortFunc(ips, netip.Addr.Compare)
	return resolution{ips: ips, at: time.Now()}
}
