package agent

import (
	"context"
	"maps"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// How often a status is reported: at most once per reportUrgent when a condition changed, after reportChanged when
// something else did, and after reportAlways in any case.
const (
	reportUrgent  = 200 * time.Millisecond
	reportChanged = 5 * time.Second
	reportAlways  = 30 * time.Second
)

// report signs this node's status and puts it into the store, from where it spreads, until ctx ends.
func (s *session) report(ctx context.Context) error {
	var told, seen uint64
	var last time.Time
	for {
		urgent := s.keeper.changed()
		seen = s.version()
		age := time.Since(last)
		if last.IsZero() || age >= reportAlways || (seen != told && age >= reportChanged) || s.urgent.Swap(false) {
			if err := s.reportOnce(ctx); err != nil {
				s.log.Error("cannot report this node's status", "error", err)
			} else {
				told = seen
			}
			last = time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.poked:
		case <-urgent:
			s.urgent.Store(true)
			// A change rarely comes alone; wait for those that belong to it.
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(reportUrgent):
			}
		case <-time.After(reportChanged - min(age, reportChanged-reportUrgent)):
		}
	}
}

// reportOnce makes one report. A node that is not admitted has nobody who would believe it.
func (s *session) reportOnce(context.Context) error {
	snapshot := s.store.Snapshot()
	me, ok := snapshot.Members[s.m.record.Node]
	if !ok || me.Identity != s.m.identity.Public() {
		return nil
	}
	// What is replaced now nobody sees any more.
	s.watchTwin(snapshot)
	if known, ok := snapshot.Statuses[s.m.record.Node]; ok {
		s.sequence.atLeast(known.Sequence)
	}
	number, err := s.sequence.take()
	if err != nil {
		return err
	}
	conditions, peers, _ := s.keeper.snapshot()
	e, err := trust.SignStatus(s.m.identity, spec.Status{
		Wire: spec.WireVersion, Cluster: s.m.record.Cluster, Node: s.m.record.Node,
		Sequence: number, Reported: s.a.cfg.Now().UTC(), Version: s.a.cfg.Version, BootID: s.a.bootID,
		Conditions: conditions, Applied: s.databases.Applied(s.applied()), Peers: peers, Serving: s.fitness.all(),
		Databases: s.databases.All(), Pairs: s.pairs.All(), Links: s.links.All(), MeshKey: s.keyring.told(),
	})
	if err != nil {
		return err
	}
	return refusals(s.store.Merge([]store.Record{store.StatusRecord(e)}))
}

// refusals returns the refused outcomes as an error.
func refusals(outcomes []store.Outcome) error {
	for _, o := range outcomes {
		if o.Result == store.Refused {
			return &trust.Refusal{Reason: o.Reason, Subject: string(o.Key), Message: o.Message}
		}
	}
	return nil
}

// version changes with everything that a report says.
func (s *session) version() uint64 {
	_, _, v := s.keeper.snapshot()
	s.mu.Lock()
	defer s.mu.Unlock()
	return v + s.appliedVersion
}

// setApplied records the generations that are in effect on this node.
func (s *session) setApplied(generations map[spec.Ref]uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if maps.Equal(generations, s.appliedGenerations) {
		return
	}
	s.appliedGenerations = maps.Clone(generations)
	s.appliedVersion++
	s.urgent.Store(true)
	poke(s.poked)
}

func (s *session) applied() map[spec.Ref]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.appliedGenerations
}
