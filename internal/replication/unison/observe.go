package unison

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// Observing returns what is added to a profile for a unison that carries nothing over. It looks at both trees as ever, and writes down what both have alike:
// what is new, changed or gone on both sides in the same way. So it knows, when it is to carry changes over, what has changed on one side alone, as if it had
// done so all the time; without that, what was deleted on one side would come back, and what was changed there would be a conflict.
//
// These settings have the last word on what unison is about to do (filterRi in its recon.ml, called when everything else is decided), for each of the two
// trees: nothing that is there is changed or deleted, nothing is made. The one exception is the path that has to fail (own).
func Observing(c worker.Config, tunnel string) []byte {
	var out bytes.Buffer
	out.WriteString("\n# It is another pair's turn: nothing is carried over.\n")
	for _, root := range []string{c.Path, otherRoot(c, tunnel)} {
		fmt.Fprintf(&out, "noupdate = %s\nnodeletion = %s\nnocreationpartial = Regex %s -> %s\n", root, root, notBelow(worker.Marker), root)
	}
	return out.Bytes()
}

// notBelow returns an expression for all paths that are not in a directory of the root. Unison's know no way to say that something does not match.
func notBelow(directory string) string {
	var alternatives []string
	for i := range len(directory) {
		before := regexp.QuoteMeta(directory[:i])
		alternatives = append(alternatives, before+"[^"+directory[i:i+1]+"].*", regexp.QuoteMeta(directory[:i+1]))
	}
	return "(" + strings.Join(append(alternatives, regexp.QuoteMeta(directory)+"[^/].*"), "|") + ")"
}

// noted gathers what has changed on a side while nothing is carried over. It is safe for concurrent use.
type noted struct {
	mu      sync.Mutex
	pending watch.Set
	armed   bool
	// began is when unison began with the round that is under way, zero while none is; took is how long the last one took.
	began time.Time
	took  time.Duration
}

// told and waits note the beginning and the end of a round.
func (n *noted) told() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.began.IsZero() {
		n.began = time.Now()
	}
}

func (n *noted) waits() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.began.IsZero() {
		n.took, n.began = time.Since(n.began), time.Time{}
	}
}

// add gathers a batch, and tells whether it is the first since all was taken, and how long to wait for others.
func (n *noted) add(b watch.Batch) (first bool, pause time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pending.AddBatch(b)
	first = !n.armed
	n.armed = true
	return first, max(observeLeast, observeShare*n.took)
}

func (n *noted) take() watch.Batch {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.armed = false
	return n.pending.Take()
}

// Changed implements worker.Engine. While nothing is carried over, both sides look at what has changed on either, in one round: unison takes for unchanged
// what it is not told of on a side, and would never find that both have the same.
func (e *engine) Changed(b watch.Batch) {
	if !e.host.Resting() {
		e.monitor.Changed(b)
		return
	}
	first, pause := e.noted.add(b)
	if !first {
		return
	}
	time.AfterFunc(pause, func() {
		b := e.noted.take()
		paths := worker.Paths{}
		for _, c := range b.Changes {
			paths = append(paths, c.Path)
		}
		if b.All {
			paths = worker.Paths{""}
		}
		if link := e.current(); link != nil && len(paths) > 0 {
			_ = link.Say(worker.Word{Look: paths}) // the link may be gone
		}
		e.monitor.Changed(b)
	})
}

const (
	// observeLeast is for how long at least changes are gathered while nothing is carried over, and observeShare how many times longer than the last
	// round took: there is no hurry, and at the end of each round unison writes down all that it knows.
	observeLeast = 250 * time.Millisecond
	observeShare = 5
	// compareLeast and compareMost bound how often both sides look again at what differs while nothing is carried over, and compareShare is the
	// share of the time that they take for it at most.
	compareLeast = 2 * time.Second
	compareMost  = time.Minute
	compareShare = 20
)

// compare has both sides look again at what differs while nothing is carried over, until ctx ends: now it may be alike.
func (e *engine) compare(ctx context.Context, link *worker.Link) {
	pause, before := compareLeast, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		paths, _ := e.skipped.paths()
		if len(paths) == 0 {
			pause = compareLeast
			continue
		}
		asked := time.Now()
		_ = link.Say(worker.Word{Look: paths}) // the link may be gone
		looking, cancel := context.WithTimeout(ctx, recheckMost)
		e.skipped.await(looking, e.lookAgain(paths))
		cancel()
		e.alike(e.skipped.settle(asked))
		if pause = max(min(2*pause, compareMost), compareShare*time.Since(asked)); len(paths) != before {
			pause = max(compareLeast, compareShare*time.Since(asked))
		}
		before = len(paths)
	}
}

// alike tells whoever wants to know that nothing differs any more.
func (e *engine) alike(differs worker.Failing) {
	if len(differs.Paths) == 0 && differs.More == 0 {
		e.host.Alike()
	}
}

// observed takes in what came of a round in which nothing was carried over. What differs is none of this pair's business now.
func (e *engine) observed(r Round, whole bool) {
	delete(r.Failed, e.host.Config.PaceFile())
	e.host.Log.Debug("unison has taken note of what both sides have alike", "different", len(r.Skipped)+r.MoreSkipped, "failed", len(r.Failed)+r.MoreFailed)
	e.alike(e.skipped.round(r, time.Now()))
	e.host.Observed(whole && len(r.Failed)+r.MoreFailed+len(r.Skipped)+r.MoreSkipped == 0)
}
