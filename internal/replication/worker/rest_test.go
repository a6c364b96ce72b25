package worker_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// Whoever wants the program to rest waits for the end of a round, and no new one begins.
func TestSettle(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		// ends is how a round ends after 3 s.
		ends func(r worker.Resting) error
		took time.Duration
		// refused tells that the program has asked for more.
		refused bool
	}{
		"it waits for changes":     {func(r worker.Resting) error { r.Rests(); return nil }, 3 * time.Second, false},
		"it asks what has changed": {worker.Resting.Pass, 3 * time.Second, true},
		"it does not end":          {func(worker.Resting) error { return nil }, 10 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := worker.NewResting()
				if err := r.Pass(); err != nil {
					t.Errorf("before anybody wants it to rest: %v", err)
				}
				answered := make(chan error, 1)
				go func() {
					<-time.After(3 * time.Second)
					answered <- test.ends(r)
				}()
				began := time.Now()
				end := r.Settle(t.Context())
				if took := time.Since(began); took < test.took || took > test.took+time.Second {
					t.Errorf("it takes %s", took)
				}
				synctest.Wait()
				if test.refused && len(answered) > 0 {
					t.Error("it is told of more while it is to rest")
				}
				end()
				end()
				if err := <-answered; (err != nil) != test.refused {
					t.Errorf("the answer is %v", err)
				}
				if err := r.Pass(); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		worker.NewResting().Settle(ctx)()
		if took := time.Since(began); took > 0 {
			t.Errorf("after the end it takes %s", took)
		}
	})
}
