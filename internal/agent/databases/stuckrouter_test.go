package databases_test

import (
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/databases"
)

// TestStuckRouter looks at a router every second that does not find the primary.
func TestStuckRouter(t *testing.T) {
	t.Parallel()
	began := time.Now()
	var s databases.StuckRouter
	restarts := func(missing bool, from, to int) (at []int) {
		for second := from; second < to; second++ {
			if s.Due(missing, began.Add(time.Duration(second)*time.Second)) {
				at = append(at, second)
			}
		}
		return at
	}
	if at := restarts(true, 0, 10); at != nil {
		t.Errorf("started again after %v s, though it may find it yet", at)
	}
	if at := restarts(false, 10, 12); at != nil {
		t.Errorf("started again after %v s, though it has found it", at)
	}
	if at := restarts(true, 12, 100); len(at) != 2 || at[0] != 22 || at[1] != 82 {
		t.Errorf("started again after %v s, want 22 and, since that has not helped, 82", at)
	}
	if at := restarts(false, 100, 200); at != nil {
		t.Errorf("started again after %v s, though it is well", at)
	}
}
