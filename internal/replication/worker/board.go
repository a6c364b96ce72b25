package worker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// board is what a worker knows of its side at any moment. It is safe for concurrent use.
type board struct {
	started time.Time

	mu sync.Mutex
	// linked tells that there is a stream to the other side, working that something is on its way, once that a synchronization has
	// ended since the worker started.
	linked, working, once bool
	synced                time.Time
	failing               Failing
	// resting tells that what runs now carries nothing over, or what ran last did not.
	resting bool
	// apart are the directories that one node alone has moved to its cold root.
	apart []string
	// problem is what keeps this side from working, peer what keeps the other.
	problem, peer string
	// passing tells that the problem is one that a synchronization has ended with: the next may not have it.
	passing bool
	// program is the process that runs, guard the thread that acts for it.
	program, guard int
	// helpers are the threads that bring files ahead of it.
	helpers map[int]bool
}

func (b *board) set(fn func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fn()
}

func (b *board) link(on bool) {
	b.set(func() {
		b.linked = on
		if on {
			b.problem, b.passing, b.working = "", false, true
		}
	})
}

// isLinked tells whether there is a stream to the other side.
func (b *board) isLinked() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.linked
}

// refuses is what keeps this side from taking a stream, "" for nothing.
func (b *board) refuses() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.passing {
		return ""
	}
	return b.problem
}

func (b *board) busy() { b.set(func() { b.working = true }) }

func (b *board) answers() { b.set(func() { b.synced, b.peer = time.Now(), "" }) }

func (b *board) settled() {
	b.set(func() { b.working, b.once, b.synced, b.peer = false, true, time.Now(), "" })
}

func (b *board) own(thread int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return thread != 0 && (thread == b.program || thread == b.guard || b.helpers[thread])
}

// status returns the state of a side and its problem.
func (b *board) status(leads bool, pending int) (state spec.PairState, synced time.Time, problem string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.problem != "":
		return spec.PairFailed, b.synced, b.problem
	case !b.linked:
		return spec.PairDisconnected, b.synced, b.peer
	case b.resting && (b.once || !leads):
		return spec.PairStandingBy, b.synced, ""
	case b.resting:
		return spec.PairStarting, b.synced, ""
	case !leads:
		return spec.PairSyncing, b.synced, ""
	case !b.once:
		state = spec.PairStarting
	case b.working || pending > 0 || b.failing.Short:
		state = spec.PairSyncing
	default:
		state = spec.PairSynced
	}
	return state, b.synced, b.failing.text()
}

// Failing is what cannot be synchronized.
type Failing struct {
	// Paths are the reasons by path, More how many paths there are beside these.
	Paths map[string]string
	More  int
	// Short tells that there is no room for some of it, on one of the sides: then they are not equal but for what nobody can help.
	Short bool
}

const (
	// maxShown is how many paths that fail are named, maxReason how long a path and a reason may each be there, in bytes.
	maxShown  = 3
	maxReason = 300
)

// text says it in words.
func (f Failing) text() string {
	if len(f.Paths) == 0 {
		return ""
	}
	paths := slices.Sorted(maps.Keys(f.Paths))
	texts := make([]string, 0, maxShown)
	for _, path := range paths[:min(len(paths), maxShown)] {
		texts = append(texts, fmt.Sprintf("%q (%s)", shortened(path), shortened(f.Paths[path])))
	}
	number := len(paths) + f.More
	and := ""
	if number > len(texts) {
		and = fmt.Sprintf(" and %d more", number-len(texts))
	}
	what := "paths"
	if number == 1 {
		what = "path"
	}
	return fmt.Sprintf("%d %s cannot be synchronized, everything else is: %s%s", number, what, strings.Join(texts, ", "), and)
}

func shortened(text string) string {
	if len(text) <= maxReason {
		return text
	}
	return strings.ToValidUTF8(text[:maxReason], "") + "…"
}
