//go:build linux

package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// arrival is how soon what is written on one node has to be on the other where nothing is wrong, with much to spare for a machine that
// boots others beside. The benchmark measures it.
const arrival = 5 * time.Second

// filesSite is a site with the reference topology's pair.
type filesSite struct {
	*site
	pair *rig.Pair
	// one leads the pair, other does not.
	one, other string
}

// TestFiles runs the reference topology's pair: what its nodes write meets, and nothing is lost when programs, nodes and paths die.
func TestFiles(t *testing.T) {
	t.Parallel()
	onceForAllEngines(t)
	s := newSite(t)
	f := filesSite{site: s, pair: s.Pair("hk1", "sg1"), one: "hk1", other: "sg1"}
	f.Work.Env = append(f.Work.Env, rig.WithColdPair(f.one, f.other))
	f.apply(t)
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"begins", f.begins},
		{"both nodes write", f.bothWrite},
		{"modes and owners are kept", f.keepsModes},
		{"programs are killed", f.programsAreKilled},
		{"both change a file while apart", f.apart},
		{"barrier", f.barrier},
		{"upgrade", f.upgrades},
		{"a node loses power", f.losesPower},
		{"a tree is not there", f.treeIsNotThere},
		{"old directories are moved", f.oldAreMoved},
		{"a command after changes", f.afterChange},
		{"no secret leaks", func(t *testing.T) { noSecretLeaks(t, s) }},
		{"goes", f.goes},
	} {
		if !t.Run(step.name, step.run) {
			t.FailNow()
		}
	}
}

// do runs commands in the tree on a node, which must succeed.
func (f filesSite) do(t *testing.T, node, commands string) {
	t.Helper()
	if out, err := f.pair.Run(t.Context(), node, commands); err != nil {
		t.Fatalf("%s: %s: %v: %s", node, commands, err, out)
	}
}

// reads waits until commands in the tree on a node print a text, and returns how long that took.
func (f filesSite) reads(t *testing.T, node, commands, want string, within time.Duration) time.Duration {
	t.Helper()
	return f.eventually(t, fmt.Sprintf("%s reads %q", node, want), within, func(ctx context.Context) error {
		out, err := f.pair.Run(ctx, node, commands)
		if err == nil && strings.TrimSpace(out) != want {
			err = errNot("%q", out)
		}
		return err
	})
}

func (f filesSite) begins(t *testing.T) {
	f.eventually(t, "the cluster is healthy", time.Minute, f.healthy)
	if err := f.pair.Synced(t.Context()); err != nil {
		t.Error(err)
	}
	f.eventually(t, "both ways are measured", time.Minute, func(ctx context.Context) error {
		status, _, err := f.Status(ctx)
		for _, side := range status.Pairs[rig.PairName].Sides {
			if err == nil && (side.Propagation <= 0 || side.Propagation > arrival.Seconds()) {
				err = errNot("%.2f s from one of them", side.Propagation)
			}
		}
		return err
	})
	f.wantNoChange(t)
}

func (f filesSite) healthy(ctx context.Context) error {
	status, healthy, err := f.Status(ctx)
	if err == nil && !healthy {
		err = errNot("%v", status.Reasons)
	}
	return err
}

func (f filesSite) bothWrite(t *testing.T) {
	f.do(t, f.one, "mkdir photos; echo from one >photos/a.txt")
	took := f.reads(t, f.other, "cat photos/a.txt", "from one", arrival)
	f.do(t, f.other, "echo from the other >>photos/a.txt; echo new >photos/b.txt")
	back := f.reads(t, f.one, "cat photos/a.txt photos/b.txt", "from one\nfrom the other\nnew", arrival)
	f.do(t, f.one, "rm photos/b.txt")
	f.reads(t, f.other, "ls photos", "a.txt", arrival)
	f.do(t, f.other, "mv photos pictures")
	f.reads(t, f.one, "ls -A | grep -v ^.atoll", "pictures", arrival)
	f.do(t, f.one, "echo for this node alone >pictures/half.tmp; echo for both >pictures/whole")
	f.reads(t, f.other, "ls pictures", "a.txt\nwhole", arrival)
	t.Logf("there after %.2f s, back after %.2f s", took.Seconds(), back.Seconds())
	f.do(t, f.one, "rm pictures/half.tmp")
}

