package rest_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/rest"
)

// TestWindow asks for starts at random times: no period ever holds more than the limit, nobody is made to wait in an idle
// window, and the order is kept.
func TestWindow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 20).Draw(t, "limit")
		period := time.Duration(rapid.IntRange(1, 1000).Draw(t, "period")) * time.Millisecond
		w := rest.NewWindow(limit, period)
		now := time.Unix(1_000_000, 0)
		var starts []time.Time
		for range rapid.IntRange(1, 100).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "pause")) * time.Millisecond)
			start := w.Reserve(now)
			n := len(starts)
			switch {
			case start.Before(now):
				t.Fatalf("start %v is before %v", start, now)
			case n > 0 && start.Before(starts[n-1]):
				t.Fatalf("start %v is before the one before it, %v", start, starts[n-1])
			case n >= limit && start.Sub(starts[n-limit]) < period:
				t.Fatalf("%d requests within %v", limit+1, start.Sub(starts[n-limit]))
			case n < limit && !start.Equal(now):
				t.Fatalf("request %d had to wait until %v at %v, the limit is %d", n+1, start, now, limit)
			}
			starts = append(starts, start)
		}
	})
}

// TestHold lets nothing start before the moment that is held, and keeps the later of two.
func TestHold(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	w := rest.NewWindow(10, time.Second)
	w.Hold(now.Add(time.Minute))
	w.Hold(now.Add(time.Second))
	if start := w.Reserve(now); !start.Equal(now.Add(time.Minute)) {
		t.Errorf("got start %v, want a minute later", start)
	}
	if start := w.Reserve(now.Add(2 * time.Minute)); !start.Equal(now.Add(2 * time.Minute)) {
		t.Errorf("got start %v after it was over", start)
	}
}
