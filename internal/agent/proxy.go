package agent

import (
	"context"
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

const (
	// proxyInterval is how often the proxies are looked at.
	proxyInterval = time.Second
	// gateInterval is how often the gate is looked at when nothing has changed.
	gateInterval = 20 * time.Second
	// proxySilence is how long a proxy that served must not have said that it still does until that counts, which is two looks in a
	// row: one question that goes unanswered, as on a busy machine or while it is being replaced, takes no node out of service.
	proxySilence = proxyInterval * 9 / 10
	// keptLately is how long an edge may take to find out that nodes beside one that was kept in service are well again: the slowest
	// monitors ask once a minute, and twice.
	keptLately = 2*time.Minute + 10*time.Second
)

// proxyWatch is what watchProxy remembers.
type proxyWatch struct {
	began time.Time
	// refused are the ports that the gate was told last, at a time; zero before the first.
	refused []int
	told    time.Time
	// problem is what the log was told last.
	problem string
	// silent is since when a proxy that served a hostname has not said that it does, by hostname.
	silent map[string]time.Time
	// passed is what the proxies were told to pass by last.
	passed []string
	// kept is when a floor has kept this node in service last, by hostname.
	kept map[string]time.Time
	// dead are the nodes whose requests were ended, since they were found dead.
	dead map[string]bool
	// hung is since when applications hang, and released those whose requests were ended since then.
	hung     map[serverName]time.Time
	released map[serverName]bool
}

// newProxyWatch is what is remembered at first.
func newProxyWatch(now time.Time) *proxyWatch {
	return &proxyWatch{began: now, silent: map[string]time.Time{}, kept: map[string]time.Time{}}
}

// watchProxy looks at the local proxies, tells the node's fitness of them, and closes and opens their ports to strangers as the
// fitness changes, until ctx ends.
func (s *session) watchProxy(ctx context.Context) error {
	w := newProxyWatch(time.Now())
	tick := time.NewTicker(proxyInterval)
	defer tick.Stop()
	for {
		changed := s.fitness.changed()
		if in := s.input(); in.view != nil && in.admitted {
			if passed := s.passedBy(in); !slices.Equal(passed, w.passed) {
				w.passed = passed
				poke(s.reorder)
			}
			// First what keeps visitors away: a look waits for a proxy that is being told of something.
			s.keepGate(ctx, w, in)
			found := s.lookAtProxies(ctx, w, in)
			s.releaseDead(ctx, w, in)
			s.releaseHung(ctx, w, in, found)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-s.proxied:
		case <-tick.C:
		}
	}
}

// lookAtProxies tells the node's fitness how its proxies are. Strangers may read that, so it is words; the condition Applied
// has the whole story. It returns what it has seen.
func (s *session) lookAtProxies(ctx context.Context, w *proxyWatch, in input) map[spec.ProxyDriver]balancer.Status {
	found := map[spec.ProxyDriver]balancer.Status{}
	for _, b := range in.view.LoadBalancers {
		if b.Proxy == nil {
			continue
		}
		if _, looked := found[b.Proxy.Driver]; !looked && s.a.proxies[b.Proxy.Driver] != nil {
			status, err := s.a.proxies[b.Proxy.Driver].Status(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				s.log.Warn("the proxy cannot be looked at", "error", err)
			}
			found[b.Proxy.Driver] = status
		}
		problem := s.proxyProblem(b, found[b.Proxy.Driver])
		if w.believes(b.Hostname, problem, s.fitness.proxy(b.Hostname), time.Now()) {
			s.setProxy(b.Hostname, problem)
		}
	}
	return found
}

// believes tells whether a look at a proxy counts: that one which was well until now does not serve must have been so for a while.
func (w *proxyWatch) believes(hostname, problem, before string, now time.Time) bool {
	if problem != proxyNotRunning || before != "" {
		delete(w.silent, hostname)
		return true
	}
	since, known := w.silent[hostname]
	if !known {
		w.silent[hostname] = now
		return false
	}
	return now.Sub(since) >= proxySilence
}

// proxyNotRunning is the problem of a proxy that does not say that it serves a hostname.
const proxyNotRunning = "not running"

// proxyProblem returns what is wrong with the proxy of a load balancer, "" for nothing. That it finds no application well is for
// the application's check to say, where there is one: its word is damped and has the floor, which a trouble of the node's own has
// not, and whoever stays in service is served by whatever application still answers.
func (s *session) proxyProblem(b topology.LoadBalancer, status balancer.Status) string {
	s.mu.Lock()
	trouble := s.proxyTrouble[b.Hostname]
	s.mu.Unlock()
	servers, serves := status.Services[b.Hostname]
	well := false
	for _, up := range servers {
		well = well || up
	}
	switch {
	case trouble != "":
		return trouble
	case !serves:
		return proxyNotRunning
	case !well && b.Check == nil:
		return "no node's application answers"
	}
	return ""
}

// keepGate closes the proxies' ports to strangers while this node is unfit.
func (s *session) keepGate(ctx context.Context, w *proxyWatch, in input) {
	_, peers, _ := s.keeper.snapshot()
	now := time.Now()
	for hostname, own := range s.fitness.all() {
		if own.Kept {
			w.kept[hostname] = now
		}
	}
	decide := refusalInput{
		balancers: in.view.LoadBalancers, fit: s.fitness.of, out: s.outOf,
		statuses: in.snapshot.Statuses, received: in.snapshot.Received, peers: peers, now: now, before: w.refused,
		kept: func(hostname string) bool { at, was := w.kept[hostname]; return was && now.Sub(at) < keptLately },
	}
	if now.Sub(w.began) < settling {
		// A node that has just started has not heard from anybody yet. That is no news about its fitness.
		decide.fit = func(hostname string) (spec.ServingStatus, bool) {
			own, known := s.fitness.of(hostname)
			return own, known && own.Fit
		}
	}
	if w.told.IsZero() {
		before, err := s.a.gate.Refused(ctx)
		if err != nil {
			s.log.Warn("nobody knows which connections are refused", "error", err)
		}
		decide.before = before
	}
	ports := refusedPorts(decide)
	if !w.told.IsZero() && slices.Equal(ports, w.refused) && (len(ports) == 0 || now.Sub(w.told) < gateInterval) {
		return
	}
	if err := s.a.gate.Refuse(ctx, ports, append(balancer.Inside(), in.view.CIDR)); err != nil {
		if text := err.Error(); ctx.Err() == nil && text != w.problem {
			w.problem = text
			s.log.Error("connections are not refused as they should be", "ports", ports, "error", err)
		}
		return
	}
	w.problem = ""
	if !slices.Equal(ports, w.refused) {
		s.log.Info("refusing connections from outside", "ports", ports)
	}
	w.refused, w.told = ports, now
}
