package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// How often the steps run when nothing has changed, and how soon after a failure.
const (
	resyncInterval  = 10 * time.Second
	retryFirst      = 250 * time.Millisecond
	retryMost       = 30 * time.Second
	stepPatience    = 2 * time.Minute
	maxProblemsTold = 5
)

// step keeps one part of the node as the cluster describes it. Reconcile may be called any number of times with the same
// input and then changes nothing; it repairs what was broken meanwhile and removes what is not wanted any more.
type step interface {
	// name is one or two words for people.
	name() string
	reconcile(ctx context.Context, in input) error
}

// input is everything that steps act on.
type input struct {
	snapshot *store.Snapshot
	// view is this node's view of the cluster, nil while the cluster's or the node's own object is missing.
	view *topology.View
	// admitted tells whether this node's identity is admitted, as far as it knows.
	admitted bool
}

// steps is what an agent does, in this order.
func (s *session) steps() []step {
	return append([]step{portsStep{s}}, append(s.hostSteps(), gossipStep{s}, mapStep{s})...)
}

// hostSteps are those steps that change the machine, which is what a plan shows.
func (s *session) hostSteps() []step {
	return []step{
		guardStep{system: s.a.cfg.System, machine: s.a.cfg.Machine},
		firewallStep{system: s.a.cfg.System, ports: func(in input) openPorts {
			return memberPorts(s.ports(in.snapshot.Cluster), in.snapshot.Cluster, in.view)
		}},
		filterStep{s},
		meshStep{s},
		proxyStep{s},
		filesStep{s},
	}
}

// loop runs the steps whenever something may have changed, until the node is removed from the cluster or ctx ends.
func (s *session) loop(ctx context.Context) error {
	steps := s.steps()
	retry := retryFirst
	var failed []string
	var done store.Digest
	var next time.Time
	var keys string
	for {
		changed := s.store.Changed()
		// The digest is taken before what is acted on: what comes in between makes the steps run once more, not once less.
		desired := desiredState(s.store.Digest())
		in := s.input()
		if d, removed := s.removal(in.snapshot); removed {
			return s.depart(ctx, d)
		}
		// Statuses arrive all the time; only what the node is to be like makes the steps run, and what others say of their keys.
		news := s.keyNews(in.snapshot)
		if !maps.Equal(desired, done) || news != keys || !time.Now().Before(next) {
			keys = news
			failed = s.reconcile(ctx, steps, in)
			if s.cut != nil {
				return s.cut
			}
			pause := resyncInterval
			if len(failed) > 0 {
				pause = min(retry, resyncInterval)
				retry = min(2*retry, retryMost)
			} else {
				retry = retryFirst
			}
			done, next = desired, time.Now().Add(pause)
			poke(s.look)
		}
		if ctx.Err() == nil {
			s.judge(in, failed)
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case d := <-s.leave:
			timer.Stop()
			return s.depart(ctx, d)
		case <-changed:
		case <-s.reorder:
			next = time.Now()
		case <-timer.C:
		}
		timer.Stop()
	}
}

// desiredState returns the versions of everything but statuses.
func desiredState(d store.Digest) store.Digest {
	for key := range d {
		if strings.HasPrefix(string(key), "status/") {
			delete(d, key)
		}
	}
	return d
}

// reconcile runs every step, also after one has failed, and returns what went wrong.
func (s *session) reconcile(ctx context.Context, steps []step, in input) []string {
	var failed []string
	for _, step := range steps {
		stepCtx, cancel := context.WithTimeout(ctx, stepPatience)
		err := step.reconcile(stepCtx, in)
		cancel()
		if ctx.Err() != nil {
			return failed
		}
		if isPowerCut(err) {
			s.cut = err
			return failed
		}
		if err != nil {
			s.log.Warn("step failed", "step", step.name(), "error", err)
			failed = append(failed, step.name()+": "+err.Error())
		}
	}
	return failed
}

