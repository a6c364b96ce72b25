package operator_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
)

// TestRecentAnswers asks at most once at a time and once within the age that a refresh accepts.
func TestRecentAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var a operator.Asker
		var asked atomic.Int32
		ask := func() (int, error) {
			time.Sleep(time.Second)
			return int(asked.Add(1)), nil
		}
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if got, err := a.Ask(t.Context(), "node", ask); got != 1 || err != nil {
					t.Errorf("got %d, %v", got, err)
				}
			})
		}
		wg.Wait()
		if got, _ := a.Ask(t.Context(), "other", ask); got != 2 {
			t.Errorf("another key: got %d, want its own answer", got)
		}
		time.Sleep(5 * time.Second)
		if got, _ := a.Ask(t.Context(), "node", ask); got != 1 {
			t.Errorf("after 6 s: got %d, want the old answer", got)
		}
		time.Sleep(10 * time.Second)
		if got, _ := a.Ask(t.Context(), "node", ask); got != 3 {
			t.Errorf("after 16 s: got %d, want a new answer", got)
		}
	})
}

// TestCancelledAnswer does not keep that a caller went away, and lets who waits for another's answer go.
func TestCancelledAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var a operator.Asker
		cancelled := func() (int, error) { return 0, context.Canceled }
		if _, err := a.Ask(t.Context(), "node", cancelled); !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v", err)
		}
		go func() {
			_, _ = a.Ask(t.Context(), "node", func() (int, error) { time.Sleep(time.Minute); return 7, nil })
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Ask(ctx, "node", cancelled); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want the waiting caller's deadline", err)
		}
		if got, err := a.Ask(t.Context(), "node", cancelled); got != 7 || err != nil {
			t.Errorf("got %d, %v; want the first one's answer", got, err)
		}
	})
}
