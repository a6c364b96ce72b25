package cli_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// paired is a cluster with a pair that is in sync, one with conflicts and trouble, and one of which a side is not heard of.
func paired() api.ClusterStatus {
	s := cluster("hk1")
	side := func(path string, state spec.PairState, more func(*api.PairSideView)) api.PairSideView {
		v := api.PairSideView{Path: path, PairStatus: spec.PairStatus{
			State: state, Since: now.Add(-time.Hour), Propagation: 0.018, Measured: now.Add(-12 * time.Second), Watching: "fanotify",
		}}
		if more != nil {
			more(&v)
		}
		return v
	}
	s.Pairs = map[string]api.PairView{
		"uploads": {
			Leader: "hk1", State: spec.PairSynced, Synced: now.Add(-2 * time.Second), Cold: &spec.ColdStatus{
				Directories: 412, Due: 1, Bytes: 81_200_000_000, Kept: 3, Last: now.Add(-3 * time.Hour), Took: 41.2,
				Waiting: `directory "2026/02/11" is in use: "x" is open for writing`, Problem: "sg1: the cold root is not there",
			}, Sides: map[string]api.PairSideView{
				"hk1": side("/srv/uploads", spec.PairSynced, func(v *api.PairSideView) {
					v.Lately = &spec.PairPropagation{P50: 0.018, P99: 0.21, Max: 1.34, Canaries: 112, From: now.Add(-time.Hour)}
					v.Carried = &spec.PairCarried{From: now.Add(-26 * time.Hour), SentBytes: 3_000_000_000, ReceivedBytes: 705_000_000, Files: 47_000}
				}),
				"sg1": side("/srv/uploads", spec.PairSynced, nil),
			},
		},
		"photos": {
			Leader: "hk2", State: spec.PairFailed, Synced: now.Add(-3 * time.Hour), Conflicts: 3,
			ConflictPaths: []string{"2026/ferry (conflict_on_2026-03-14).jpg", "a\x1b[2J (conflict)"},
			Sides: map[string]api.PairSideView{
				"hk2": side("/srv/photos", spec.PairSyncing, func(v *api.PairSideView) { v.Pending, v.Propagation = 1200, 7.25 }),
				"sg1": side("/data/photos", spec.PairFailed, func(v *api.PairSideView) {
					v.Problem, v.Watching = "the disk of /data/photos is full: make room", "inotify"
				}),
			},
		},
		"shared": {
			Leader: "hk1", State: spec.PairDisconnected, Sides: map[string]api.PairSideView{
				"hk1": side("/srv/shared", spec.PairDisconnected, func(v *api.PairSideView) { v.Propagation = 0 }),
				"hk2": side("/srv/shared", api.PairUnknown, func(v *api.PairSideView) { v.Stale, v.Problem = true, "old news" }),
			},
		},
	}
	s.Healthy, s.Reasons = false, []string{"pair photos: its sides are not kept equal"}
	return s
}

func TestStatusOfPairs(t *testing.T) {
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	o := newOperator(t)
	key := o.withKey(t)
	endpoint, _ := (&agent{status: paired()}).serve(t, key, "hk1")
	r := o.run(t, "status", "--endpoint", endpoint, "--cluster", "web")
	if r.code != cli.Degraded || strings.Contains(r.stdout, "\x1b") {
		t.Errorf("exit code %d, want %d, and nothing for the terminal to act on: %q", r.code, cli.Degraded, r.stdout)
	}
	r2 := o.run(t, "status", "--json", "--endpoint", endpoint, "--cluster", "web")
	var got api.ClusterStatus
	if err := json.Unmarshal([]byte(r2.stdout), &got); err != nil {
		t.Fatal(err)
	}
	if p := got.Pairs["photos"]; p.Conflicts != 3 || len(p.ConflictPaths) != 2 || p.Sides["hk2"].Pending != 1200 || p.Sides["sg1"].State != spec.PairFailed {
		t.Errorf("JSON: got %+v", p)
	}
	t.Chdir(home)
	golden(t, "pairs.golden", r.stdout)
}
