package agent

import (
	"context"
	"reflect"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/appcheck"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// checks are the running checks of this node's applications, by hostname. Only watchServing uses it.
type checks struct {
	s       *session
	running map[string]*runningCheck
	// since is when something was first wrong with what serves a hostname, by hostname.
	since map[string]time.Time
}

type runningCheck struct {
	*appcheck.Watcher
	check  spec.ApplicationCheck
	target appcheck.Target
}

// follow makes exactly the checks run that the load balancers want.
func (c *checks) follow(ctx context.Context, balancers []topology.LoadBalancer) {
	wanted := map[string]bool{}
	for _, lb := range balancers {
		if lb.Check == nil {
			continue
		}
		wanted[lb.Hostname] = true
		target := appcheck.Target{Hostname: lb.Hostname, Port: lb.Self.Port}
		if host := c.s.a.cfg.Listen; host != "" {
			target.Addresses = []string{host}
		}
		old := c.running[lb.Hostname]
		if old != nil && reflect.DeepEqual(old.check, *lb.Check) && reflect.DeepEqual(old.target, target) {
			continue
		}
		// What was found before holds until the new check has found something else.
		before := c.s.fitness.resumed(lb.Hostname)
		if old != nil {
			before = old.State()
			old.Stop()
		}
		prober := appcheck.NewProber(target, *lb.Check, c.s.a.cfg.Commands)
		c.running[lb.Hostname] = &runningCheck{
			Watcher: appcheck.Watch(ctx, prober, before, func() { poke(c.s.weigh) }), check: *lb.Check, target: target,
		}
	}
	for hostname, check := range c.running {
		if !wanted[hostname] {
			check.Stop()
			delete(c.running, hostname)
		}
	}
}

// troubled notes whether something is wrong with what serves a hostname, and returns since when.
func (c *checks) troubled(hostname string, bad bool) time.Time {
	if !bad {
		delete(c.since, hostname)
		return time.Time{}
	}
	if c.since[hostname].IsZero() {
		c.since[hostname] = time.Now()
	}
	return c.since[hostname]
}

// state returns what is known of the application of a hostname.
func (c *checks) state(hostname string) appcheck.State {
	if check := c.running[hostname]; check != nil {
		return check.State()
	}
	return appcheck.State{}
}

func (c *checks) stop() {
	for _, check := range c.running {
		check.Stop()
	}
}
