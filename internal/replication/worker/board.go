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
	failed                map[string]string
	// problem is what keeps this side from working, peer what keeps the other.
	problem, peer string
	program       int
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
			b.problem, b.working = "", true
		}
	})
}

func (b *board) busy() { b.set(func() { b.working = true }) }

func (b *board) answers() { b.set(func() { b.synced, b.peer = time.Now(), "" }) }

func (b *board) settled() {
	b.set(func() { b.working, b.once, b.synced, b.peer = false, true, time.Now(), "" })
}

func (b *board) failing(reasons map[string]string) {
	b.set(func() { b.failed = maps.Clone(reasons) })
}

func (b *board) own(pid int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.program != 0 && pid == b.program
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
	case !leads:
		return spec.PairSyncing, b.synced, ""
	case !b.once:
		state = spec.PairStarting
	case b.working || pending > 0:
		state = spec.PairSyncing
	default:
		state = spec.PairSynced
	}
	return state, b.synced, failures(b.failed)
}

// failures says in words what cannot be synchronized.
func failures(failed map[string]string) string {
	if len(failed) == 0 {
		return ""
	}
	const most = 3
	paths := slices.Sorted(maps.Keys(failed))
	texts := make([]string, 0, most)
	for _, path := range paths[:min(len(paths), most)] {
		texts = append(texts, fmt.Sprintf("%q (%s)", path, failed[path]))
	}
	and := ""
	if len(paths) > most {
		and = fmt.Sprintf(" and %d more", len(paths)-most)
	}
	what := "paths"
	if len(paths) == 1 {
		what = "path"
	}
	return fmt.Sprintf("%d %s cannot be synchronized, everything else is: %s%s", len(paths), what, strings.Join(texts, ", "), and)
}
