package recovery_test

import (
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/recovery"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func TestHearing(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	report := func(boot string, sequence uint64) map[string]spec.Status {
		return map[string]spec.Status{"b": {BootID: boot, Sequence: sequence}}
	}
	h := recovery.NewHearing(report("1", 7))
	steps := []struct {
		name  string
		told  map[string]spec.Status
		after time.Duration
		want  bool
	}{
		{"what was on the disk is of any age", report("1", 7), 0, false},
		{"another one", report("1", 8), time.Second, true},
		{"it lasts", report("1", 8), 40 * time.Second, true},
		{"and grows old", report("1", 8), 2 * time.Minute, false},
		{"another start of the agent", report("2", 8), 3 * time.Minute, true},
	}
	for _, s := range steps {
		h.Listen(s.told, noon.Add(s.after))
		if got := h.Fresh("b", noon.Add(s.after)); got != s.want {
			t.Errorf("%s: fresh is %v, want %v", s.name, got, s.want)
		}
	}
	if h.Fresh("c", noon) {
		t.Error("one that was never heard of is fresh")
	}
}
