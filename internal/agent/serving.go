package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

const (
	// servingInterval is how often fitness is judged when nothing has happened: reports of others grow old by themselves.
	servingInterval = time.Second
	// floorPatience is how long a node whose application is unwell waits before it leaves a load balancer with a floor. What
	// fails everywhere at once fails within that time, so the nodes know of each other before the first one goes; without it
	// all would go and then some of them come back.
	floorPatience = time.Second
)

// part is one part of a node that has to be well for it to serve. Problem is "" while it is; anybody may read it.
type part struct{ name, problem string }

// The names of parts.
const (
	partMembership  = "membership"
	partMesh        = "mesh"
	partMaintenance = "maintenance"
	partProxy       = "proxy"
	partApplication = "application"
)

// parts returns how the parts of the node itself are. A node is fit to serve when it stands with at least half of its
// cluster: were a single dead peer enough to call it unfit, one death would take every node out of service.
func (s *session) parts() []part {
	joined := s.keeper.get(spec.ConditionJoined)
	s.mu.Lock()
	running, reachable, peers, away := s.running, s.reachable, s.peers, s.away
	s.mu.Unlock()
	membership, inMesh, maintenance := part{name: partMembership}, part{name: partMesh}, part{name: partMaintenance}
	if !joined.Good() {
		// The whole message is in the API.
		membership.problem = joined.Reason
	}
	switch {
	case !running:
		inMesh.problem = "not running"
	case 2*(reachable+1) < peers+1:
		inMesh.problem = fmt.Sprintf("reaches %d of %d peers, less than half of the cluster with itself", reachable, peers)
	}
	if away != nil {
		maintenance.problem = "since " + away.Since.UTC().Format(time.RFC3339)
	}
	return []part{membership, inMesh, maintenance}
}

// watchServing judges how fit this node is whenever that may have changed, until ctx ends.
func (s *session) watchServing(ctx context.Context) error {
	checks := checks{s: s, running: map[string]*runningCheck{}}
	defer checks.stop()
	for {
		changed := s.store.Changed()
		next := s.judgeServing(ctx, &checks)
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-s.weigh:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// judgeServing judges once and returns how soon to do it again.
func (s *session) judgeServing(ctx context.Context, checks *checks) time.Duration {
	in := s.input()
	s.mu.Lock()
	s.away = nil
	if m, away := in.snapshot.Maintenance[s.m.record.Node]; away {
		s.away = &m
	}
	s.mu.Unlock()
	next := servingInterval
	serving, parts := map[string]spec.ServingStatus{}, map[string]map[string]string{}
	if in.view == nil && !s.fitness.judged() {
		// Without objects nothing is known of load balancers, which is not the same as that there are none.
		return next
	}
	if in.view != nil {
		checks.follow(ctx, in.view.LoadBalancers)
		for _, lb := range in.view.LoadBalancers {
			j := s.judgeBalancer(lb, in, checks)
			serving[lb.Hostname], parts[lb.Hostname] = j.status, j.parts
			if j.wait > 0 {
				next = min(next, j.wait)
			}
		}
	} else {
		serving, parts = s.fitness.all(), s.fitness.allParts()
	}
	if s.fitness.set(serving, parts, s.a.cfg.Now().UTC()) {
		s.mu.Lock()
		s.appliedVersion++
		s.mu.Unlock()
		s.urgent.Store(true)
		poke(s.poked)
	}
	return next
}

// judgement is what is judged of one load balancer.
type judgement struct {
	status spec.ServingStatus
	parts  map[string]string
	// wait is how long the judgement holds at most; 0 for as long as nothing happens.
	wait time.Duration
}

func (s *session) judgeBalancer(lb topology.LoadBalancer, in input, checks *checks) judgement {
	j := judgement{parts: map[string]string{}}
	all := s.parts()
	if lb.Proxy != nil {
		proxy := part{partProxy, s.fitness.proxy(lb.Hostname)}
		all = append(all, proxy)
		j.parts[partProxy] = sayOK(proxy.problem)
	}
	for _, p := range all {
		if p.problem != "" && j.status.Node == "" {
			j.status.Node = p.name
		}
	}
	j.status.Fit = j.status.Node == ""
	if lb.Check == nil {
		return j
	}
	app := checks.state(lb.Hostname)
	j.parts[partApplication] = "ok"
	if app.Known && app.Well {
		return j
	}
	if !app.Known {
		// There is no telling yet, which is no trouble that a floor could help against.
		j.parts[partApplication] = "not asked yet"
		j.status.Fit = false
		if j.status.Node == "" {
			j.status.Node = partApplication
		}
		return j
	}
	j.status.Application, j.parts[partApplication] = app.Detail, app.Reason
	if !j.status.Fit {
		return j
	}
	j.status.Fit = false
	if lb.MinimumNodes == 0 || !lb.Self.Enabled {
		return j
	}
	self := server{name: s.m.record.Node, application: true}
	_, peers, _ := s.keeper.snapshot()
	kept := keptInService(lb.MinimumNodes, append(others(lb, in, peers, s.outOf(lb), s.a.cfg.Now()), self))
	before, judged := s.fitness.of(lb.Hostname)
	age := time.Since(app.Since)
	switch {
	case kept[self.name]:
		j.status.Fit, j.status.Kept = true, true
		j.parts[partApplication] = fmt.Sprintf("kept in service, too few nodes would be left: %s", app.Reason)
	case judged && before.Fit && !before.Kept && age < floorPatience:
		j.status.Fit, j.wait = true, floorPatience-age
	}
	return j
}

func sayOK(problem string) string {
	if problem == "" {
		return "ok"
	}
	return problem
}

// setProxy records what is wrong with the local proxy of a hostname, "" for nothing.
func (s *session) setProxy(hostname, problem string) {
	if s.fitness.setProxy(hostname, problem) {
		poke(s.weigh)
	}
}
