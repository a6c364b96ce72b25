package edge_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/atollhq/terraform-provider-atoll/internal/edge"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// begin is a moment of these tests.
var begin = time.Unix(1_700_000_000, 0)

func agreement(well, dead bool) edge.Agreement {
	a := edge.Agreement{Dead: map[string][]string{}, Well: map[string][]string{}}
	if well {
		a.Well["c"] = []string{"a", "b", "c"}
	}
	if dead {
		a.Dead["c"] = []string{"a", "b"}
	}
	return a
}

// TestMemory has a node die and come back, and watches what is wished second by second.
func TestMemory(t *testing.T) {
	var m edge.Memory
	now := begin
	// until returns after how many seconds of the same the wish is this one, or fails.
	until := func(a edge.Agreement, want edge.Wish) int {
		t.Helper()
		for n := range 1000 {
			if m.Judge(a, now)["c"] == want {
				return n
			}
			now = now.Add(time.Second)
		}
		t.Fatalf("never wished %v", want)
		return 0
	}
	rise := int(edge.Rise / time.Second)
	if took := until(agreement(true, false), edge.Restore); took != rise {
		t.Errorf("after a start a well node is given back after %d s, want %d", took, rise)
	}
	if took := until(agreement(false, true), edge.Remove); took != 0 {
		t.Errorf("a dead node is removed after %d s", took)
	}
	now = now.Add(time.Minute)
	out := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, m.Out(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("out of service (-want +got):\n%s", diff)
		}
	}
	if wish := m.Judge(agreement(false, true), now)["c"]; wish != edge.Remove {
		t.Errorf("it is still dead, and the wish is %v", wish)
	}
	if took := until(agreement(false, false), edge.Leave); took != 0 {
		t.Errorf("neither dead nor well, and left alone only after %d s", took)
	}
	m.Judge(agreement(true, false), now)
	out("c")
	if took := until(agreement(true, false), edge.Restore); took != rise {
		t.Errorf("given back after %d s, want %d", took, rise)
	}
	out()
	// An interruption begins the time anew.
	m.Judge(agreement(false, false), now)
	if took := until(agreement(true, false), edge.Restore); took != rise {
		t.Errorf("given back after %d s, want %d", took, rise)
	}
	// Dying again doubles it, up to a bound.
	for _, want := range []int{2 * rise, 4 * rise, 8 * rise, 16 * rise, 16 * rise} {
		m.Judge(agreement(false, true), now)
		now = now.Add(time.Second)
		if took := until(agreement(true, false), edge.Restore); took != want {
			t.Errorf("given back after %d s, want %d", took, want)
		}
	}
	// Long after, all is forgotten.
	now = now.Add(time.Hour)
	m.Judge(agreement(false, true), now)
	if took := until(agreement(true, false), edge.Restore); took != rise {
		t.Errorf("an hour later given back after %d s, want %d", took, rise)
	}
}

// TestHeard gives it statuses with clocks that are wrong, and demands that only their arrival counts.
func TestHeard(t *testing.T) {
	var h edge.Heard
	status := func(boot string, sequence uint64) map[string]spec.Status {
		return map[string]spec.Status{"b": {Node: "b", BootID: boot, Sequence: sequence, Reported: begin.Add(-1000 * time.Hour)}}
	}
	steps := []struct {
		name     string
		after    time.Duration
		statuses map[string]spec.Status
		fresh    bool
	}{
		{"the first one may be of any age", 0, status("x", 7), false},
		{"the same", time.Second, status("x", 7), false},
		{"a new one", time.Second, status("x", 8), true},
		{"still fresh", edge.FreshFor, status("x", 8), true},
		{"old", time.Second, status("x", 8), false},
		{"again a new one", time.Second, status("x", 9), true},
		{"another start, which counts from the beginning", edge.FreshFor + 1, status("y", 1), true},
		{"gone", time.Second, nil, false},
		{"back", time.Second, status("y", 1), false},
	}
	now := begin
	for _, step := range steps {
		now = now.Add(step.after)
		if _, fresh := h.Fresh(step.statuses, now)["b"]; fresh != step.fresh {
			t.Errorf("%s: fresh %v", step.name, fresh)
		}
	}
}
