package agent

import (
	"context"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// hungPatience is how long an application must have answered no check before what waits for it is ended. A machine that is busy for a
// moment goes on; an edge that asks another node after it, as Cloudflare does for 100 s, still has its visitor.
const hungPatience = 10 * time.Second

// serverName names an application as a proxy has it: a hostname and a node.
type serverName struct{ hostname, node string }

// releaseDead ends the requests that wait for nodes that have just been found dead.
func (s *session) releaseDead(ctx context.Context, w *proxyWatch, in input) {
	_, peers, _ := s.keeper.snapshot()
	before := w.dead
	w.dead = map[string]bool{}
	var failed []string
	defer func() {
		// The next look tries again.
		for _, node := range failed {
			delete(w.dead, node)
		}
	}()
	for _, b := range in.view.LoadBalancers {
		if b.Proxy == nil || s.a.proxies[b.Proxy.Driver] == nil {
			continue
		}
		for _, p := range b.Peers {
			seen, looked := peers[p.Name]
			dead := seen.Public != nil && seen.Public.Dead || !seen.Reachable && !seen.Alive
			if !looked || !dead {
				continue
			}
			w.dead[p.Name] = true
			if before[p.Name] {
				continue
			}
			if err := s.a.proxies[b.Proxy.Driver].Release(ctx, b.Hostname, p.Name); err != nil && ctx.Err() == nil {
				s.log.Warn("requests go on to wait for a dead node", "hostname", b.Hostname, "node", p.Name, "error", err)
				failed = append(failed, p.Name)
			}
		}
	}
}

// releaseHung ends the requests that wait for applications that hang, on this node or another one.
func (s *session) releaseHung(ctx context.Context, w *proxyWatch, in input, found map[spec.ProxyDriver]balancer.Status) {
	hung, serves := map[serverName]spec.ProxyDriver{}, map[string]bool{}
	for _, b := range in.view.LoadBalancers {
		if b.Proxy == nil {
			continue
		}
		status := found[b.Proxy.Driver]
		for _, well := range status.Services[b.Hostname] {
			serves[b.Hostname] = serves[b.Hostname] || well
		}
		for _, node := range status.Hanging[b.Hostname] {
			hung[serverName{b.Hostname, node}] = b.Proxy.Driver
		}
	}
	for _, at := range w.hangs(hung, serves, time.Now()) {
		err := s.a.proxies[hung[at]].Release(ctx, at.hostname, at.node)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.log.Warn("requests go on to wait for an application that hangs", "hostname", at.hostname, "node", at.node, "error", err)
		case !w.released[at]:
			w.released[at] = true
			s.log.Warn("an application hangs: whatever waits for it is ended", "hostname", at.hostname, "node", at.node, "since", w.hung[at])
		}
	}
}

// hangs returns the applications whose requests are to be ended now, of those that hang: those that have hung for long enough, each
// time, since a request may have come to one over a connection that was open before. While nobody serves a hostname nothing of it is
// ended: whatever comes goes to those that hang then, and is answered at best when they do not hang any more.
func (w *proxyWatch) hangs(hung map[serverName]spec.ProxyDriver, serves map[string]bool, now time.Time) []serverName {
	before, released := w.hung, w.released
	w.hung, w.released = map[serverName]time.Time{}, map[serverName]bool{}
	var end []serverName
	for at := range hung {
		since, known := before[at]
		if !known {
			since = now
		}
		w.hung[at] = since
		if released[at] {
			w.released[at] = true
		}
		if serves[at.hostname] && now.Sub(since) >= hungPatience {
			end = append(end, at)
		}
	}
	return end
}
