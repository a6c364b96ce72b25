package unison

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

const (
	// recheckMost is how long at most nobody looks again at what was skipped.
	recheckMost = 5 * time.Minute
	// otherSide is how much later than on this side unison may look at what is on the other: in the round that comes next.
	otherSide = time.Second
)

// skipped is what unison did not look into. It says so once, and is silent about it until it is told to look again. It is safe for
// concurrent use.
type skipped struct {
	mu      sync.Mutex
	failed  map[string]string
	reasons map[string]string
	said    map[string]time.Time
	// moreFailed and more are how many there are beside these: no more than maxFailed are kept of each.
	moreFailed, more int
	// rounds is how many rounds there were since unison was started; rounded is closed with the next one.
	rounds  int
	rounded chan struct{}
	// news is poked when more is skipped, or something begins to fail.
	news chan struct{}
}

func newSkipped() *skipped {
	return &skipped{news: make(chan struct{}, 1), rounded: make(chan struct{})}
}

// clear forgets everything: unison begins to look at all.
func (s *skipped) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed, s.reasons, s.said = nil, map[string]string{}, map[string]time.Time{}
	s.moreFailed, s.more, s.rounds = 0, 0, 0
}

// round takes in a round, and returns everything that fails now.
func (s *skipped) round(r Round, now time.Time) worker.Failing {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rounds++
	close(s.rounded)
	s.rounded = make(chan struct{})
	news := len(r.Failed) > 0 && len(s.failed) == 0
	before := len(s.reasons)
	s.failed, s.moreFailed = r.Failed, r.MoreFailed
	for path, reason := range r.Skipped {
		if _, known := s.reasons[path]; !known && len(s.reasons) >= maxFailed {
			s.more++
			continue
		}
		s.reasons[path], s.said[path] = reason, now
	}
	s.more += r.MoreSkipped
	if news || len(s.reasons) > before {
		select {
		case s.news <- struct{}{}:
		default:
		}
	}
	return s.all()
}

func (s *skipped) all() worker.Failing {
	all := worker.Failing{Paths: maps.Clone(s.reasons), More: s.moreFailed + s.more}
	maps.Copy(all.Paths, s.failed)
	for _, reason := range s.failed {
		all.Short = all.Short || noRoom.MatchString(reason)
	}
	return all
}

// noRoom is what the system says, in English, when a disk is full or an account has used up its part of it (ENOSPC and EDQUOT).
var noRoom = regexp.MustCompile(`No space left on device|Disk quota exceeded`)

// paths returns what was skipped, the whole tree where not all of it is known, and whether anything else failed, which is tried again in
// each round.
func (s *skipped) paths() (paths []string, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.more > 0 {
		s.more = 0 // it is counted anew
		return []string{""}, len(s.failed) > 0
	}
	return slices.Sorted(maps.Keys(s.reasons)), len(s.failed) > 0
}

// await waits until a round is over, or ctx.
func (s *skipped) await(ctx context.Context, round int) {
	for {
		s.mu.Lock()
		rounds, rounded := s.rounds, s.rounded
		s.mu.Unlock()
		if rounds >= round {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-rounded:
		}
	}
}

// settle drops what unison has not complained of since it was told to look again, and returns what fails now.
func (s *skipped) settle(since time.Time) worker.Failing {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.reasons, func(path string, _ string) bool { return s.said[path].Before(since) })
	return s.all()
}

// recheck has both sides look again at what was skipped, until ctx ends: what mended it may be nothing that is seen in the tree.
func (e *engine) recheck(ctx context.Context, link *worker.Link) {
	least := e.host.Config.Pauses.Recheck
	pause := least
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.skipped.news:
			pause = least
			continue
		case <-time.After(pause):
		}
		paths, failed := e.skipped.paths()
		if len(paths) == 0 {
			if failed {
				e.monitor.Again()
			}
			if pause = min(2*pause, recheckMost); !failed {
				pause = least
			}
			continue
		}
		asked := time.Now()
		_ = link.Say(worker.Word{Look: paths}) // the link may be gone
		// How long it takes depends on how much there is to look at.
		looking, cancel := context.WithTimeout(ctx, recheckMost)
		e.skipped.await(looking, e.lookAgain(paths))
		cancel()
		select {
		case <-ctx.Done():
			return
		case <-time.After(otherSide):
		}
		e.host.Failing(e.skipped.settle(asked))
		pause = min(2*pause, recheckMost)
	}
}

// lookAgain has unison look at paths as if they had changed, and returns the round in which it does.
func (e *engine) lookAgain(paths []string) int {
	batch := watch.Batch{}
	for _, p := range paths {
		batch.Changes = append(batch.Changes, watch.Change{Path: p, Recursive: true})
	}
	return e.monitor.Changed(batch)
}
