package spec_test

import (
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func TestPairCold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(p *spec.Pair)
		says   string
	}{
		{"as it should be", func(*spec.Pair) {}, ""},
		{"no pattern", func(p *spec.Pair) { p.Cold.Pattern = "archive" }, "cold.pattern"},
		{"of today", func(p *spec.Pair) { p.Cold.OlderThan = 0 }, "cold.older_than_days"},
		{"all the time", func(p *spec.Pair) { p.Cold.Interval = 1 }, "cold.interval_minutes"},
		{"before it is gone", func(p *spec.Pair) { p.Cold.Takeover = -1 }, "cold.takeover_hours"},
		{"without a root", func(p *spec.Pair) { p.Ends["hk1"] = spec.PairEnd{Path: "/srv/uploads"} }, "ends.hk1.cold_path: is missing"},
		{"a root for nothing", func(p *spec.Pair) { p.Cold = nil }, "is for nothing without cold"},
		{"a root of the system", func(p *spec.Pair) { p.Ends["hk1"] = spec.PairEnd{Path: "/srv/uploads", ColdPath: "/etc/x"} }, "belongs to the system"},
		{"a root in the tree", func(p *spec.Pair) { p.Ends["hk1"] = spec.PairEnd{Path: "/srv/uploads", ColdPath: "/srv/uploads/old"} }, "lie within one another"},
		{"the tree in the root", func(p *spec.Pair) { p.Ends["hk1"] = spec.PairEnd{Path: "/srv/a/uploads", ColdPath: "/srv/a"} }, "lie within one another"},
		{"the tree itself", func(p *spec.Pair) { p.Ends["hk1"] = spec.PairEnd{Path: "/srv/a", ColdPath: "/srv/a"} }, "lie within one another"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			end := spec.PairEnd{Path: "/srv/uploads", ColdPath: "/srv/archive"}
			p := spec.Pair{
				Driver: spec.ReplicationUnison, Ends: map[string]spec.PairEnd{"hk1": end, "sg1": end}, Leader: "hk1", Owner: "www-data", Group: "www-data", Objective: 5,
				Cold: &spec.PairCold{OlderThan: 30, Pattern: spec.DefaultDatePattern, Interval: spec.DefaultColdInterval, Takeover: spec.DefaultColdTakeover},
			}
			tt.change(&p)
			ps := p.Validate()
			if tt.says == "" {
				if len(ps) > 0 {
					t.Errorf("problems: %v", ps)
				}
				return
			}
			if len(ps) == 0 || !strings.Contains(ps.Error(), tt.says) {
				t.Errorf("got %v; want a problem that says %q", ps, tt.says)
			}
		})
	}
}
