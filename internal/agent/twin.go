package agent

import (
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// twinFor is how long a twin counts after it was last heard of.
const twinFor = 5 * time.Minute

// twin watches for a second machine that reports as this node, with this node's identity: a copy whose hardware cannot be
// told from this one's. Its zero value is ready; only observe uses it.
type twin struct {
	// mine is the highest number that this start of the agent has reported by, seen the highest of another start.
	mine, seen uint64
	// since is when this start reported first.
	since time.Time
	boot  string
	heard time.Time
	count int
}

// observe takes this node's status as it is stored, wherever it came from. A status of an earlier start may still arrive
// once, after an older state was restored; only a machine that lives reports later than this one, or more than once.
func (t *twin) observe(own spec.Status, boot string, now time.Time) {
	switch {
	case own.BootID == boot:
		if t.mine == 0 {
			t.since = own.Reported
		}
		t.mine = max(t.mine, own.Sequence)
	case t.mine > 0 && own.Sequence > t.mine && own.Sequence > t.seen:
		t.seen, t.boot, t.heard = own.Sequence, own.BootID, now
		t.count++
		if own.Reported.After(t.since) {
			t.count++
		}
	}
	if t.count > 0 && now.Sub(t.heard) > twinFor {
		t.count = 0
	}
}

// problem returns what is wrong, "" while there is no twin.
func (t *twin) problem(node string) string {
	if t.count < 2 {
		return ""
	}
	return fmt.Sprintf("another machine reports as node %s with the same identity (its start %s, last heard %s): one of the two is a copy of the other; "+
		"switch one off, or say \"atolld uninstall --purge\" on it", node, t.boot, t.heard.UTC().Format(time.RFC3339))
}

// watchTwin looks for a twin.
func (s *session) watchTwin(in input) {
	own, ok := in.snapshot.Statuses[s.m.record.Node]
	if ok {
		s.twin.observe(own, s.a.bootID, time.Now())
	}
	problem := s.twin.problem(s.m.record.Node)
	s.mu.Lock()
	defer s.mu.Unlock()
	if problem != "" && s.twinProblem == "" {
		s.log.Error("this node is there twice", "problem", problem)
	}
	s.twinProblem = problem
}

// twinConflicts returns the problem as a list.
func (s *session) twinConflicts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.twinProblem == "" {
		return nil
	}
	return []string{s.twinProblem}
}
