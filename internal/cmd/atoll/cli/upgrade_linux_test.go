package cli_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

func TestUpgrade(t *testing.T) {
	w := newUpgradeWorld(t)
	t.Setenv(trust.EnvSigningKey, "the key itself")
	seen := filepath.Join(w.dir, "seen")
	verify := `env >` + seen + `; test "$(cat ` + w.tree("sg1") + `/version)" = 2`
	r := w.upgrade(t.Context(), "start", append([]string{"--verify", verify, "--json"}, w.change()...)...)
	w.want(t, "start", r, cli.Healthy, "2", 0)
	var got struct {
		ID, Node, Outcome string
		Snapshots         []struct {
			Path     string
			Verified bool
		}
		Equal struct{ Equal bool }
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatalf("%v\n%s", err, r.stdout)
	}
	if got.Outcome != "done" || got.Node != "hk1" || len(got.Snapshots) != 1 || !got.Snapshots[0].Verified || !got.Equal.Equal {
		t.Errorf("JSON: %s", r.stdout)
	}
	text, err := os.ReadFile(seen)
	if err != nil || strings.Contains(string(text), "the key itself") || !strings.Contains(string(text), "ATOLL_UPGRADE="+got.ID+"\n") || !strings.Contains(string(text), "ATOLL_UPGRADE_NODE=hk1\n") {
		t.Errorf("commands see %s, %v", text, err)
	}
	if list := w.upgrade(t.Context(), "list"); list.code != cli.Healthy || !strings.Contains(list.stdout, got.ID) || !strings.Contains(list.stdout, "cop") {
		t.Errorf("list: %+v", list)
	}
	if r := w.upgrade(t.Context(), "forget", "u1", got.ID); r.code != cli.Failed || !strings.Contains(r.stderr, `no node has a snapshot "u1"`) {
		t.Errorf("forget: %+v", r)
	}
	if list := w.upgrade(t.Context(), "list"); list.stdout != "cluster web has no snapshots\n" {
		t.Errorf("list: %+v", list)
	}
	for _, command := range []string{"resume", "abort"} {
		if r := w.upgrade(t.Context(), command); r.code != cli.Failed || !strings.Contains(r.stderr, "no upgrade of cluster") {
			t.Errorf("%s: %+v", command, r)
		}
	}
}

func TestUpgradeFails(t *testing.T) {
	for _, tt := range []struct {
		name    string
		args    []string
		command []string
	}{
		{"verify", []string{"--verify", "exit 7"}, nil},
		{"the change", nil, []string{"; exit 7"}},
	} {
		t.Run(tt.name+", taken back", func(t *testing.T) {
			w := newUpgradeWorld(t)
			undone := filepath.Join(w.dir, "undone")
			args := append(append(tt.args, "--on-failure", "restore", "--backup", "echo saved >"+undone, "--undo", "cat "+undone+"; echo undone >"+undone), w.change()...)
			if tt.command != nil {
				args[len(args)-3] += tt.command[0]
			}
			r := w.upgrade(t.Context(), "start", args...)
			w.want(t, "start", r, cli.Degraded, "1", 0, "exit status 7", "put back on hk1: 0 paths were missing, 1 new, 1 changed", "was taken back")
			if text, err := os.ReadFile(undone); err != nil || string(text) != "undone\n" || !strings.Contains(r.stdout, "saved\n") {
				t.Errorf("the backup was not put back: %q, %v", text, err)
			}
			kept, err := filepath.Glob(filepath.Join(w.tree("hk1"), ".atoll/replaced/app/*/1/letter"))
			if err != nil || len(kept) != 1 {
				t.Errorf("what a user wrote is lost: %q, %v", kept, err)
			}
		})
	}

	w := newUpgradeWorld(t)
	r := w.upgrade(t.Context(), "start", append([]string{"--verify", "exit 7", "--backup", "true"}, w.change()...)...)
	w.want(t, "start", r, cli.Stopped, "2", 3, "--verify has failed: exit status 7", "the change is made; go on with: atoll upgrade resume; take it back with: atoll upgrade abort")
	for _, m := range w.away() {
		if !strings.Contains(m.Reason, "on hk1, changed, verifying; if nobody is at it: atoll upgrade resume or abort") {
			t.Errorf("the reason is %q", m.Reason)
		}
	}
	id := w.away()["hk1"].Upgrade.ID
	for _, tt := range []struct {
		name string
		run  func() result
		code int
		want string
	}{
		{"another one", func() result { return w.upgrade(t.Context(), "start", w.change()...) }, cli.Failed, "upgrade " + id + " on hk1 is under way"},
		{"leave", func() result { return w.run(t, append([]string{"maintenance", "leave", "--all"}, w.args...)...) }, cli.Failed, "upgrade " + id + " on hk1 is under way"},
		{"forget", func() result { return w.upgrade(t.Context(), "forget", id) }, cli.Failed, "is under way: resume or abort it first"},
		{"resume without --verify", func() result { return w.upgrade(t.Context(), "resume") }, cli.Stopped, "give that again, or --no-verify"},
		{"abort without --undo", func() result { return w.upgrade(t.Context(), "abort") }, cli.Stopped, "say with --undo"},
		{"list", func() result { return w.upgrade(t.Context(), "list") }, cli.Healthy, "the change is made; go on with"},
	} {
		w.want(t, tt.name, tt.run(), tt.code, "2", 3, tt.want)
	}
	// Another reason does not take it out of the upgrade.
	w.want(t, "enter", w.run(t, append([]string{"maintenance", "enter", "hk2", "--reason", "also"}, w.args...)...), cli.Healthy, "2", 3)
	r = w.upgrade(t.Context(), "resume", "--verify", "true")
	w.want(t, "resume", r, cli.Healthy, "2", 0, "is done")
}