// judge sets the conditions that follow from what is stored and from how the steps went.
func (s *session) judge(in input, failed []string) {
	switch {
	case len(failed) > 0:
		s.keeper.set(spec.ConditionApplied, spec.ConditionFalse, "StepFailed", "%s", strings.Join(failed, "; "))
	case in.view == nil:
		s.keeper.set(spec.ConditionApplied, spec.ConditionUnknown, "NoObjects",
			"waiting for the objects of the cluster and of this node; the operator's next apply, a seed or another node brings them")
	default:
		s.setApplied(in.snapshot.Generations)
		s.keeper.set(spec.ConditionApplied, spec.ConditionTrue, "Applied", "")
	}
	if damaged := in.snapshot.Damaged; len(damaged) > 0 {
		s.keeper.set(spec.ConditionStoreSound, spec.ConditionFalse, "Damaged", "%s", strings.Join(damaged, "; "))
	} else {
		s.keeper.set(spec.ConditionStoreSound, spec.ConditionTrue, "Sound", "")
	}
	if conflicts := append(s.twinConflicts(), conflictsOf(in)...); len(conflicts) > 0 {
		s.keeper.set(spec.ConditionConflict, spec.ConditionTrue, "Conflict", "%s", strings.Join(conflicts, "; "))
	} else {
		s.keeper.set(spec.ConditionConflict, spec.ConditionFalse, "NoConflict", "")
	}
}

// conflictsOf returns what the operator must decide: two signed truths, and objects that do not fit beside each other.
func conflictsOf(in input) []string {
	var out []string
	for _, c := range in.snapshot.Conflicts {
		out = append(out, c.Message)
	}
	if in.view != nil {
		for _, p := range in.view.Problems {
			out = append(out, p.Error())
		}
	}
	if more := len(out) - maxProblemsTold; more > 0 {
		out = append(out[:maxProblemsTold], fmt.Sprintf("and %d more", more))
	}
	return out
}

// input reads everything.
func (s *session) input() input { return s.inputOf(s.store.Snapshot()) }

func (s *session) inputOf(snapshot *store.Snapshot) input {
	view, err := deriveView(snapshot, s.m.record.Node)
	if err != nil && !errors.Is(err, topology.ErrUnknownNode) {
		s.log.Error("the cluster cannot be understood", "error", err)
	}
	me, ok := snapshot.Members[s.m.record.Node]
	return input{snapshot: snapshot, view: view, admitted: ok && me.Identity == s.m.identity.Public()}
}

// deriveView returns the view of node, nil while objects are missing.
func deriveView(snapshot *store.Snapshot, node string) (*topology.View, error) {
	if snapshot.Cluster == nil {
		return nil, nil
	}
	in := topology.Input{
		ClusterName: snapshot.ClusterName, Cluster: *snapshot.Cluster,
		Nodes: snapshot.Nodes, Links: snapshot.Links,
		LoadBalancers: snapshot.LoadBalancers, Maintenance: snapshot.Maintenance,
		Databases: snapshot.Databases, DatabaseMembers: snapshot.DatabaseMembers, Recoveries: snapshot.Recoveries,
		Pairs: snapshot.Pairs,
	}
	addMeshKeys(&in, snapshot)
	return topology.Derive(in, node)
}

// removal tells whether the operator has removed this node, and with it what becomes of it.
func (s *session) removal(snapshot *store.Snapshot) (departure, bool) {
	tomb, removed := snapshot.Tombstones[spec.Ref{Kind: spec.KindNode, Name: s.m.record.Node}]
	if !removed || s.admittedSince(tomb) {
		return departure{}, false
	}
	d := s.departure("the operator has removed this node from the cluster")
	d.leaving.Revoked = tomb.Signed
	return d, true
}

// admittedSince tells whether this node's ticket was issued after the tombstone: the node was made again, and its new object
// is still on its way.
func (s *session) admittedSince(tomb store.Tombstone) bool {
	issued := s.m.member.Ticket.Issued
	return !issued.Before(tomb.Signed) && uint64(max(issued.UnixMilli(), 0)) >= tomb.Generation
}

func (s *session) departure(reason string) departure {
	return departure{reason: reason, leaving: leaving{
		Cluster: s.m.record.Cluster, Node: s.m.record.Node, SigningKey: s.m.record.SigningKey,
		Ticket: s.m.member.Ticket.ID, At: s.a.cfg.Now().UTC(),
	}}
}
