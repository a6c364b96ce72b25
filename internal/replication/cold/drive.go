package cold

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

const (
	// batch is how many directories are exchanged in one pause of the hot part, and batchFor how long the first of them waits for the others.
	batch    = 64
	batchFor = 10 * time.Minute
	// stateWithin is how long the sides may take to tell what they have.
	stateWithin = 2 * time.Minute
)

// Hold ends the hot part's program and keeps it from starting until release is called. It fails when that cannot be had.
type Hold func(ctx context.Context) (release func(), err error)

// Result is what one run has done.
type Result struct {
	// Directories were moved, with so many bytes.
	Directories int
	Bytes       int64
	// Busy says why directories are to be moved later.
	Busy []string
	// Problems are what somebody has to look at.
	Problems []string
}

func (r *Result) take(err error) {
	switch {
	case err == nil:
	case isBusy(err):
		r.Busy = append(r.Busy, err.Error())
	default:
		if text := err.Error(); !slices.Contains(r.Problems, text) {
			r.Problems = append(r.Problems, text)
		}
	}
}

// Agree moves every directory that is moved on one side alone on the other, too. The hot part's program must not run from before Agree is called
// until it has succeeded.
//
// Moves, which may be nil, is told how many directories that are: to copy them may take long.
func Agree(ctx context.Context, one, other Side, moves func(number int)) error {
	asking, cancel := context.WithTimeout(ctx, stateWithin)
	defer cancel()
	ours, err := one.State(asking)
	if err != nil {
		return fmt.Errorf("this node: %w", err)
	}
	theirs, err := other.State(asking)
	if err != nil {
		return fmt.Errorf("the other node: %w", err)
	}
	var problems []error
	there, here := common(ours.Linked, theirs.Plain), common(theirs.Linked, ours.Plain)
	if moves != nil {
		moves(len(there) + len(here))
	}
	for _, dir := range there {
		if err := other.Adopt(ctx, dir); err != nil {
			problems = append(problems, fmt.Errorf("the other node: %w", err))
		}
	}
	for _, dir := range here {
		if err := one.Adopt(ctx, dir); err != nil {
			problems = append(problems, fmt.Errorf("this node: %w", err))
		}
	}
	return errors.Join(problems...)
}

// common returns what is in both of two sorted lists.
func common(a, b [][]byte) []string {
	var out []string
	for _, one := range a {
		if _, found := slices.BinarySearchFunc(b, one, bytes.Compare); found {
			out = append(out, string(one))
		}
	}
	return out
}

// Round moves what is due on both sides, as the node that leads does, and brings over what has changed in what is moved.
func Round(ctx context.Context, here, there Side, hold Hold, log *slog.Logger) Result {
	var r Result
	r.take(here.Finish(ctx))
	r.take(there.Finish(ctx))
	ours, err := fitState(ctx, here)
	r.take(err)
	theirs, otherErr := fitState(ctx, there)
	r.take(otherErr)
	if errors.Join(err, otherErr) != nil {
		return r
	}
	type ready struct {
		dir   string
		bytes int64
	}
	var waiting []ready
	var fresh []string
	var since time.Time
	flush := func() {
		if len(waiting) == 0 {
			return
		}
		dirs := make([]string, 0, len(waiting))
		for _, w := range waiting {
			dirs = append(dirs, w.dir)
		}
		for _, dir := range swap(ctx, here, there, dirs, hold, &r) {
			i := slices.Index(dirs, dir)
			fresh = append(fresh, dir)
			r.Directories++
			r.Bytes += waiting[i].bytes
			log.Info("a directory is in the cold root", "directory", dir, "bytes", waiting[i].bytes)
		}
		waiting = nil
		r.take(here.Finish(ctx))
		r.take(there.Finish(ctx))
	}
	for _, dir := range common(ours.Due, theirs.Due) {
		copied, err := copyBoth(ctx, here, there, dir)
		if err != nil {
			r.take(err)
			continue
		}
		if len(waiting) == 0 {
			since = time.Now()
		}
		if waiting = append(waiting, ready{dir, copied.Bytes}); len(waiting) >= batch || time.Since(since) > batchFor {
			flush()
		}
	}
	flush()
	r.take(synchronize(ctx, here, there, fresh))
	return r
}