func (f filesSite) keepsModes(t *testing.T) {
	f.do(t, f.one, "mkdir -m 2750 group; echo x >group/run; chmod 0740 group/run; ln -s ../pictures/a.txt group/link; touch -d 2020-02-02T02:02:02Z group/run")
	f.reads(t, f.other, "stat -c '%A %U %G %Y' group/run && stat -c %A group && readlink group/link", "-rwxr----- www-data www-data 1580608922\ndrwxr-s---\n../pictures/a.txt", arrival)
	f.eventually(t, "the trees are equal", arrival, f.pair.Equal)
}

// programsAreKilled kills everything that keeps the pair while files are written, on both nodes in turn: what was written before, during
// and after that is on both.
func (f filesSite) programsAreKilled(t *testing.T) {
	for _, victim := range []string{f.one, f.other} {
		for _, kill := range []string{
			"pkill -KILL -x unison",
			"systemctl kill --signal=KILL " + f.pair.Unit(),
			"systemctl kill --signal=KILL atolld.service",
		} {
			dir := strings.NewReplacer(" ", "-", "=", "-").Replace(kill + "-" + victim)
			f.do(t, f.one, "mkdir '"+dir+"'; for i in $(seq 50); do echo $i >'"+dir+"'/one-$i; done")
			if _, err := f.Exec(t.Context(), victim, "sh", "-c", kill); err != nil {
				t.Fatalf("%s on %s: %v", kill, victim, err)
			}
			f.do(t, f.other, "mkdir -p '"+dir+"'; for i in $(seq 50); do echo $i >'"+dir+"'/other-$i; done")
			for _, node := range []string{f.one, f.other} {
				f.reads(t, node, "ls '"+dir+"' | wc -l", "100", time.Minute)
			}
		}
	}
	f.eventually(t, "the trees are equal", time.Minute, f.pair.Equal)
	f.eventually(t, "the cluster is healthy", time.Minute, f.healthy)
}

// apart lets both nodes change the same files while they do not reach each other: both versions are on both nodes afterwards.
func (f filesSite) apart(t *testing.T) {
	f.do(t, f.one, "echo base >contested; echo base >deleted; echo base >kept")
	f.reads(t, f.other, "cat contested deleted kept", "base\nbase\nbase", arrival)
	cut := time.Now()
	for _, n := range []string{f.one, "hk2"} {
		if err := f.Cut(t.Context(), n, f.other, false); err != nil {
			t.Fatal(err)
		}
	}
	f.do(t, f.one, "echo version of one >contested; rm deleted; echo only one >from-one")
	f.do(t, f.other, "echo version of the other >contested; echo changed >deleted; echo only the other >from-other; rm kept")
	if out, err := f.Atoll(t.Context(), "wait-synced", "--timeout", "5s"); err == nil || !strings.Contains(out+err.Error(), "from-one") {
		t.Errorf("the barrier opens while the nodes are apart, or does not say why not: %v\n%s", err, out)
	}
	// Its cluster goes on without it.
	f.eventually(t, f.other+" knows that it has missed something", time.Minute, func(ctx context.Context) error {
		h, err := f.Health(ctx, f.other)
		if err == nil && (h.Parts["mesh"] == "ok" || time.Since(cut) < missed) {
			err = errNot("%+v", h)
		}
		return err
	})
	for _, n := range []string{f.one, "hk2"} {
		if err := f.Heal(t.Context(), n, f.other); err != nil {
			t.Fatal(err)
		}
	}
	f.servesWith(t, f.other, "test -e from-one")
	for _, node := range []string{f.one, f.other} {
		f.eventually(t, node+" has everything", time.Minute, func(ctx context.Context) error {
			out, err := f.pair.Run(ctx, node, "cat contested* deleted* from-* | sort; test ! -e kept")
			if want := "changed\nonly one\nonly the other\nversion of one\nversion of the other\n"; err == nil && out != want {
				err = errNot("%q", out)
			}
			return err
		})
	}
	f.reads(t, f.other, "cat contested", "version of one", arrival)
	f.eventually(t, "the status counts what is kept", time.Minute, func(ctx context.Context) error {
		status, _, err := f.Status(ctx)
		if v := status.Pairs[rig.PairName]; err == nil && (v.Conflicts != 2 || len(v.ConflictPaths) != 2) {
			err = errNot("%d conflicts: %q", v.Conflicts, v.ConflictPaths)
		}
		return err
	})
	f.do(t, f.one, "rm contested*conflict* deleted*conflict*")
	f.eventually(t, "the trees are equal", arrival, f.pair.Equal)
	f.wantNoChange(t)
}

// missed is after how long a node that was cut off is behind: it takes seconds until it knows that it is cut off, and then 15 more.
const missed = 25 * time.Second

