package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/edge"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// sightInterval is how often the nodes of load balancers are judged when nothing has happened: reports grow old by themselves.
const sightInterval = time.Second

// remover keeps dead nodes out of this node's load balancers at the vendor, each by an actor of its own: one whose vendor does not
// answer does not hold up another.
type remover struct {
	s      *session
	heard  edge.Heard
	actors map[string]*runningActor

	mu     sync.Mutex
	states map[string]edge.State
}

// runningActor is the actor of one load balancer.
type runningActor struct {
	// sights holds the newest sight that the actor has not taken yet.
	sights chan edge.Sight
	cancel context.CancelFunc
}

// removeDead gives the actors what they judge by, and begins and ends them, until ctx ends.
func (s *session) removeDead(ctx context.Context) error {
	r := &remover{s: s, actors: map[string]*runningActor{}, states: map[string]edge.State{}}
	var work sync.WaitGroup
	defer work.Wait()
	tick := time.NewTicker(sightInterval)
	defer tick.Stop()
	for {
		changed, urgent, fitness := s.store.Changed(), s.keeper.changed(), s.fitness.changed()
		r.round(ctx, &work)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-urgent:
		case <-fitness:
		case <-tick.C:
		}
	}
}

func (r *remover) round(ctx context.Context, work *sync.WaitGroup) {
	self := r.s.m.record.Node
	snapshot := r.s.store.Snapshot()
	reports := r.heard.Fresh(snapshot.Statuses, time.Now())
	conditions, peers, _ := r.s.keeper.snapshot()
	reports[self] = spec.Status{Node: self, Conditions: conditions, Peers: peers, Serving: r.s.fitness.all()}
	wanted := map[string]spec.LoadBalancer{}
	for hostname, lb := range snapshot.LoadBalancers {
		if _, ours := lb.Nodes[self]; !ours || lb.Removal == nil {
			continue
		}
		wanted[hostname] = lb
	}
	for hostname, lb := range wanted {
		running := r.actors[hostname]
		if running == nil {
			actorCtx, cancel := context.WithCancel(ctx)
			running = &runningActor{sights: make(chan edge.Sight, 1), cancel: cancel}
			r.actors[hostname] = running
			work.Go(func() { r.run(actorCtx, hostname, running.sights) })
		}
		select {
		case <-running.sights:
		default:
		}
		running.sights <- edge.Sight{Self: self, Hostname: hostname, Balancer: lb, Balancers: len(wanted), Reports: reports}
	}
	for hostname, running := range r.actors {
		if _, still := wanted[hostname]; !still {
			running.cancel()
			delete(r.actors, hostname)
		}
	}
	r.tell(wanted)
}

// run is the life of one load balancer's actor.
func (r *remover) run(ctx context.Context, hostname string, sights <-chan edge.Sight) {
	actor := edge.NewActor(edge.Config{
		Self: r.s.m.record.Node, Open: r.s.a.cfg.Edge, Unseal: r.s.m.identity.Open, Log: r.s.log,
	})
	defer r.s.setOut(hostname, nil)
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case sight := <-sights:
			state := actor.Step(ctx, sight)
			if ctx.Err() != nil {
				return
			}
			r.s.setOut(hostname, state.Out)
			// Before others were heard nothing is wrong.
			if state.Status != spec.ConditionUnknown || time.Since(began) > edge.FreshFor {
				r.mu.Lock()
				r.states[hostname] = state
				r.mu.Unlock()
			}
		}
	}
}

// setOut records which nodes of a load balancer get no traffic from the vendor, as far as this one knows.
func (s *session) setOut(hostname string, nodes []string) {
	s.mu.Lock()
	changed := !slices.Equal(s.out[hostname], nodes)
	if s.out == nil {
		s.out = map[string][]string{}
	}
	s.out[hostname] = nodes
	s.mu.Unlock()
	if changed {
		poke(s.weigh)
		poke(s.proxied)
	}
}

// outOf returns what setOut recorded last, nothing for a load balancer whose nodes do not remove dead ones.
func (s *session) outOf(lb topology.LoadBalancer) []string {
	if lb.Removal == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out[lb.Hostname]
}

// tell sets the condition of the load balancers with actors, which is that of the worst one.
func (r *remover) tell(wanted map[string]spec.LoadBalancer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.states, func(hostname string, _ edge.State) bool {
		_, still := wanted[hostname]
		return !still
	})
	if len(wanted) == 0 {
		r.s.keeper.unset(spec.ConditionEdgeReady)
		return
	}
	if len(r.states) == 0 {
		return
	}
	order := []spec.ConditionStatus{spec.ConditionFalse, spec.ConditionUnknown, spec.ConditionTrue}
	hostnames := slices.SortedFunc(maps.Keys(r.states), func(a, b string) int {
		worse := slices.Index(order, r.states[a].Status) - slices.Index(order, r.states[b].Status)
		if worse != 0 {
			return worse
		}
		return strings.Compare(a, b)
	})
	var texts []string
	for _, hostname := range hostnames {
		if text := r.states[hostname].Message; text != "" {
			texts = append(texts, fmt.Sprintf("%s: %s", hostname, text))
		}
	}
	worst := r.states[hostnames[0]]
	reason := worst.Reason
	for _, hostname := range hostnames[1:] {
		// That an endpoint is removed is worth more than that all is ready elsewhere.
		if st := r.states[hostname]; st.Status == worst.Status && reason == "Ready" {
			reason = st.Reason
		}
	}
	r.s.keeper.set(spec.ConditionEdgeReady, worst.Status, reason, "%s", strings.Join(texts, "; "))
}
