//go:build linux

package e2e_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// starAfter is for how long the centre of the star has to be dead until its backup takes over, in seconds.
const starAfter = 5

// starSite is a site with one tree on three nodes. Its pair is the centre's (one) and the leaf's (other).
type starSite struct {
	filesSite
	backup string
}

// TestStar runs one tree on three nodes, whose centre dies and comes back: the other two go on with each other.
func TestStar(t *testing.T) {
	t.Parallel()
	onceForAllEngines(t)
	s := newSite(t)
	f := starSite{filesSite{site: s, pair: s.Pair("hk1", "sg1"), one: "hk1", other: "sg1"}, "hk2"}
	f.Work.Env = append(f.Work.Env, rig.WithStar(f.one, f.backup, f.other, starAfter))
	f.apply(t)
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"begins", f.begins},
		{"the centre dies", f.centreDies},
		{"the centre is back", f.centreIsBack},
		{"the standby pair goes", f.standbyGoes},
	} {
		if !t.Run(step.name, step.run) {
			t.FailNow()
		}
	}
}

func (f starSite) nodes() []string { return []string{f.one, f.backup, f.other} }

// everywhere waits until commands in the tree print a text on each of some nodes.
func (f starSite) everywhere(t *testing.T, commands, want string, nodes ...string) {
	t.Helper()
	for _, node := range nodes {
		f.reads(t, node, commands, want, time.Minute)
	}
}

// equal returns an error unless all three trees hold the same.
func (f starSite) equal(ctx context.Context) error {
	for _, node := range []string{f.backup, f.other} {
		if err := f.Pair(f.one, node).Equal(ctx); err != nil {
			return err
		}
	}
	return nil
}

// standsIn returns an error unless the standby pair is in a state, and stands in for the centre or does not.
func (f starSite) standsIn(standsIn bool, state spec.PairState) func(context.Context) error {
	return func(ctx context.Context) error {
		status, _, err := f.Status(ctx)
		if v := status.Pairs[rig.StandbyName]; err == nil && (v.State != state || v.StandsIn.IsZero() == standsIn) {
			err = errNot("%+v", v)
		}
		return err
	}
}

// begins has what each node writes on both others, while the standby pair stands by.
func (f starSite) begins(t *testing.T) {
	f.eventually(t, "the cluster is healthy", time.Minute, f.healthy)
	f.eventually(t, "the standby pair stands by", time.Minute, f.standsIn(false, spec.PairStandingBy))
	for _, node := range f.nodes() {
		f.do(t, node, "mkdir of-"+node+"; for i in $(seq 30); do echo $i >of-"+node+"/$i; done; echo before >changed-"+node)
	}
	for _, from := range f.nodes() {
		f.everywhere(t, "ls of-"+from+" | wc -l; cat changed-"+from, "30\nbefore", f.nodes()...)
	}
	if out, err := f.Atoll(t.Context(), "wait-synced", "--timeout", "1m"); err != nil {
		t.Errorf("wait-synced: %v\n%s", err, out)
	}
	f.wantNoChange(t)
}

// centreDies takes the centre's power. What is made, changed and removed on either of the others from then on is so on both of them, without a conflict.
// Its pairs have ended just before: a node that loses its power in the middle of a change, be it a canary's, compares its trees as a
// whole afterwards, and what was removed elsewhere meanwhile is there again. In the drills of a star it dies in the middle.
func (f starSite) centreDies(t *testing.T) {
	if _, err := f.Exec(t.Context(), f.one, "systemctl", "stop", "atoll-pair-*.service"); err != nil {
		t.Fatal(err)
	}
	if err := f.Kill(t.Context(), f.one); err != nil {
		t.Fatal(err)
	}
	two := []string{f.backup, f.other}
	for _, node := range two {
		f.do(t, node, "echo after >changed-"+node+"; rm of-"+node+"/1; echo new >new-"+node)
	}
	began := time.Now()
	for _, node := range two {
		f.everywhere(t, "cat changed-"+node+" new-"+node+"; ls of-"+node+" | wc -l", "after\nnew\n29", two...)
	}
	t.Logf("the backup has taken over within %.0f s", time.Since(began).Seconds())
	f.eventually(t, "the status says so", time.Minute, f.standsIn(true, spec.PairSynced))
	for _, node := range two {
		h, err := f.Health(t.Context(), node)
		if err != nil || h.Parts["files"] != "ok" {
			t.Errorf("%s says %+v, %v", node, h, err)
		}
		// An agent that starts again leaves it at that.
		if _, err := f.Exec(t.Context(), node, "systemctl", "kill", "--signal=KILL", "atolld.service"); err != nil {
			t.Fatal(err)
		}
		f.do(t, f.other, "rm -f of-"+f.one+"/1; echo of "+node+" >restarted")
		f.everywhere(t, "cat restarted", "of "+node, two...)
	}
	f.everywhere(t, "ls of-"+f.one+" | wc -l; ls | grep -c conflict || true", "29\n0", two...)
}

// centreIsBack gives the centre its power back, while both others write: it has everything before it serves, and then the standby pair stands by again.
func (f starSite) centreIsBack(t *testing.T) {
	if err := f.PowerOn(t.Context(), f.one); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{f.backup, f.other} {
		f.do(t, node, "mkdir while-"+node+"; for i in $(seq 200); do echo $i >while-"+node+"/$i; done")
	}
	f.eventually(t, f.one+" is there", 2*time.Minute, func(ctx context.Context) error {
		_, err := f.Health(ctx, f.one)
		return err
	})
	f.servesWith(t, f.one, "test $(cat changed-"+f.other+") = after; test $(ls of-"+f.other+" | wc -l) = 29; test $(ls of-"+f.backup+" | wc -l) = 29; test $(cat new-"+f.backup+") = new")
	f.eventually(t, "the standby pair stands by again", 2*time.Minute, f.standsIn(false, spec.PairStandingBy))
	f.eventually(t, "all trees are equal", time.Minute, f.equal)
	for _, from := range []string{f.backup, f.other} {
		f.everywhere(t, "ls while-"+from+" | wc -l; ls of-"+from+" | wc -l", "200\n29", f.nodes()...)
	}
	for _, node := range f.nodes() {
		f.do(t, node, "echo last >last-"+node+"; rm changed-"+node)
	}
	for _, from := range f.nodes() {
		f.everywhere(t, "cat last-"+from+"; test ! -e changed-"+from, "last", f.nodes()...)
	}
	f.everywhere(t, "ls | grep conflict || true", "", f.nodes()...)
	f.eventually(t, "the cluster is healthy", time.Minute, f.healthy)
	f.wantNoChange(t)
}

// standbyGoes takes the standby pair away: the others go on, and nothing of it is left.
func (f starSite) standbyGoes(t *testing.T) {
	f.mustRun(t, "destroy", "-auto-approve", `-target=atoll_replication_pair.files["`+rig.StandbyName+`"]`)
	f.do(t, f.other, "echo on >goes-on")
	f.everywhere(t, "cat goes-on", "on", f.nodes()...)
	for _, node := range []string{f.backup, f.other} {
		if out, err := f.Exec(t.Context(), node, "sh", "-euc", "systemctl list-unit-files 'atoll-*pair-*' --no-legend; ls "+rig.PairPath+"/.atoll"); err != nil || strings.Contains(string(out), "standby") {
			t.Errorf("%s: %q, %v", node, out, err)
		}
	}
	f.mustRun(t, "destroy", "-auto-approve", "-target=atoll_replication_pair.files")
	f.everywhere(t, "cat goes-on; ls -A | grep ^.atoll || true", "on", f.nodes()...)
}
