package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// TestColdRunTakesLong has runs take longer than the pause between two of them.
func TestColdRunTakesLong(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		took float64
		want string
	}{{299, ""}, {301, "the last run took 5m1s, longer than the 5 minutes after which the next one is due: raise interval_minutes"}} {
		s := paired()
		p := s.Pairs["uploads"]
		p.Cold = &spec.PairCold{OlderThan: 30, Pattern: spec.DefaultDatePattern, Interval: 5}
		s.Pairs["uploads"] = p
		ofPair(s, "a", func(p *spec.PairStatus) {
			p.Cold = &spec.ColdStatus{Orphaned: 2, Last: noon().Add(-time.Minute), Took: test.took}
		})
		ofPair(s, "b", func(p *spec.PairStatus) { p.Cold = &spec.ColdStatus{Orphaned: 1} })
		status := api.StatusOf("a", s, noon())
		got := status.Pairs["uploads"].Cold
		if got == nil || got.Problem != test.want || got.Orphaned != 2 {
			t.Errorf("%g s: %+v", test.took, got)
		}
		if warned := strings.Contains(strings.Join(status.Warnings, "\n"), "longer than the 5 minutes"); warned != (test.want != "") {
			t.Errorf("%g s: warnings %q", test.took, status.Warnings)
		}
	}
}
