// Package await lets tests wait until something is so, by looking again and again, and never for a while.
package await

import (
	"context"
	"errors"
	"testing"
	"time"
)

// pause is how long nothing is done between two looks.
const pause = 20 * time.Millisecond

// True waits until a condition holds, and fails the test when it does not within the time.
func True(t testing.TB, what string, within time.Duration, condition func() bool) {
	t.Helper()
	NoError(t, what, within, func(context.Context) error {
		if condition() {
			return nil
		}
		return errNotYet
	})
}

// errNotYet is the complaint of a condition that says no more than no.
var errNotYet = errors.New("it is not so yet")

// NoError waits until an attempt succeeds and returns how long that took. It fails the test with the attempt's last complaint
// when none does within the time. The attempt's context ends with the time or the test.
func NoError(t testing.TB, what string, within time.Duration, attempt func(context.Context) error) time.Duration {
	t.Helper()
	took, err := Attempt(t.Context(), within, attempt)
	if err != nil {
		t.Fatalf("%s: not within %v: %v", what, within, err)
	}
	return took
}

// Attempt is NoError for who wants to say more when no attempt succeeds: it returns the last complaint.
func Attempt(ctx context.Context, within time.Duration, attempt func(context.Context) error) (took time.Duration, err error) {
	from := time.Now()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		complaint := attempt(ctx)
		if complaint == nil {
			return time.Since(from), nil
		}
		// An attempt that was cut off says less than the one before.
		if ctx.Err() == nil || err == nil {
			err = complaint
		}
		select {
		case <-ctx.Done():
			return time.Since(from), err
		case <-tick.C:
		}
	}
}
