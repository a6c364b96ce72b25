package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/appcheck"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

const (
	// servingInterval is how often fitness is judged when nothing has happened: reports of others grow old by themselves.
	servingInterval = time.Second
	// lostInterval is how often while this node has no way to the database, which may begin to count at any time.
	lostInterval = 200 * time.Millisecond
	// floorPatience is how long a node whose application is unwell waits before it leaves a load balancer with a floor. What
	// fails everywhere at once fails within that time, so the nodes know of each other before the first one goes; without it
	// all would go and then some of them come back. Of the database they know of each other before it counts.
	floorPatience = time.Second
)

// part is one part of a node that has to be well for it to serve. Problem is "" while it is; anybody may read it. Barred tells that it
// counts also where a floor helps against others of its name.
type part struct {
	name, problem string
	barred        bool
}

// The names of parts.
const (
	partMembership  = "membership"
	partMesh        = "mesh"
	partMaintenance = "maintenance"
	partProxy       = "proxy"
	partApplication = "application"
	partDatabase    = "database"
	partFiles       = "files"
)

// parts returns how the parts of the node itself are. A node is fit to serve when it stands with at least half of its
// cluster: were a single dead peer enough to call it unfit, one death would take every node out of service.
func (s *session) parts() []part {
	joined := s.keeper.get(spec.ConditionJoined)
	membership, inMesh, maintenance := part{name: partMembership}, part{name: partMesh, problem: s.lostMesh()}, part{name: partMaintenance}
	s.mu.Lock()
	away := s.away
	s.mu.Unlock()
	if !joined.Good() {
		// The whole message is in the API.
		membership.problem = joined.Reason
	}
	if away != nil {
		maintenance.problem = "since " + away.Since.UTC().Format(time.RFC3339)
	}
	return append(append([]part{membership, inMesh, maintenance}, s.databasePart()...), s.filesPart()...)
}

// lostMesh says how the node has lost the mesh, "" while it stands with at least half of its cluster.
func (s *session) lostMesh() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.running:
		return "not running"
	case 2*(s.reachable+1) < s.peers+1:
		return fmt.Sprintf("reaches %d of %d peers, less than half of the cluster with itself", s.reachable, s.peers)
	}
	return ""
}

// watchServing judges how fit this node is whenever that may have changed, until ctx ends.
func (s *session) watchServing(ctx context.Context) error {
	checks := checks{s: s, running: map[string]*runningCheck{}, since: map[string]time.Time{}}
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
	if lostDatabase(in.snapshot.Statuses[s.m.record.Node]) {
		next = lostInterval
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
		proxy := part{name: partProxy, problem: s.fitness.proxy(lb.Hostname)}
		all = append(all, proxy)
		j.parts[partProxy] = sayOK(proxy.problem)
	}
	_, peers, _ := s.keeper.snapshot()
	s.lost.found(peers)
	bad := s.troubles(all, lb, in, peers)
	j.status.Node, j.status.Fit, j.status.Barred = bad.name, bad.name == "", bad.barred
	trouble, asked := s.checkOf(lb, checks, &j)
	since := checks.troubled(lb.Hostname, !j.status.Fit || trouble != nil)
	if !asked || !bad.keepable || bad.name == "" && trouble == nil {
		return j
	}
	j.status.Fit = false
	if lb.MinimumNodes == 0 || !lb.Self.Enabled {
		return j
	}
	self := server{name: s.m.record.Node, keepable: true}
	kept := keptInService(lb.MinimumNodes, append(others(lb, in, peers, s.outOf(lb), s.a.cfg.Now(), bad.problems), self))
	before, judged := s.fitness.of(lb.Hostname)
	age := time.Since(since)
	switch {
	case kept[self.name]:
		j.status.Fit, j.status.Kept = true, true
		for name, problem := range bad.problems {
			j.parts[name] = keptText + problem
		}
		if trouble != nil {
			j.parts[partApplication] = keptText + trouble.Reason
		}
	case (trouble != nil || bad.problems[partFiles] != "") && bad.name != partMesh && judged && before.Fit && !before.Kept && age < floorPatience:
		j.status.Fit, j.wait = true, floorPatience-age
	}
	return j
}

// keptText begins what the health endpoint says of a part that would keep the node from serving if there were others.
const keptText = "kept in service, too few nodes would be left: "

// troubles is what is wrong with the node itself.
type troubles struct {
	// name is the part that counts, "" when all are well.
	name string
	// problems holds what is wrong, by the names of parts.
	problems map[string]string
	// keepable tells that a floor may help against all of it.
	keepable bool
	// barred tells that none helps against the part of that name alone.
	barred bool
}

// troubles looks for parts of the node that keep it from serving a load balancer. A floor may help against the loss of others who are
// dead for all that can be known, and against that of the database: what all nodes have lost at once is not made better by taking
// all of them away. The same holds for files that are not kept equal any more, but not after a maintenance, whose end is to be seen when
// everything is everywhere. But that all have lost the database takes hearing all: a node that has lost others and the database may be in
// the half of a cluster that cannot write, while visitors are served by the other half. The database and files count last, so that who
// has no other trouble can be told from the part that counts.
func (s *session) troubles(all []part, lb topology.LoadBalancer, in input, peers map[string]spec.PeerStatus) troubles {
	t := troubles{problems: map[string]string{}, keepable: true}
	for _, p := range all {
		if p.problem == "" {
			continue
		}
		t.problems[p.name] = p.problem
		if t.name == "" || t.name == partDatabase || t.name == partFiles {
			t.name = p.name
		}
		switch p.name {
		case partDatabase:
			t.keepable = t.keepable && hearsAll(lb, in, peers, s.outOf(lb), s.a.cfg.Now())
		case partFiles:
			t.keepable, t.barred = t.keepable && !p.barred, p.barred
		case partMesh:
			t.keepable = t.keepable && s.findsOthersDead(lb, in, peers)
		default:
			t.keepable = false
		}
	}
	return t
}

// checkOf puts what the application's check says into a judgement, and returns it when the application is unwell, which a floor may
// help against. Asked is false while the application was not asked yet.
func (s *session) checkOf(lb topology.LoadBalancer, checks *checks, j *judgement) (trouble *appcheck.State, asked bool) {
	if lb.Check == nil {
		return nil, true
	}
	app := checks.state(lb.Hostname)
	switch {
	case !app.Known:
		// There is no telling yet, which is no trouble that a floor could help against.
		j.parts[partApplication] = "not asked yet"
		j.status.Fit = false
		if j.status.Node == "" {
			j.status.Node = partApplication
		}
		return nil, false
	case app.Well:
		j.parts[partApplication] = "ok"
		return nil, true
	}
	j.status.Application, j.parts[partApplication] = app.Detail, app.Reason
	return &app, true
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
