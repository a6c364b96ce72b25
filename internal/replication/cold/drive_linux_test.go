package cold_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
)

// slowSide is a side of directories by name, on which everything takes its time.
type slowSide struct {
	state cold.State
	// copying is how long a copy takes, swapping how long an exchange.
	copying, swapping time.Duration
	// held tells whether the hot part rests.
	held func() bool
	// gone is after how many copies and exchanges it is not reached any more, 0 for never; asked how often it was asked then.
	gone, asked int
	done        int
	// wrong is what was done while the hot part ran, or did not.
	wrong []string
}

func (s *slowSide) State(context.Context) (cold.State, error) { return s.state, nil }

// reach fails when the side is gone.
func (s *slowSide) reach() error {
	if s.gone == 0 || s.done < s.gone {
		s.done++
		return nil
	}
	s.asked++
	<-time.After(20 * time.Second)
	return &cold.UnreachedError{Err: errors.New("nobody answers")}
}

func (s *slowSide) copy(dir string) error {
	if err := s.reach(); err != nil {
		return err
	}
	<-time.After(s.copying)
	if s.held() {
		s.wrong = append(s.wrong, "copied while the hot part rests: "+dir)
	}
	return nil
}

func (s *slowSide) Copy(_ context.Context, dir string) (cold.Copied, error) {
	return cold.Copied{Sum: dir, Bytes: 1}, s.copy(dir)
}

func (s *slowSide) Follow(_ context.Context, dir string) error { return s.copy(dir) }

func (s *slowSide) Swap(_ context.Context, dir string) error {
	if err := s.reach(); err != nil {
		return err
	}
	<-time.After(s.swapping)
	if !s.held() {
		s.wrong = append(s.wrong, "exchanged while the hot part runs: "+dir)
	}
	for _, list := range []*[][]byte{&s.state.Plain, &s.state.Due} {
		*list = slices.DeleteFunc(*list, func(d []byte) bool { return string(d) == dir })
	}
	s.state.Linked = append(s.state.Linked, []byte(dir))
	slices.SortFunc(s.state.Linked, bytes.Compare)
	return nil
}

func (*slowSide) Finish(context.Context) error { return nil }

func (*slowSide) Serve(context.Context) (io.ReadWriteCloser, error) { return closed{}, nil }

func (*slowSide) Sync(context.Context, cold.Way, []string, io.ReadWriteCloser) error { return nil }

// resting is a hot part that can be held.
type resting struct {
	held    bool
	began   time.Time
	longest time.Duration
	rests   int
	refuse  error
}

func (r *resting) hold(context.Context) (func(), error) {
	if r.refuse != nil {
		return nil, r.refuse
	}
	r.held, r.began = true, time.Now()
	r.rests++
	return func() {
		r.held = false
		r.longest = max(r.longest, time.Since(r.began))
	}, nil
}

// slowSides are two with so many directories, of which both are given what hk1 and sg1 make of each.
func slowSides(number int, r *resting, divide func(one, other *cold.State, dir []byte)) (one, other *slowSide) {
	one = &slowSide{copying: time.Minute, swapping: 50 * time.Millisecond, held: func() bool { return r.held }}
	other = &slowSide{copying: 2 * time.Minute, swapping: 100 * time.Millisecond, held: one.held}
	for i := range number {
		divide(&one.state, &other.state, fmt.Appendf(nil, "2020/%04d", i))
	}
	return one, other
}

// However many directories there are, and however long they take to be copied, the hot part rests for moments only.
func TestRests(t *testing.T) {
	t.Parallel()
	const number = 500
	for name, test := range map[string]struct {
		divide func(one, other *cold.State, dir []byte)
		move   func(ctx context.Context, one, other cold.Side, hold cold.Hold) cold.Result
	}{
		"due on both": {
			func(one, other *cold.State, dir []byte) {
				for _, s := range []*cold.State{one, other} {
					s.Plain, s.Due = append(s.Plain, dir), append(s.Due, dir)
				}
			},
			func(ctx context.Context, one, other cold.Side, hold cold.Hold) cold.Result {
				return cold.Round(ctx, one, other, hold, slog.New(slog.DiscardHandler))
			},
		},
		"moved on one alone": {
			func(one, other *cold.State, dir []byte) {
				if len(one.Linked) > len(one.Plain) {
					one, other = other, one
				}
				one.Linked, other.Plain = append(one.Linked, dir), append(other.Plain, dir)
			},
			func(ctx context.Context, one, other cold.Side, hold cold.Hold) cold.Result {
				return cold.Follow(ctx, one, other, hold, slog.New(slog.DiscardHandler))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &resting{}
				one, other := slowSides(number, r, test.divide)
				if dirs, err := cold.Apart(t.Context(), one, other); err != nil || len(dirs) != 0 && len(dirs) != number {
					t.Fatalf("moved on one alone: %d, %v", len(dirs), err)
				}
				result := test.move(t.Context(), one, other, r.hold)
				if result.Directories != number || len(result.Problems)+len(result.Busy) > 0 {
					t.Errorf("the result is %d directories, %q, %q", result.Directories, result.Problems, result.Busy)
				}
				if dirs, err := cold.Apart(t.Context(), one, other); err != nil || len(dirs) > 0 || len(one.state.Linked) != number || len(other.state.Linked) != number {
					t.Errorf("%d and %d are moved, %d on one alone, %v", len(one.state.Linked), len(other.state.Linked), len(dirs), err)
				}
				if wrong := slices.Concat(one.wrong, other.wrong); len(wrong) > 0 {
					t.Errorf("%d times at the wrong moment, first %s", len(wrong), wrong[0])
				}
				if r.longest > 3*time.Second || r.held {
					t.Errorf("it rests for %s at once, %d times", r.longest, r.rests)
				}
			})
		})
	}
}

// A side that is gone is no problem to look at, and nobody waits for it again and again while the hot part rests.
func TestUnreached(t *testing.T) {
	t.Parallel()
	for _, gone := range []int{1, 10, 100, 105, 130} {
		synctest.Test(t, func(t *testing.T) {
			r := &resting{}
			one, other := slowSides(100, r, func(one, other *cold.State, dir []byte) {
				for _, s := range []*cold.State{one, other} {
					s.Plain, s.Due = append(s.Plain, dir), append(s.Due, dir)
				}
			})
			other.gone = gone
			result := cold.Round(t.Context(), one, other, r.hold, slog.New(slog.DiscardHandler))
			if result.Unreached != "nobody answers" || len(result.Problems)+len(result.Busy) > 0 {
				t.Errorf("gone after %d: %+v", gone, result)
			}
			if other.asked > 2 || r.longest > 25*time.Second || r.held {
				t.Errorf("gone after %d: it is asked %d times, and the hot part rests for %s", gone, other.asked, r.longest)
			}
		})
	}
}

// Where the hot part is not to be had nothing is exchanged, and nobody waits for ever.
func TestNoRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &resting{refuse: errors.New("the other node is there again")}
		one, other := slowSides(100, r, func(one, other *cold.State, dir []byte) {
			one.Linked, other.Plain = append(one.Linked, dir), append(other.Plain, dir)
		})
		if result := cold.Follow(t.Context(), one, other, r.hold, slog.New(slog.DiscardHandler)); result.Directories > 0 || !slices.Equal(result.Problems, []string{r.refuse.Error()}) {
			t.Errorf("the result is %+v", result)
		}
	})
}