// servesWith waits until a node serves, and demands that commands in its tree succeed then.
func (f filesSite) servesWith(t *testing.T, node, commands string) {
	t.Helper()
	f.eventually(t, node+" serves", time.Minute, func(ctx context.Context) error {
		h, err := f.Health(ctx, node)
		if err == nil && !h.Healthy {
			err = errNot("%+v", h)
		}
		return err
	})
	if out, err := f.pair.Run(t.Context(), node, commands); err != nil {
		t.Errorf("%s serves without its files: %s: %v: %s", node, commands, err, out)
	}
}

// barrier is how an application that all nodes share is upgraded: all of them out of service, one change, and back when every node has
// it.
func (f filesSite) barrier(t *testing.T) {
	atoll := func(args ...string) {
		t.Helper()
		if out, err := f.Atoll(t.Context(), args...); err != nil {
			t.Fatalf("atoll %v: %v\n%s", args, err, out)
		}
	}
	atoll("maintenance", "enter", "--all", "--reason", "upgrade")
	f.do(t, f.one, "mkdir version2; for i in $(seq 500); do echo 2 >version2/$i; done")
	atoll("wait-synced", "--timeout", "1m")
	if err := f.pair.Equal(t.Context()); err != nil {
		t.Error(err)
	}
	atoll("maintenance", "leave", "--all")
	f.eventually(t, "the cluster is healthy", time.Minute, f.healthy)
	// Who does not wait finds all nodes of the pair out of service until everything is everywhere.
	atoll("maintenance", "enter", "--all", "--reason", "impatience")
	if _, err := f.Exec(t.Context(), f.other, "pkill", "-STOP", "-x", "unison"); err != nil {
		t.Fatal(err)
	}
	f.do(t, f.one, "mkdir version3; for i in $(seq 500); do echo 3 >version3/$i; done")
	atoll("maintenance", "leave", "--all")
	for _, node := range []string{f.one, f.other} {
		f.eventually(t, node+" is behind", 30*time.Second, func(ctx context.Context) error {
			h, err := f.Health(ctx, node)
			if err == nil && (h.Healthy || h.Parts["maintenance"] != "ok" || h.Parts["files"] != rig.PairName+": not synchronized yet") {
				err = errNot("%+v", h)
			}
			return err
		})
	}
	if _, err := f.Exec(t.Context(), f.other, "pkill", "-CONT", "-x", "unison"); err != nil {
		t.Fatal(err)
	}
	f.servesWith(t, f.other, "test $(ls version3 | wc -l) = 500")
	f.eventually(t, "the cluster is healthy", time.Minute, f.healthy)
}

// losesPower takes a node's power while files are written on both, and demands of the other that it goes on.
func (f filesSite) losesPower(t *testing.T) {
	for _, victim := range []string{f.other, f.one} {
		lives := f.one
		if victim == f.one {
			lives = f.other
		}
		// Who was in maintenance, or without power, a moment ago may not have found the trees equal since.
		f.servesWith(t, lives, "true")
		f.do(t, victim, "echo before >before-"+victim+"; sync")
		f.reads(t, lives, "cat before-"+victim, "before", arrival)
		if err := f.Kill(t.Context(), victim); err != nil {
			t.Fatal(err)
		}
		f.do(t, lives, "rm before-"+victim+"; echo meanwhile >while-"+victim+"; for i in $(seq 200); do echo $i >many-"+victim+"-$i; done")
		h, err := f.Health(t.Context(), lives)
		if err != nil || h.Parts["files"] != "ok" {
			t.Errorf("%s says %+v, %v, while %s is without power", lives, h, err, victim)
		}
		if err := f.PowerOn(t.Context(), victim); err != nil {
			t.Fatal(err)
		}
		f.reads(t, victim, "cat while-"+victim+"; ls | grep -c many-"+victim, "meanwhile\n200", 2*time.Minute)
		f.eventually(t, "the trees are equal", time.Minute, f.pair.Equal)
		f.eventually(t, "the cluster is healthy", time.Minute, f.healthy)
	}
}

// treeIsNotThere takes the tree away under its node, as a disk that is not mounted would: nothing is deleted on the other.
func (f filesSite) treeIsNotThere(t *testing.T) {
	before, err := f.pair.Listing(t.Context(), f.one)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Exec(t.Context(), f.other, "mv", rig.PairPath, rig.PairPath+".away"); err != nil {
		t.Fatal(err)
	}
	f.eventually(t, "the status says what is wrong", time.Minute, func(ctx context.Context) error {
		status, healthy, err := f.Status(ctx)
		if err == nil && (healthy || !strings.Contains(strings.Join(status.Reasons, "\n"), rig.PairName)) {
			err = errNot("%v", status.Reasons)
		}
		return err
	})
	if after, err := f.pair.Listing(t.Context(), f.one); err != nil || after != before {
		t.Errorf("the other tree has changed: %v", err)
	}
	if _, err := f.Exec(t.Context(), f.other, "sh", "-c", "rm -rf "+rig.PairPath+" && mv "+rig.PairPath+".away "+rig.PairPath); err != nil {
		t.Fatal(err)
	}
	f.eventually(t, "the cluster is healthy", 2*time.Minute, f.healthy)
	f.do(t, f.one, "echo again >again")
	f.reads(t, f.other, "cat again", "again", arrival)
}

