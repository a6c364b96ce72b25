package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// proxyStep keeps the proxies in front of the applications.
type proxyStep struct {
	s *session
}

func (proxyStep) name() string { return "proxy" }

func (p proxyStep) reconcile(ctx context.Context, in input) error {
	// While objects are missing, or others do not believe this node, what is there stays.
	if in.view == nil || !in.admitted {
		return nil
	}
	trouble := map[string]string{}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(p.s.a.proxies)) {
		c, bad := balancer.Derive(balancer.Input{
			Driver: name, View: in.view, Key: p.s.a.keys.pem,
			Unwell:  func(hostname, node string) bool { return p.s.servingOf(in, hostname, node).Application != "" },
			Without: func(hostname, node string) bool { return p.s.lacks(in, hostname, node) },
		})
		for _, hostname := range slices.Sorted(maps.Keys(bad)) {
			// Only the operator's next apply can mend it, which waits for nodes that are made again to be as described.
			trouble[hostname] = "no certificate"
			if p.told(hostname) != trouble[hostname] {
				p.s.log.Warn("the proxy cannot serve HTTPS", "hostname", hostname, "problem", bad[hostname])
			}
		}
		err := p.s.a.proxies[name].Apply(ctx, c)
		var taken *balancer.PortsTakenError
		if errors.As(err, &taken) && c != nil {
			for _, s := range c.Services {
				if taken.At[s.Port] != "" || taken.At[s.TLSPort] != "" {
					trouble[s.Hostname] = "port in use"
				}
			}
		}
		problems = append(problems, err)
	}
	tls := map[string]bool{}
	for _, b := range in.view.LoadBalancers {
		if b.Proxy == nil {
			continue
		}
		if _, known := p.s.a.proxies[b.Proxy.Driver]; !known {
			trouble[b.Hostname] = "unknown to this agent"
			problems = append(problems, fmt.Errorf("proxy of %s: this agent (version %s) does not know driver %q: update it", b.Hostname, p.s.a.cfg.Version, b.Proxy.Driver))
		}
		tls[b.Hostname] = b.Proxy.TLSPort != 0
	}
	if !host.Recording(p.s.a.cfg.System) {
		problems = append(problems, p.s.a.keys.sweep(tls))
	}
	p.s.mu.Lock()
	p.s.proxyTrouble = trouble
	p.s.mu.Unlock()
	poke(p.s.proxied)
	return errors.Join(problems...)
}

// servingOf returns how fit a node is to serve a hostname by its own word; of this node it is what was found last.
func (s *session) servingOf(in input, hostname, node string) spec.ServingStatus {
	if node == s.m.record.Node {
		if own, known := s.fitness.of(hostname); known {
			return own
		}
	}
	return in.snapshot.Statuses[node].Serving[hostname]
}

// lacks tells whether a node is without something that its application needs. Where this node has lost the database, another one that has
// lost its way to it, too, is no better, though it may call itself fit for a moment longer: what all lose at once is to change nothing.
func (s *session) lacks(in input, hostname, node string) bool {
	if trouble := s.servingOf(in, hostname, node).Node; trouble == partDatabase || trouble == partFiles {
		return true
	}
	return s.servingOf(in, hostname, s.m.record.Node).Node == partDatabase && lostDatabase(in.snapshot.Statuses[node])
}

// passedBy returns which applications the proxies here ask only when there is nobody else, each as hostname and node, in order. Visitors
// are on connections through the proxy that were made before, which nobody refuses: what changes here concerns them at once.
func (s *session) passedBy(in input) []string {
	var out []string
	for _, b := range in.view.LoadBalancers {
		if b.Proxy == nil {
			continue
		}
		asked := b.Check == nil || b.Check.Type != spec.CheckCommand // by the proxy itself
		for _, node := range b.Nodes {
			if s.lacks(in, b.Hostname, node) || !asked && s.servingOf(in, b.Hostname, node).Application != "" {
				out = append(out, b.Hostname+" "+node)
			}
		}
	}
	return out
}

// told returns what was wrong with a load balancer's proxy up to now.
func (p proxyStep) told(hostname string) string {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.s.proxyTrouble[hostname]
}

// proxyPorts returns the ports of local proxies.
func proxyPorts(v *topology.View) []int {
	var out []int
	for _, b := range v.LoadBalancers {
		if b.Proxy == nil {
			continue
		}
		for _, port := range []int{b.Proxy.Port, b.Proxy.TLSPort} {
			if port != 0 {
				out = append(out, port)
			}
		}
	}
	return out
}
