//go:build linux

package drills_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/drills"
)

var update = flag.Bool("update", false, "write the golden files anew")

// journal notes what is done in its order.
type journal struct{ lines []string }

func (j *journal) note(line string) error {
	j.lines = append(j.lines, line)
	return nil
}

func (j *journal) options() drills.Options {
	return drills.WithoutLab(
		func(c string) error { return j.note("up " + c) }, func(c string) error { return j.note("down " + c) },
	)
}

// step returns a drill's function that notes its name and returns an error.
func (j *journal) step(name string, err error) func(context.Context, *drills.Field) error {
	return func(context.Context, *drills.Field) error {
		_ = j.note(name)
		return err
	}
}

// traffic is calm and has seen what it is told.
type traffic struct {
	j    *journal
	seen drills.Seen
}

func (traffic) Calm() time.Duration { return time.Hour }

func (t traffic) Stop(context.Context, time.Time) (drills.Seen, error) {
	return t.seen, t.j.note("stop")
}

func TestRun(t *testing.T) {
	t.Parallel()
	bad := errors.New("it burns")
	j := &journal{}
	cluster := func(name string) *drills.Cluster {
		return &drills.Cluster{Name: name, Prepare: j.step("prepare", nil), Ready: j.step("ready", nil)}
	}
	one, two := cluster("one"), cluster("two")
	drill := func(name string, c *drills.Cluster) drills.Drill {
		return drills.Drill{
			Name: name, Proves: "something", Cluster: c, Before: time.Millisecond,
			Setup: j.step("setup", nil), Inject: j.step("inject", nil), Settle: j.step("settle", nil), Heal: j.step("heal", nil),
			Verdict: func(_ context.Context, f *drills.Field, o drills.Outcome) error {
				f.Note("%d lost", o.Lost)
				return j.note("verdict")
			},
		}
	}
	whole := drill("a/whole", one)
	whole.Setup = nil
	unpromised := drill("a/unpromised", one)
	unpromised.Verdict = func(context.Context, *drills.Field, drills.Outcome) error { return bad }
	unprepared := drill("a/unprepared", one)
	unprepared.Setup = j.step("setup", bad)
	unsettled := drill("b/unsettled", two)
	unsettled.Settle = j.step("settle", bad)
	unhealed := drill("b/unhealed", two)
	unhealed.Heal = j.step("heal", bad)
	last := drill("b/last", two)
	// Waiting until nothing fails takes its time, so one of them has traffic.
	whole.Traffic = func(context.Context, *drills.Field) (drills.Traffic, error) {
		return traffic{j, drills.Seen{Asked: 10, Failed: 2, Outage: time.Second, Lost: 1}}, j.note("traffic")
	}
	o := j.options()
	var reported []string
	o.Report = func(r drills.Result) { reported = append(reported, r.Name) }
	results, err := drills.Run(t.Context(), []drills.Drill{whole, unpromised, unprepared, unsettled, unhealed, last}, o)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range results {
		got = append(got, strings.TrimSpace(string(r.Verdict)+" "+r.Reason))
	}
	if diff := cmp.Diff([]string{
		"pass", "FAIL it burns", "BROKEN prepare the drill: it burns", "FAIL it burns", "FAIL the cluster did not heal: it burns", "pass",
	}, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if results[0].Injected.IsZero() || !results[2].Injected.IsZero() || results[0].Lost != 1 || results[0].Notes[0] != "1 lost" {
		t.Errorf("results %+v", results)
	}
	if drills.Failed(results) != 4 || len(reported) != 6 {
		t.Errorf("%d failed, reported were %v", drills.Failed(results), reported)
	}
	want := strings.Fields(`up-one prepare
		ready traffic inject settle stop verdict heal ready
		ready setup inject settle heal ready
		ready setup heal ready
		down-one up-two prepare
		ready setup inject settle heal ready
		ready setup inject settle verdict heal down-two
		up-two prepare ready setup inject settle verdict heal ready down-two`)
	for i := range j.lines {
		j.lines[i] = strings.ReplaceAll(j.lines[i], " ", "-")
	}
	if diff := cmp.Diff(want, j.lines); diff != "" {
		t.Errorf("what was done (-want +got):\n%s", diff)
	}
}

// TestInterrupted ends in the middle: the cluster goes, and what was not tried is no result.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	j := &journal{}
	ctx, cancel := context.WithCancel(t.Context())
	c := &drills.Cluster{Name: "one", Prepare: j.step("prepare", nil)}
	list := []drills.Drill{
		{Name: "a/first", Cluster: c, Inject: j.step("inject", nil)},
		{Name: "a/second", Cluster: c, Inject: func(context.Context, *drills.Field) error { cancel(); return ctx.Err() }},
		{Name: "a/third", Cluster: c, Inject: j.step("never", nil)},
	}
	results, err := drills.Run(ctx, list, j.options())
	if !errors.Is(err, context.Canceled) || len(results) != 1 {
		t.Errorf("%d results, error %v", len(results), err)
	}
	if diff := cmp.Diff([]string{"up one", "prepare", "inject", "down one"}, j.lines); diff != "" {
		t.Errorf("what was done (-want +got):\n%s", diff)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	all := []drills.Drill{{Name: "edge/cut"}, {Name: "edge/power"}, {Name: "edge/week", Long: true}, {Name: "mesh/cut"}}
	for _, tt := range []struct {
		patterns string
		long     bool
		want     string
	}{
		{"", false, "edge/cut edge/power mesh/cut"},
		{"", true, "edge/cut edge/power edge/week mesh/cut"},
		{"edge", false, "edge/cut edge/power"},
		{"edge", true, "edge/cut edge/power edge/week"},
		{"edge/week", false, "edge/week"},
		{"*/cut", false, "edge/cut mesh/cut"},
		{"mesh edge/power", false, "edge/power mesh/cut"},
		{"edge mesh/none", false, "none"},
		{"edge/[", false, "none"},
	} {
		chosen, err := drills.Choose(all, strings.Fields(tt.patterns), tt.long)
		var names []string
		for _, d := range chosen {
			names = append(names, d.Name)
		}
		got := strings.Join(names, " ")
		if errors.Is(err, drills.ErrNoDrill) {
			got = "none"
		} else if err != nil {
			t.Errorf("%q: %v", tt.patterns, err)
		}
		if got != tt.want {
			t.Errorf("%q, long %t: got %q, want %q", tt.patterns, tt.long, got, tt.want)
		}
	}
}

// TestAll holds the drills to what their table needs.
func TestAll(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`^[a-z]+/[a-z0-9-]+$`)
	seen := map[string]bool{}
	left := map[*drills.Cluster]bool{}
	var before *drills.Cluster
	for _, d := range drills.All() {
		if !name.MatchString(d.Name) || seen[d.Name] {
			t.Errorf("%q is no name, or that of two", d.Name)
		}
		seen[d.Name] = true
		if d.Proves == "" || strings.HasSuffix(d.Proves, ".") || d.Inject == nil || d.Cluster == nil || d.Cluster.Prepare == nil || d.Cluster.Ready == nil {
			t.Errorf("%s: it lacks something: %+v", d.Name, d)
		}
		if d.Cluster != before {
			if left[d.Cluster] {
				t.Errorf("%s: its cluster has to be made twice; put drills of one cluster side by side", d.Name)
			}
			left[before], before = true, d.Cluster
		}
	}
	if len(seen) < 10 {
		t.Errorf("there are only %d drills", len(seen))
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 12, 10, 18, 0, time.UTC)
	var out bytes.Buffer
	err := drills.WriteTable(&out, []drills.Result{
		{
			Name: "edge/power-cut", Proves: "a node without power is missed soon", Injected: at, Verdict: drills.Pass,
			Seen:  drills.Seen{Asked: 348, Failed: 1, Outage: 30 * time.Second, Detail: "of 30 sessions 16 moved"},
			Found: map[string]time.Duration{"it is out of service": 1900 * time.Millisecond}, Notes: []string{"a note"},
		},
		{Name: "edge/quiet", Proves: "nobody asks", Injected: at, Verdict: drills.Pass},
		{Name: "mesh/broken", Proves: "nothing", Verdict: drills.Broken, Reason: "no lab"},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "table.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; make it with -update", err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