// oldAreMoved files what is old: it is moved on both nodes, found under its old path, and brought over at once when somebody waits for it. Then the pair
// moves nothing any more, and everything stays where it is.
func (f filesSite) oldAreMoved(t *testing.T) {
	const day = "shop/2020/02/03"
	f.do(t, f.one, "mkdir -p "+day+" shop/2020/02/04 shop/latest; echo old >"+day+"/a; echo old >shop/2020/02/04/b; echo new >shop/latest/c")
	f.reads(t, f.other, "cat shop/latest/c", "new", time.Minute)
	// Once, when the pair's programs have started: what is brought over later is so for whoever waits.
	if err := f.pair.Hasten(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{f.one, f.other} {
		f.eventually(t, "old directories are moved on "+node, 2*time.Minute, func(ctx context.Context) error {
			return f.pair.Moved(ctx, node, day, "shop/2020/02/04")
		})
		f.reads(t, node, "cat "+day+"/a shop/2020/02/04/b shop/latest/c; test ! -L shop/latest", "old\nold\nnew", time.Minute)
	}
	f.do(t, f.other, "echo through >"+day+"/late; echo changed >>"+day+"/a")
	if out, err := f.Atoll(t.Context(), "wait-synced", "--timeout", "2m"); err != nil || !strings.Contains(out, "pair "+rig.PairName+", cold files: equal on ") {
		t.Errorf("wait-synced: %v\n%s", err, out)
	}
	if out, err := f.pair.Run(t.Context(), f.one, "cat "+day+"/late "+day+"/a"); err != nil || out != "through\nold\nchanged\n" {
		t.Errorf("after wait-synced %s reads %q, %v", f.one, out, err)
	}
	f.eventually(t, "the trees are equal", time.Minute, f.pair.Equal)
	f.eventually(t, "the cluster is healthy", time.Minute, f.healthy)
	f.wantNoChange(t)

	// Without cold nothing is moved back, and the links go on to lead there.
	if err := f.pair.Unhasten(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Work.Env = append(f.Work.Env, rig.WithPair(f.one, f.other))
	f.apply(t)
	for _, node := range []string{f.one, f.other} {
		if err := f.pair.Moved(t.Context(), node, day); err != nil {
			t.Error(err)
		}
		f.reads(t, node, "cat "+day+"/late shop/latest/c", "through\nnew", time.Minute)
	}
	f.do(t, f.one, "mkdir -p shop/2020/02/05; echo old >shop/2020/02/05/d")
	f.reads(t, f.other, "cat shop/2020/02/05/d", "old", time.Minute)
	if out, err := f.Atoll(t.Context(), "wait-synced", "--timeout", "1m"); err != nil || strings.Contains(out, "cold files") {
		t.Errorf("wait-synced without cold: %v\n%s", err, out)
	}
	// A directory comes back as the guide says.
	f.do(t, f.one, "rm "+day+"; cp -a .atoll-cold/root/"+day+" "+day)
	f.reads(t, f.other, "test ! -L "+day+" && cat "+day+"/late", "through", time.Minute)
	f.wantNoChange(t)
}

// goes destroys everything: the trees stay.
func (f filesSite) goes(t *testing.T) {
	f.mustRun(t, "destroy", "-auto-approve", "-target=atoll_replication_pair.files")
	for _, node := range []string{f.one, f.other} {
		if out, err := f.Exec(t.Context(), node, "sh", "-euc", "cat "+rig.PairPath+"/again; cat "+rig.PairPath+"/shop/2020/02/04/b; systemctl list-unit-files 'atoll-*pair-*' 'atoll-after-*' --no-legend || true; ls -A "+rig.PairPath+" | grep ^.atoll | grep -v ^.atoll-cold$ || true"); err != nil || strings.TrimSpace(string(out)) != "again\nold" {
			t.Errorf("%s: %q, %v, want the tree alone", node, out, err)
		}
	}
	f.mustRun(t, "destroy", "-auto-approve")
}