// Bring brings over what has changed in what is moved, as Round does at its end, and moves nothing. Thorough has it go by the contents of all files:
// there are ways to change one whose dates do not tell.
func Bring(ctx context.Context, here, there Side, thorough bool) Result {
	var r Result
	r.take(here.Finish(ctx))
	r.take(there.Finish(ctx))
	ours, err := fitState(ctx, here)
	r.take(err)
	theirs, otherErr := fitState(ctx, there)
	r.take(otherErr)
	if errors.Join(err, otherErr) != nil {
		return r
	}
	var all []string
	if thorough {
		all = common(ours.Linked, theirs.Linked)
	}
	r.take(synchronize(ctx, here, there, all))
	return r
}

// fitState is Side.State of one that can move directories.
func fitState(ctx context.Context, side Side) (State, error) {
	s, err := side.State(ctx)
	if err == nil {
		err = s.fit()
	}
	return s, err
}

// copyBoth has both sides copy a directory, and fails unless both have the same.
func copyBoth(ctx context.Context, here, there Side, dir string) (Copied, error) {
	var theirs Copied
	done := make(chan error, 1)
	go func() {
		var err error
		theirs, err = there.Copy(ctx, dir)
		done <- err
	}()
	ours, err := here.Copy(ctx, dir)
	otherErr := <-done
	if isBusy(err) && otherErr != nil {
		err = otherErr // it may be more than that
	}
	if err = cmp.Or(err, otherErr); err != nil {
		return ours, err
	}
	if ours.Sum != theirs.Sum {
		return ours, busy(dir, "the two nodes do not have the same in it yet")
	}
	return ours, nil
}

// swap exchanges directories on both sides while the hot part rests, and returns those that are moved on both.
func swap(ctx context.Context, here, there Side, dirs []string, hold Hold, r *Result) []string {
	release, err := hold(ctx)
	if err != nil {
		r.take(err)
		return nil
	}
	defer release()
	var swapped []string
	for _, dir := range dirs {
		// The other side first: what is broken here is known.
		if err := there.Swap(ctx, dir); err != nil {
			r.take(err)
			continue
		}
		if err := here.Swap(ctx, dir); err != nil {
			r.take(err)
			continue
		}
		swapped = append(swapped, dir)
	}
	// Where that has failed in between, the hot part asks again before it starts.
	r.take(Agree(ctx, here, there, nil))
	return swapped
}

// Alone moves what is due on one side while the other has been gone for long.
func Alone(ctx context.Context, here Side, hold Hold, log *slog.Logger) Result {
	var r Result
	r.take(here.Finish(ctx))
	s, err := fitState(ctx, here)
	if r.take(err); err != nil {
		return r
	}
	for _, due := range s.Due {
		dir := string(due)
		copied, err := here.Copy(ctx, dir)
		if err != nil {
			r.take(err)
			continue
		}
		release, err := hold(ctx)
		if err != nil {
			r.take(err)
			return r
		}
		err = here.Swap(ctx, dir)
		release()
		if r.take(err); err != nil {
			continue
		}
		r.Directories++
		r.Bytes += copied.Bytes
		log.Info("a directory is in the cold root of this node alone", "directory", dir, "bytes", copied.Bytes)
	}
	r.take(here.Finish(ctx))
	return r
}

// synchronize brings over what has changed in what is moved, both ways. Fresh are the directories that were moved just now.
func synchronize(ctx context.Context, here, there Side, fresh []string) error {
	run := func(way Way, dirs []string) error {
		peer, err := there.Serve(ctx)
		if err != nil {
			return err
		}
		return here.Sync(ctx, way, dirs, peer)
	}
	for _, way := range []Way{Push, Pull} {
		if err := run(way, nil); err != nil {
			return err
		}
	}
	// Nothing that is different now is newer by a second. Versions that were replaced here go over with the runs that push, and those that are
	// replaced there come with the last.
	for some := range slices.Chunk(fresh, batch) {
		if err := run(PushRest, some); err != nil {
			return err
		}
	}
	return errors.Join(run(PushRest, nil), run(Pull, []string{keptDir}))
}
