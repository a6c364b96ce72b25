package worker_test

import (
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// TestDoubt compares directories again and again.
func TestDoubt(t *testing.T) {
	t.Parallel()
	began := time.Now()
	var d worker.Doubt
	for _, step := range []struct {
		after time.Duration
		want  bool
	}{
		{0, false},
		{4 * time.Second, false},
		{5 * time.Second, true},
		{6 * time.Second, false},
		{12 * time.Second, false}, // contents were just read
		{time.Hour, false},        // another time
		{time.Hour + 4*time.Second, false},
		{time.Hour + 65*time.Second, false}, // the one after that is too long ago
		{time.Hour + 71*time.Second, true},
	} {
		if got := d.Compared(began.Add(step.after)); got != step.want {
			t.Errorf("after %s: %t", step.after, got)
		}
	}
}
