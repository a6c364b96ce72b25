package agent

import (
	"fmt"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// twinFor is how long a twin counts after it was last heard of.
const twinFor = 5 * time.Minute

// twin watches for a second machine that reports or calls as this node, with this node's identity: a copy whose hardware
// cannot be told from this one's. Its zero value is ready; it is safe for concurrent use.
type twin struct {
	mu sync.Mutex
	// mine is the highest number that this start of the agent has reported by, seen the highest of another start.
	mine, seen uint64
	// since is when this start reported first.
	since time.Time
	boot  string
	heard time.Time
	// count is how much speaks for a twin: two is enough.
	count int
}

// observe takes this node's status as it is stored, wherever it came from. A status of an earlier start may still arrive
// once, after an older state was restored; only a machine that lives reports later than this one, or more than once. Two
// machines that started from one disk count from the same number, so theirs may be the same. It says whether a report is due at once: who lives answers it, and learns of this one by it.
func (t *twin) observe(own spec.Status, boot string, now time.Time) (answer bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case own.BootID == boot:
		if t.mine == 0 {
			t.since = own.Reported
		}
		t.mine = max(t.mine, own.Sequence)
	case t.mine > 0 && own.Sequence >= t.mine && own.Sequence > t.seen:
		answer = t.count < 2
		t.seen, t.boot, t.heard = own.Sequence, own.BootID, now
		t.count++
		if own.Reported.After(t.since) {
			t.count++
		}
	}
	if t.count > 0 && now.Sub(t.heard) > twinFor {
		t.count = 0
	}
	return answer
}

// meet takes a call that another start of this node's agent has made, which nobody makes who does not live.
func (t *twin) meet(boot string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.boot, t.heard, t.count = boot, now, 2
}

// problem returns what is wrong, "" while there is no twin.
func (t *twin) problem(node string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count < 2 {
		return ""
	}
	return fmt.Sprintf("another machine reports as node %s with the same identity (its start %s, last heard %s): one of the two is a copy of the other; "+
		"switch one off, or say \"atolld uninstall --purge\" on it", node, t.boot, t.heard.UTC().Format(time.RFC3339))
}

// watchTwin looks for a twin in what is stored.
func (s *session) watchTwin(snapshot *store.Snapshot) {
	own, ok := snapshot.Statuses[s.m.record.Node]
	answer := ok && s.twin.observe(own, s.a.bootID, time.Now())
	problem := s.twin.problem(s.m.record.Node)
	s.mu.Lock()
	before := s.twinProblem
	s.twinProblem = problem
	s.mu.Unlock()
	if problem != "" && before == "" {
		s.log.Error("this node is there twice", "problem", problem)
	}
	// The report also makes the loop judge what follows for the conditions.
	if answer {
		poke(s.suspicion)
	}
	if answer || (problem == "") != (before == "") {
		s.urgent.Store(true)
		poke(s.poked)
	}
}

// called takes note of who calls this node, if that is the node itself.
func (s *session) called(node, boot string) {
	if node != s.m.record.Node || boot == "" || boot == s.a.bootID {
		return
	}
	s.twin.meet(boot, time.Now())
	poke(s.look)
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
