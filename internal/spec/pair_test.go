package spec_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func uploads() spec.Pair {
	return spec.Pair{
		Driver: spec.ReplicationUnison,
		Ends:   map[string]spec.PairEnd{"hk1": {Path: "/srv/uploads"}, "sg1": {Path: "/var/www/data"}},
		Leader: "hk1", Owner: "www-data", Group: "www-data", Exclude: []string{"*.tmp"},
		Limits:    spec.PairLimits{Bandwidth: 4096, Nice: 10, IO: spec.IOIdle, Memory: 512},
		Objective: spec.DefaultPairObjective,
	}
}

func TestPairValidate(t *testing.T) {
	t.Parallel()
	if ps := uploads().Validate(); len(ps) > 0 {
		t.Fatalf("a good one has problems: %v", ps)
	}
	tests := []struct {
		name   string
		change func(*spec.Pair)
		field  string
		says   string
	}{
		{"driver", func(p *spec.Pair) { p.Driver = "csync2" }, "driver", "unknown"},
		{"one node", func(p *spec.Pair) { delete(p.Ends, "sg1") }, "ends", "has 1 nodes"},
		{"three nodes", func(p *spec.Pair) { p.Ends["sg2"] = spec.PairEnd{Path: "/srv/a"} }, "ends", "has 3 nodes"},
		{"leader elsewhere", func(p *spec.Pair) { p.Leader = "sg2" }, "leader", "none of the pair's nodes"},
		{"no leader", func(p *spec.Pair) { p.Leader = "" }, "leader", "none of the pair's nodes"},
		{"no owner", func(p *spec.Pair) { p.Owner = "" }, "owner", "empty"},
		{"root", func(p *spec.Pair) { p.Owner = "root" }, "owner", "everywhere"},
		{"group", func(p *spec.Pair) { p.Group = "www data" }, "group", "not the name of an account"},
		{"many patterns", func(p *spec.Pair) { p.Exclude = slices.Repeat([]string{"*.tmp"}, spec.MaxExcludes+1) }, "exclude", "201 patterns"},
		{"objective", func(p *spec.Pair) { p.Objective = 0 }, "objective", "is 0"},
		{"bandwidth", func(p *spec.Pair) { p.Limits.Bandwidth = -1 }, "limits.bandwidth", "-1"},
		{"nice", func(p *spec.Pair) { p.Limits.Nice = 20 }, "limits.nice", "is 20"},
		{"I/O class", func(p *spec.Pair) { p.Limits.IO = "realtime" }, "limits.io", "unknown"},
		{"memory", func(p *spec.Pair) { p.Limits.Memory = 16 }, "limits.memory", "not enough"},
		{"standby for itself", func(p *spec.Pair) { p.Standby = &spec.PairStandby{For: "sg1", After: 30} }, "standby.for", "one of the pair's own nodes"},
		{"standby for nobody", func(p *spec.Pair) { p.Standby = &spec.PairStandby{After: 30} }, "standby.for", ""},
		{"standby at once", func(p *spec.Pair) { p.Standby = &spec.PairStandby{For: "hk2", After: 1} }, "standby.after_seconds", "is 1"},
		{"path", func(p *spec.Pair) { p.Ends["sg1"] = spec.PairEnd{Path: "/etc/app"} }, "ends.sg1.path", "/etc belongs to the system"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := uploads()
			p.Ends = maps.Clone(p.Ends)
			tt.change(&p)
			expectProblem(t, p.Validate(), tt.field, tt.says)
		})
	}
}

func TestValidateTree(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"/srv/uploads", "/var/www/data", "/home/app/files", "/opt/app", "/data", "/srv/with blank", "/srv/ümlaut", "/var/lib/atoll-files", "/usrdata"} {
		if ps := spec.ValidateTree("path", good); len(ps) > 0 {
			t.Errorf("%s: %v", good, ps)
		}
	}
	for bad, says := range map[string]string{
		"": "empty", "srv": "not absolute", "/srv/": "shortest form", "/srv/../etc": "shortest form", "/srv//a": "shortest form", "/": "not of one application",
		"/srv": "not of one application", "/var": "not of one application", "/etc": "belongs to the system", "/usr/share/app": "belongs to the system",
		"/proc/1": "belongs to the system", "/var/lib/atoll/objects": "belongs to the system", "/tmp/app": "belongs to the system", "/root/x": "belongs to the system",
		"/srv/a\nb": "characters", "/srv/a\x00": "characters", `/srv/"a"`: "characters", "/srv/100%": "characters", "/srv/" + strings.Repeat("a", 260): "255",
	} {
		expectProblem(t, spec.ValidateTree("path", bad), "path", says)
	}
}
