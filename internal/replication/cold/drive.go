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
	// batch is how many directories are exchanged together, and batchFor how long the first of them waits for the others.
	batch    = 64
	batchFor = 10 * time.Minute
	// restFor is after how long in which the hot part has rested no further directory is exchanged.
	restFor = 2 * time.Second
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
	// Unreached says which side was not reached, "" for none.
	Unreached string
}

func (r *Result) take(err error) {
	switch {
	case err == nil:
	case isUnreached(err):
		r.Unreached = err.Error()
	case isBusy(err):
		r.Busy = append(r.Busy, err.Error())
	default:
		if text := err.Error(); !slices.Contains(r.Problems, text) {
			r.Problems = append(r.Problems, text)
		}
	}
}

// Apart returns the directories that are moved on one side alone. The hot part's program must not have run since, and has to leave them alone, until
// Follow has moved them on the other side, too: it would take a link in the place of a directory for a change.
func Apart(ctx context.Context, one, other Side) ([]string, error) {
	moves, err := apart(ctx, one, other)
	dirs := make([]string, 0, len(moves))
	for _, m := range moves {
		dirs = append(dirs, m.dir)
	}
	return dirs, err
}

// apart returns what is to be done about them.
func apart(ctx context.Context, one, other Side) ([]move, error) {
	ctx, cancel := context.WithTimeout(ctx, stateWithin)
	defer cancel()
	ours, err := one.State(ctx)
	if err != nil {
		return nil, fmt.Errorf("this node: %w", err)
	}
	theirs, err := other.State(ctx)
	if err != nil {
		return nil, fmt.Errorf("the other node: %w", err)
	}
	var moves []move
	for _, dir := range common(ours.Linked, theirs.Plain) {
		moves = append(moves, move{dir: dir, sides: []Side{other}})
	}
	for _, dir := range common(theirs.Linked, ours.Plain) {
		moves = append(moves, move{dir: dir, sides: []Side{one}})
	}
	return moves, nil
}

// Follow moves the directories that are moved on one side alone on the other one, too. They are copied while the hot part's program runs.
func Follow(ctx context.Context, one, other Side, hold Hold, log *slog.Logger) Result {
	var r Result
	moves, err := apart(ctx, one, other)
	if err != nil {
		r.take(err)
		return r
	}
	var copied []move
	for _, m := range moves {
		err := m.sides[0].Follow(ctx, m.dir)
		r.take(err)
		if isUnreached(err) {
			return r
		}
		if err == nil {
			copied = append(copied, m)
		}
	}
	r.moved(exchangeAll(ctx, hold, copied, &r), log)
	return r
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
	var waiting []move
	var fresh []string
	var since time.Time
	flush := func() {
		if len(waiting) == 0 {
			return
		}
		done := exchangeAll(ctx, hold, waiting, &r)
		r.moved(done, log)
		for _, m := range done {
			fresh = append(fresh, m.dir)
		}
		waiting = nil
		r.take(here.Finish(ctx))
		r.take(there.Finish(ctx))
	}
	for _, dir := range common(ours.Due, theirs.Due) {
		copied, err := copyBoth(ctx, here, there, dir)
		r.take(err)
		if isUnreached(err) {
			return r
		}
		if err != nil {
			continue
		}
		if len(waiting) == 0 {
			since = time.Now()
		}
		// The other side first: what is broken here is known.
		waiting = append(waiting, move{dir, copied.Bytes, []Side{there, here}})
		if len(waiting) >= batch || time.Since(since) > batchFor {
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

// move is a directory whose copies are there, and the sides on which it is to be exchanged.
type move struct {
	dir   string
	bytes int64
	sides []Side
}

// exchangeAll exchanges directories while the hot part rests, as often as it takes: one rest has to be short. It returns those that are moved.
func exchangeAll(ctx context.Context, hold Hold, moves []move, r *Result) []move {
	var done []move
	for len(moves) > 0 {
		number, err := exchangeSome(ctx, hold, moves, &done, r)
		if err != nil {
			r.take(err)
			break
		}
		moves = moves[number:]
	}
	return done
}

// exchangeSome exchanges as many directories as one rest of the hot part has time for, one at least, and returns how many these were.
func exchangeSome(ctx context.Context, hold Hold, moves []move, done *[]move, r *Result) (number int, err error) {
	release, err := hold(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	for until := time.Now().Add(restFor); number < len(moves) && (number == 0 || time.Now().Before(until)); number++ {
		m := moves[number]
		whole := true
		for _, side := range m.sides {
			// Where it has failed in between, the hot part leaves it alone.
			err := side.Swap(ctx, m.dir)
			if isUnreached(err) {
				return number, err
			}
			if err != nil {
				r.take(err)
				whole = false
				break
			}
		}
		if whole {
			*done = append(*done, m)
		}
	}
	return number, ctx.Err()
}

// moved counts directories that were moved.
func (r *Result) moved(moves []move, log *slog.Logger) {
	for _, m := range moves {
		r.Directories++
		r.Bytes += m.bytes
		log.Info("a directory is in the cold root", "directory", m.dir, "bytes", m.bytes)
	}
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
