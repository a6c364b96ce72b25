package await_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
)

func TestAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n int
		took, err := await.Attempt(t.Context(), time.Minute, func(context.Context) error {
			if n++; n < 10 {
				return errors.New("too early")
			}
			return nil
		})
		if err != nil || n != 10 || took <= 0 || took > time.Second {
			t.Errorf("got %v after %v and %d attempts, want success with the tenth", err, took, n)
		}
	})
}

// TestAttemptGivesUp keeps the last complaint that says something.
func TestAttemptGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, sense := time.Now(), errors.New("it is broken")
		_, err := await.Attempt(t.Context(), time.Second, func(ctx context.Context) error {
			if time.Since(begin) < 500*time.Millisecond {
				return sense
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, sense) {
			t.Errorf("got %v, want %v", err, sense)
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("gave up after %v, want 1 s", took)
		}
	})
}

func TestTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		await.True(t, "a second passes", time.Minute, func() bool { return time.Since(begin) >= time.Second })
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("took %v, want 1 s", took)
		}
	})
}
