// Package barrier waits until both trees of replication pairs are equal, and says meanwhile what each side has yet to get.
//
// What a program that replicates says of itself is not asked: only digests of the trees count (package digest). Cheap digests, of
// what is known to have changed, are compared until they are equal for every pair at once; then one full digest of each tree has the last
// word.
package barrier

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
)

// Side is one of a pair's trees. Its methods are called from several goroutines.
type Side interface {
	// Digest makes a digest, full or of what is known to have changed, and calls progress while that takes long.
	Digest(ctx context.Context, full bool, progress func(digest.Progress)) (*digest.Snapshot, error)
	// Directory is digest.Lister's, after a digest.
	digest.Lister
}

// Pair is a pair to wait for, or a part of one.
type Pair struct {
	Name string
	// Part is which of its trees.
	Part digest.Part
	// Nodes are where the trees are, Sides the trees in the same order.
	Nodes [2]string
	Sides [2]Side
}

// Phase is how far a pair is.
type Phase string

// The phases of a pair.
const (
	// Reading is a pair of which nothing is known yet.
	Reading Phase = "reading"
	// Different is a pair whose trees differ, or differed when they were last compared.
	Different Phase = "different"
	// Likely is one that is equal as far as it is known what has changed: the full digest is yet to be made, or is waiting for other pairs.
	Likely Phase = "likely equal"
	// Unfinished is one whose trees are equal, and of which a side has something left to do to its tree: Snapshot.Unfinished says what.
	Unfinished Phase = "unfinished"
	// Equal is one whose trees were equal by their full digests.
	Equal Phase = "equal"
)

// State is what is known of a pair.
type State struct {
	Pair  string
	Part  digest.Part
	Nodes [2]string
	Phase Phase
	Sides [2]SideState
	// Comparison says what differs, and by how much each side is behind: "here" is the first side. It is nil while that is not known.
	Comparison *digest.Comparison
	// Problem says why it is not known what differs, or that this cannot be said at all; "" for nothing.
	Problem string
}

// SideState is what is known of one side.
type SideState struct {
	// Snapshot is the last digest, nil before the first.
	Snapshot *digest.Snapshot
	// Progress is how far a digest is that takes long, nil while none does.
	Progress *digest.Progress
	// Err is why the side could not be looked at last.
	Err error
}

// Options say how to wait.
type Options struct {
	// Interval is the pause between two looks, 1 s when 0.
	Interval time.Duration
	// Report, when not nil, is called with every news, by one goroutine at a time. The states are its own.
	Report func([]State)
	// Hopeless, when not nil, tells whether waiting cannot help against a side's error.
	Hopeless func(error) bool
}

// Differences is how many differences a comparison looks for.
const Differences = 1000

// sparing is how many times longer than the last comparison took the pause before the next one is: a directory with
// many files takes long to be listed over a network.
const sparing = 5

// Wait waits until the trees of all pairs are equal, and returns how they are then, or were last when ctx ends before. Err is ctx's
// then, and a side's own when that is hopeless.
func Wait(ctx context.Context, pairs []Pair, o Options) ([]State, error) {
	if o.Interval <= 0 {
		o.Interval = time.Second
	}
	w := &waiting{pairs: pairs, options: o, states: make([]State, len(pairs)), paused: make([]time.Time, len(pairs))}
	for i, p := range pairs {
		w.states[i] = State{Pair: p.Name, Part: p.Part, Nodes: p.Nodes, Phase: Reading}
	}
	for {
		equal, err := w.look(ctx, false)
		if equal && err == nil {
			equal, err = w.look(ctx, true)
		}
		if equal || err != nil {
			return w.copy(), err
		}
		select {
		case <-ctx.Done():
			return w.copy(), ctx.Err()
		case <-time.After(o.Interval):
		}
	}
}

// waiting is a wait that is under way.
type waiting struct {
	pairs   []Pair
	options Options

	mu     sync.Mutex
	states []State
	// paused is until when differences of a pair are not looked for.
	paused []time.Time
}