func TestUpgradeAbort(t *testing.T) {
	w := newUpgradeWorld(t)
	if r := w.run(t, append([]string{"maintenance", "enter", "hk2", "--reason", "a new disk"}, w.args...)...); r.code != cli.Healthy {
		t.Fatalf("%+v", r)
	}
	r := w.upgrade(t.Context(), "start", append([]string{"--verify", "false"}, w.change()...)...)
	w.want(t, "start", r, cli.Stopped, "2", 3)
	id := w.away()["hk1"].Upgrade.ID
	file := filepath.Join(w.dir, "hk1/snapshots", id, "tree/version")
	write(t, file, "rot")
	r = w.upgrade(t.Context(), "abort")
	w.want(t, "abort with a damaged snapshot", r, cli.Stopped, "2", 3, "is damaged", "take it back with: atoll upgrade abort")
	write(t, file, "1")
	r = w.upgrade(t.Context(), "abort", "--json")
	w.want(t, "abort", r, cli.Healthy, "1", 1)
	if m := w.away()["hk2"]; m.Reason != "a new disk" || m.Upgrade != nil {
		t.Errorf("who was in maintenance before is so afterwards: %+v", m)
	}
	var got struct {
		Outcome  string
		Restored map[string]struct {
			Changed int
			Same    bool
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || got.Outcome != "restored" || !got.Restored["app"].Same || got.Restored["app"].Changed != 1 {
		t.Errorf("JSON: %v, %s", err, r.stdout)
	}
}

// TestUpgradeOfAStar has two pairs share a tree: one snapshot of it is enough.
func TestUpgradeOfAStar(t *testing.T) {
	w := newUpgradeWorld(t)
	w.star = true
	r := w.upgrade(t.Context(), "start", append([]string{"--verify", "false", "--on-failure", "restore"}, w.change()...)...)
	w.want(t, "start", r, cli.Degraded, "1", 0, "pair star: its tree on hk1 is that of pair app: one snapshot is enough", "was taken back")
}

func TestUpgradeChangesNothing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		world func(t *testing.T, w *upgradeWorld)
		args  func(w *upgradeWorld) []string
		want  string
	}{
		{"no room", func(_ *testing.T, w *upgradeWorld) {
			w.happens = func(what string) error {
				if what == "check" {
					return &api.Error{StatusCode: 409, Reason: api.ReasonSnapshotRefused, Message: "a snapshot would take 7 bytes"}
				}
				return nil
			}
		}, (*upgradeWorld).change, "nothing was changed: node hk1: a snapshot would take 7 bytes"},
		{"the backup fails", nil, func(w *upgradeWorld) []string { return append([]string{"--backup", "exit 3"}, w.change()...) }, "--backup has failed: exit status 3"},
		{"the tree changes while it is copied", func(t *testing.T, w *upgradeWorld) {
			w.happens = func(what string) error {
				if what == "take" {
					write(t, filepath.Join(w.tree("hk1"), "cron"), "x")
				}
				return nil
			}
		}, (*upgradeWorld).change, "something has changed the tree"},
		{"no such node", nil, func(w *upgradeWorld) []string { return append([]string{"--on", "sg9"}, w.change()...) }, `cluster "web" has no node "sg9"; it has hk1, hk2, sg1`},
		{"a node without the pair", nil, func(w *upgradeWorld) []string { return append([]string{"--on", "hk2"}, w.change()...) }, "none of the pairs app has a tree on hk2"},
		{"no such pair", nil, func(w *upgradeWorld) []string { return append([]string{"--pair", "x"}, w.change()...) }, `cluster "web" has no pair "x"`},
		{"no command", nil, func(*upgradeWorld) []string { return nil }, "say which command makes the change"},
		{"a command in the wrong place", nil, func(*upgradeWorld) []string { return []string{"ssh"} }, "has to follow after --"},
		{"what to do when it fails", nil, func(w *upgradeWorld) []string { return append([]string{"--on-failure", "weep"}, w.change()...) }, `"weep" is neither "keep" nor "restore"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newUpgradeWorld(t)
			if tt.world != nil {
				tt.world(t, w)
			}
			r := w.upgrade(t.Context(), "start", tt.args(w)...)
			if r.code != cli.Failed || !strings.Contains(r.stderr, tt.want) || w.version("hk1") != "1" || len(w.away()) != 0 {
				t.Errorf("exit code %d, version %s, in maintenance %v, it says %s%s", r.code, w.version("hk1"), w.away(), r.stdout, r.stderr)
			}
		})
	}
}

// TestUpgradeIsKilled has the program die in each step. Another run goes on, or takes it back.
func TestUpgradeIsKilled(t *testing.T) {
	const backup, verify = "true", "true"
	for _, tt := range []struct {
		name string
		// at is what happens for the nth time when it dies; command is what it runs when it dies in a command.
		at      string
		nth     int
		command string
		// resume are the arguments to go on with, but for the change when that is to be made.
		resume []string
		change bool
		// step is where it has stopped then, "" when nothing is left to go on with.
		step spec.UpgradeStep
	}{
		{name: "before anything", at: "check", nth: 1},
		{name: "one of the nodes is told", at: "push to hk1", nth: 2, resume: []string{"--backup", backup}, change: true, step: spec.UpgradeSnapshot},
		{name: "the barrier before", at: "digest on sg1", nth: 1, resume: []string{"--backup", backup}, change: true, step: spec.UpgradeSnapshot},
		{name: "the snapshot", at: "take", nth: 1, resume: []string{"--backup", backup}, change: true, step: spec.UpgradeSnapshot},
		{name: "the nodes are told of the change", at: "push to sg1", nth: 5, resume: []string{"--again"}, change: true, step: spec.UpgradeChange},
		{name: "the change", command: "change", resume: []string{"--again"}, change: true, step: spec.UpgradeChange},
		{name: "the change, which was made", command: "change", resume: []string{"--changed"}, step: spec.UpgradeChange},
		{name: "the barrier after", at: "digest on hk1", nth: 3, step: spec.UpgradeVerify},
		{name: "the verification", command: "verify", step: spec.UpgradeVerify},
		{name: "one of the nodes is back", at: "push to hk2", nth: 11, step: spec.UpgradeVerify},
	} {
		for _, abort := range []bool{false, true} {
			name := tt.name + ", resume"
			if abort {
				name = tt.name + ", abort"
			}
			t.Run(name, func(t *testing.T) {
				w := newUpgradeWorld(t)
				ctx, kill := context.WithCancel(t.Context())
				defer kill()
				if nth := tt.nth; tt.at != "" {
					w.happens = func(what string) error {
						if what == tt.at {
							nth--
						}
						if nth == 0 {
							kill()
						}
						if ctx.Err() != nil {
							return ctx.Err()
						}
						return nil
					}
				}
				began := filepath.Join(w.dir, "began")
				slow := map[string]string{tt.command: "touch " + began + "; exec sleep 600; "}
				args := []string{"--backup", backup, "--verify", slow["verify"] + verify, "--on-failure", "restore"}
				change := w.change()
				change[3] += "; " + slow["change"]
				if tt.command != "" {
					go func() {
						tick := time.NewTicker(5 * time.Millisecond)
						defer tick.Stop()
						for ctx.Err() == nil {
							if _, err := os.Stat(began); err == nil {
								kill()
							}
							<-tick.C
						}
					}()
				}
				r := w.upgrade(ctx, "start", append(args, change...)...)
				w.mu.Lock()
				w.happens = nil
				w.mu.Unlock()
				if tt.step == "" {
					if r.code != cli.Failed || len(w.away()) != 0 {
						t.Errorf("exit code %d, in maintenance %v: %s", r.code, w.away(), r.stderr)
					}
					return
				}
				if r.code != cli.Stopped || !strings.Contains(r.stderr, "atoll upgrade abort") || len(w.away()) == 0 {
					t.Fatalf("exit code %d, in maintenance %v: %s", r.code, w.away(), r.stderr)
				}
				if !slices.ContainsFunc(slices.Collect(maps.Values(w.away())), func(m spec.Maintenance) bool { return m.Upgrade.Step == tt.step }) {
					t.Errorf("it has not died in step %s: %+v", tt.step, w.away())
				}
				if abort {
					r = w.upgrade(t.Context(), "abort", "--undo", "true")
					w.want(t, "abort", r, cli.Healthy, "1", 0)
					return
				}
				args = slices.Concat(tt.resume, []string{"--verify", verify})
				if tt.change {
					args = append(args, w.change()...)
				}
				r = w.upgrade(t.Context(), "resume", args...)
				w.want(t, "resume", r, cli.Healthy, "2", 0)
			})
		}
	}
}