// look looks at all pairs at once and tells whether every one is equal.
func (w *waiting) look(ctx context.Context, full bool) (equal bool, err error) {
	equals, errs := make([]bool, len(w.pairs)), make([]error, len(w.pairs))
	var looks sync.WaitGroup
	for i := range w.pairs {
		looks.Go(func() { equals[i], errs[i] = w.pair(ctx, i, full) })
	}
	looks.Wait()
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	for _, err := range errs {
		if err != nil {
			return false, err
		}
	}
	return !slices.Contains(equals, false), nil
}

// pair looks at a pair and tells whether its trees are equal. An error is one that waiting does not help against.
func (w *waiting) pair(ctx context.Context, i int, full bool) (equal bool, err error) {
	p := w.pairs[i]
	var snapshots [2]*digest.Snapshot
	var errs [2]error
	var looks sync.WaitGroup
	for side := range p.Sides {
		looks.Go(func() {
			snapshots[side], errs[side] = p.Sides[side].Digest(ctx, full, func(progress digest.Progress) {
				w.change(i, func(s *State) { s.Sides[side].Progress = &progress })
			})
		})
	}
	looks.Wait()
	if ctx.Err() != nil {
		w.change(i, func(s *State) { s.interrupted(snapshots, errs) })
		return false, ctx.Err()
	}
	for side, err := range errs {
		if err != nil && w.options.Hopeless != nil && w.options.Hopeless(err) {
			return false, fmt.Errorf("pair %s on %s: %w", p.Name, p.Nodes[side], err)
		}
	}
	known := errs[0] == nil && errs[1] == nil
	alike := known && same(snapshots)
	equal = alike && snapshots[0].Unfinished == "" && snapshots[1].Unfinished == ""
	found := func(*State) {}
	if known && !alike && !time.Now().Before(w.paused[i]) {
		found = w.compare(ctx, i)
	}
	w.change(i, func(s *State) {
		for side := range p.Sides {
			s.Sides[side].Progress, s.Sides[side].Err = nil, errs[side]
			if errs[side] == nil {
				s.Sides[side].Snapshot = snapshots[side]
			}
		}
		switch {
		case equal && full:
			s.Phase, s.Comparison, s.Problem = Equal, nil, ""
		case equal:
			s.Phase, s.Comparison, s.Problem = Likely, nil, ""
		case alike:
			s.Phase, s.Comparison, s.Problem = Unfinished, nil, ""
		case known || s.Phase != Reading:
			s.Phase = Different
		}
		found(s)
	})
	return equal, nil
}

// interrupted takes in what a look found that was broken off: nothing that is better known.
func (s *State) interrupted(snapshots [2]*digest.Snapshot, errs [2]error) {
	for i := range s.Sides {
		side := &s.Sides[i]
		switch {
		case side.Snapshot != nil || side.Err != nil || side.Progress != nil:
		case errs[i] != nil:
			side.Err = errs[i]
		default:
			side.Snapshot = snapshots[i]
		}
	}
}

// same tells whether two trees are equal. What could not be read is equal to nothing.
func same(s [2]*digest.Snapshot) bool {
	return s[0].Sum == s[1].Sum && s[0].Settings == s[1].Settings && s[0].ProblemCount == 0 && s[1].ProblemCount == 0
}

// compare finds out what differs, and returns what says so of the pair.
func (w *waiting) compare(ctx context.Context, i int) func(*State) {
	began := time.Now()
	p := w.pairs[i]
	c, err := digest.Compare(ctx, p.Sides[0], p.Sides[1], digest.CompareOptions{Limit: Differences})
	w.paused[i] = time.Now().Add(sparing * time.Since(began))
	return func(s *State) {
		switch {
		case err == nil:
			s.Comparison, s.Problem = &c, ""
		case ctx.Err() == nil:
			s.Comparison, s.Problem = nil, err.Error()
		}
	}
}

// change changes what is known of a pair and tells of it.
func (w *waiting) change(i int, f func(*State)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.states[i])
	if w.options.Report != nil {
		w.options.Report(slices.Clone(w.states))
	}
}

func (w *waiting) copy() []State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.states)
}
