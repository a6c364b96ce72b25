//go:build linux

package replicationtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// apart has something happen on both sides while neither knows of the other.
func (r *run) apart(t *testing.T, happens func()) {
	t.Helper()
	r.setCut(true)
	r.lead.awaitStatus(t, "notices that the way is cut", func(st replication.Status) bool { return st.State == spec.PairDisconnected })
	happens()
	r.setCut(false)
}

// versions returns the contents of a file and of its kept copies, sorted, as a side has them, without those that the program has not completed and goes on
// with, or removes later.
func versions(t *testing.T, s *side, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(s.file(dir))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, s.read(dir+"/"+e.Name()))
		}
	}
	slices.Sort(out)
	return out
}

func (r *run) conflict(t *testing.T) {
	before := r.lead.workersStatus(t).Conflicts
	r.lead.write(t, "conflict/file.txt", "old")
	r.awaitSynced(t, long)
	r.apart(t, func() {
		r.lead.write(t, "conflict/file.txt", "of the leader")
		r.back.write(t, "conflict/file.txt", "of the other")
		r.lead.write(t, "conflict/new", "1")
		r.back.write(t, "conflict/new", "2")
	})
	r.awaitSynced(t, long)
	want := []string{"1", "2", "of the leader", "of the other"}
	for _, s := range r.sides() {
		if diff := cmp.Diff(want, versions(t, s, "conflict")); diff != "" {
			t.Errorf("%s lost a version (-want +got):\n%s", s.Name, diff)
		}
		st := s.awaitStatus(t, "counts the conflicts", func(st replication.Status) bool { return len(st.Conflicts) == len(before)+2 })
		t.Logf("%s: %q", s.Name, st.Conflicts)
	}
	r.lead.Run(t, `rm -r "$1/conflict"`, r.lead.path)
	r.awaitSynced(t, long)
	for _, s := range r.sides() {
		s.awaitStatus(t, "counts no conflict that is settled", func(st replication.Status) bool { return len(st.Conflicts) == len(before) })
	}
}

func (r *run) deletedAndChanged(t *testing.T) {
	for _, s := range r.sides() {
		o := r.other(s)
		r.lead.write(t, "dir/a", "1")
		r.lead.write(t, "dir/sub/b", "1")
		r.awaitSynced(t, long)
		r.apart(t, func() {
			s.write(t, "dir/a", "changed")
			s.write(t, "dir/sub/c", "new")
			o.Run(t, `rm -r "$1/dir/a" "$1/dir/sub"`, o.path)
		})
		r.awaitSynced(t, long)
		all := s.Run(t, `cd "$1/dir"; find . -type f -exec cat {} + | sort`, s.path) + s.Run(t, `cd "$1"; grep -rl . . | grep -v '/\.atoll' | sort`, s.path)
		for _, version := range []string{"changed", "new"} {
			if !strings.Contains(all, version) {
				t.Errorf("%q of %s is gone where %s deleted: %s", version, s.Name, o.Name, all)
			}
		}
		r.lead.Run(t, `rm -r "$1"/dir*`, r.lead.path)
		r.awaitSynced(t, long)
	}
}

// unreadable has a directory in each tree that the account may not touch.
func (r *run) unreadable(t *testing.T) {
	for _, s := range r.sides() {
		s.Run(t, `mkdir -m 700 "$1/closed of $2"; echo secret >"$1/closed of $2/file"`, s.path, s.Name)
		s.write(t, "beside of "+s.Name, "goes on from "+s.Name)
		await.NoError(t, "the rest goes on", long, has(r.other(s), "beside of "+s.Name, "goes on from "+s.Name))
	}
	st := r.lead.awaitStatus(t, "names what it cannot read", func(st replication.Status) bool {
		return strings.Contains(st.Problem, "closed of "+r.lead.Name) && strings.Contains(st.Problem, "closed of "+r.back.Name)
	})
	t.Log(st.Problem)
	for _, s := range r.sides() {
		s.Run(t, `rm -r "$1/closed of $2"`, s.path, s.Name)
		s.write(t, "beside of "+s.Name, "once more "+s.Name)
	}
	r.lead.awaitStatus(t, "has no more to complain of", func(st replication.Status) bool { return st.Problem == "" && st.State == spec.PairSynced })
	r.awaitSynced(t, long)

	for _, s := range r.sides() {
		s.Run(t, `mkdir "$1.new"; cd "$1.new"; echo secret >secret; echo open >open; chmod 600 secret; chown www-data:www-data . open; mv "$1.new" "$1/half of $2"`, s.path, s.Name)
	}
	st = r.lead.awaitStatus(t, "names what it cannot read in directories that are new", func(st replication.Status) bool {
		return strings.HasPrefix(st.Problem, "2 paths ") && strings.Contains(st.Problem, "half of "+r.lead.Name+"/secret") && strings.Contains(st.Problem, "half of "+r.back.Name+"/secret")
	})
	t.Log(st.Problem)
	for _, s := range r.sides() {
		await.NoError(t, "the rest of it is on the other side", long, has(r.other(s), "half of "+s.Name+"/open", "open\n"))
		s.Run(t, `chown www-data:www-data "$1/half of $2/secret"`, s.path, s.Name)
		await.NoError(t, "what can be read now is on the other side", long, has(r.other(s), "half of "+s.Name+"/secret", "secret\n"))
		s.Run(t, `rm -r "$1/half of $2"`, s.path, s.Name)
	}
	r.lead.awaitStatus(t, "has no more to complain of", func(st replication.Status) bool { return st.Problem == "" && st.State == spec.PairSynced })
	r.awaitSynced(t, long)
}

// ownerAndRightsOfAll changes the owner and the rights of everything in a tree, Atoll's own included.
func (r *run) ownerAndRightsOfAll(t *testing.T) {
	for _, s := range r.sides() {
		for _, change := range []string{`chown -R www-data:www-data "$1"`, `chmod -R u=rwX,g=rwX,o=rwX "$1"`, `chmod -R u=rwX,go= "$1"`} {
			s.replace(t, "before", change)
			// What the program has in the making may go while it is looked at.
			s.Run(t, `{ `+change+` 2>&1 || true; } | { ! grep -v "No such file or directory$"; }`, s.path)
			want := "root 755 .atoll\nroot 444 .atoll/README\nroot 444 .atoll/uploads.id\n"
			if s == r.lead {
				want += "root 444 .atoll/uploads.pace\n"
			}
			await.NoError(t, "what is Atoll's own is as it was", long, func(context.Context) error {
				// What the program could make there for a moment may be removed this moment.
				if got := s.Run(t, `cd "$1"; stat -c '%U %a %n' .atoll .atoll/* 2>&1 || true`, s.path); strings.Replace(got, "root 700 .atoll/replaced\n", "", 1) != want { //nolint:contextcheck // Run has the test's
					return fmt.Errorf("after %s on %s it is\n%s", change, s.Name, got)
				}
				return nil
			})
			s.replace(t, "after", s.Name+change)
			await.NoError(t, "changes go on", long, has(r.other(s), "after", s.Name+change))
			r.awaitSynced(t, long)
		}
		s.Run(t, `chmod -R u=rwX,go=rX "$1"`, s.path)
		r.awaitSynced(t, long)
	}
}

func (r *run) bulk(t *testing.T, s *side, dir string, files int) {
	t.Helper()
	filling := strings.Repeat("x", 2000)
	for i := range files {
		s.write(t, fmt.Sprintf("%s/%d/%d", dir, i/100, i), filling+fmt.Sprint(i))
	}
}

func (r *run) burst(t *testing.T) {
	for _, s := range r.sides() {
		began := time.Now()
		r.bulk(t, s, "burst", 1000)
		wrote := time.Since(began)
		r.awaitSynced(t, 2*long)
		t.Logf("1000 files of %s, written in %s, are on both after %s", s.Name, wrote.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
		s.Run(t, `rm -r "$1/burst"`, s.path)
		r.awaitSynced(t, 2*long)
	}
}

// programDies kills what does the work while it works, on each side.
func (r *run) programDies(t *testing.T) {
	for i, s := range r.sides() {
		dir := fmt.Sprintf("killed%d", i)
		r.bulk(t, s, dir, 500)
		for range 3 {
			s.Run(t, `pkill -KILL "$1" || true`, r.Program)
			s.write(t, dir+"/after", fmt.Sprint(time.Now()))
		}
		r.awaitSynced(t, 2*long)
	}
	for _, s := range r.sides() {
		if left := s.Run(t, `find "$1" -name '.unison*' -not -path "*/.atoll-canary/*/.unison.$2.unison.tmp"`, s.path, s.Name); left != "" {
			t.Errorf("%s has left %q", s.Name, left)
		}
	}
}

// workerDies kills the unit's own process, on each side, and has the agent look after it.
func (r *run) workerDies(t *testing.T) {
	for _, s := range r.sides() {
		r.bulk(t, s, "worker of "+s.Name, 300)
		started := s.status(t.Context(), t).Started
		if err := s.Kill(r.Unit(pairName)); err != nil {
			t.Fatal(err)
		}
		await.NoError(t, "its worker runs again", long, func(ctx context.Context) error {
			if err := s.driver.Apply(ctx, []replication.Pair{r.pair(s)}); err != nil {
				return err
			}
			if st := s.status(ctx, t); st.Started.Equal(started) || st.Started.IsZero() {
				return fmt.Errorf("it is %+v", st)
			}
			return nil
		})
		r.awaitSynced(t, 2*long)
	}
}

// agentRestarts has each side's driver begin anew.
func (r *run) agentRestarts(t *testing.T) {
	for _, s := range r.sides() {
		started := s.workersStatus(t).Started
		if closer, ok := s.driver.(interface{ Close() error }); ok {
			if err := closer.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s.driver = r.newDriver(s.Machine)
		s.write(t, "while the agent is away", s.Name)
		r.apply(t, s)
		await.NoError(t, "changes go on", long, has(r.other(s), "while the agent is away", s.Name))
		r.awaitSynced(t, long)
		if now := s.workersStatus(t).Started; !now.Equal(started) {
			t.Errorf("%s: the worker started again with the agent", s.Name)
		}
	}
}

func (r *run) cutOff(t *testing.T) {
	r.apart(t, func() {
		r.lead.write(t, "apart/lead", "1")
		r.back.write(t, "apart/back", "2")
		r.back.Run(t, `rm -r "$1/2026"`, r.back.path)
	})
	r.awaitSynced(t, long)
	if err := errors.Join(has(r.lead, "apart/back", "2")(t.Context()), has(r.back, "apart/lead", "1")(t.Context()), hasNot(r.lead, "2026")(t.Context())); err != nil {
		t.Error(err)
	}
}

// treeGone takes each side's tree away as an unmounted file system does.
func (r *run) treeGone(t *testing.T) {
	for _, s := range r.sides() {
		for _, gone := range []string{`mv "$1" "$1.away"`, `mv "$1" "$1.away"; mkdir "$1"; chown www-data:www-data "$1"`} {
			s.Run(t, gone, s.path)
			st := s.awaitStatus(t, "says that the tree is gone", func(st replication.Status) bool { return st.State == spec.PairFailed })
			t.Log(st.Problem)
			o := r.other(s)
			o.write(t, "meanwhile", s.Name)
			r.apply(t, s)
			s.awaitStatus(t, "still says so", func(st replication.Status) bool { return st.State == spec.PairFailed && st.Problem != "" })
			if err := has(o, "precious", "1")(t.Context()); err != nil {
				t.Fatalf("the other side lost files: %v", err)
			}
			s.Run(t, `[ ! -e "$1" ] || rmdir "$1"; mv "$1.away" "$1"`, s.path)
			r.awaitHealed(t, s)
		}
	}
}

// awaitHealed waits until a side works again, with an agent that looks after it.
func (r *run) awaitHealed(t *testing.T, s *side) {
	t.Helper()
	await.NoError(t, "it works again", 2*long, func(ctx context.Context) error {
		if err := s.driver.Apply(ctx, []replication.Pair{r.pair(s)}); err != nil {
			return err
		}
		if difference := r.difference(); difference != "" {
			return fmt.Errorf("%s: %+v", difference, s.status(ctx, t))
		}
		if st := r.lead.status(ctx, t); st.State != spec.PairSynced {
			return fmt.Errorf("the leader says %+v", st)
		}
		return nil
	})
}

// treeEmptied empties each side's tree while nobody looks.
func (r *run) treeEmptied(t *testing.T) {
	for _, s := range r.sides() {
		if err := s.Sys.Units().Stop(t.Context(), r.Unit(pairName)); err != nil {
			t.Fatal(err)
		}
		s.Run(t, `mkdir "$1.away"; mv "$1"/* "$1.away"`, s.path)
		r.apply(t, s)
		s.awaitStatus(t, "says that the tree is empty", func(st replication.Status) bool {
			return st.State == spec.PairFailed && strings.Contains(st.Problem, "empty")
		})
		if err := has(r.other(s), "precious", "1")(t.Context()); err != nil {
			t.Fatalf("the other side lost files: %v", err)
		}
		s.Run(t, `mv "$1.away"/* "$1"; rmdir "$1.away"`, s.path)
		r.awaitHealed(t, s)
	}
}

// copiedMachine has a side find itself on another machine, with the files and the knowledge of the first.
func (r *run) copiedMachine(t *testing.T) {
	for _, s := range r.sides() {
		if err := s.Sys.Units().Stop(t.Context(), r.Unit(pairName)); err != nil {
			t.Fatal(err)
		}
		// What the first machine deleted after it was copied must not be deleted by the copy's account either way.
		id := s.Run(t, `cat /etc/machine-id; echo 0123456789abcdef0123456789abcde$(wc -c </etc/machine-id | tail -c 2) >/etc/machine-id`)
		s.Run(t, `rm "$1/kept"`, s.path)
		r.apply(t, s)
		r.awaitSynced(t, long)
		if err := errors.Join(has(r.lead, "kept", "1")(t.Context()), has(r.back, "kept", "1")(t.Context())); err != nil {
			t.Errorf("a copy deleted what it does not have: %v", err)
		}
		if err := s.Sys.Units().Stop(t.Context(), r.Unit(pairName)); err != nil {
			t.Fatal(err)
		}
		s.Run(t, `echo "$1" >/etc/machine-id`, strings.TrimSpace(id))
		r.apply(t, s)
		r.awaitSynced(t, long)
	}
}

// anotherTree puts a new disk, and then an older copy, in the place of a side's tree: what these lack was not deleted.
func (r *run) anotherTree(t *testing.T) {
	for _, s := range r.sides() {
		other := r.other(s)
		s.write(t, "old", "1")
		await.NoError(t, "a file arrives", long, has(other, "old", "1"))
		stop := func() {
			t.Helper()
			if err := s.Sys.Units().Stop(t.Context(), r.Unit(pairName)); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		s.Run(t, `cp -a "$1" "$1.copy"`, s.path)
		r.apply(t, s)
		r.awaitSynced(t, long)
		s.write(t, "younger than the copy", s.Name)
		await.NoError(t, "a file arrives", long, has(other, "younger than the copy", s.Name))
		for i, put := range []string{
			`find "$1" -mindepth 1 -delete; mkdir "$1/.atoll"`,
			`find "$1" -mindepth 1 -delete; mkdir "$1/.atoll"; echo x >"$1/first on the new disk"`,
			`find "$1" -mindepth 1 -delete; cp -a "$1.copy/." "$1"; rm -rf "$1.copy"`,
		} {
			r.awaitSynced(t, long)
			stop()
			since := s.journalEnd(t)
			s.Run(t, put, s.path)
			r.apply(t, s)
			r.awaitSynced(t, long)
			if i == 0 {
				r.cameAhead(t, s, since)
			} else if r.CameAhead != "" && r.said(t, s, since, r.CameAhead) {
				t.Errorf("contents have come ahead to %s, which had some of its own", s.Name)
			}
			for _, side := range r.sides() {
				await.NoError(t, "nothing is deleted", long, func(ctx context.Context) error {
					return errors.Join(has(side, "old", "1")(ctx), has(side, "younger than the copy", s.Name)(ctx))
				})
			}
		}
		s.write(t, "younger than the copy", "")
	}
}

// anotherLeader changes which side leads.
func (r *run) anotherLeader(t *testing.T) {
	was := r.lead
	r.lead, r.back = r.back, r.lead
	r.lead.leads, r.back.leads = true, false
	r.applyBoth(t)
	r.awaitSynced(t, long)
	for _, s := range r.sides() {
		s.write(t, "led by another", s.Name)
		await.NoError(t, "changes go on", long, has(r.other(s), "led by another", s.Name))
	}
	if was == r.lead {
		t.Error("the leader is the same")
	}
	r.awaitSynced(t, long)
}

func (r *run) nothingLeft(t *testing.T) {
	for range 2 {
		for _, s := range r.sides() {
			if err := s.driver.Apply(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff(r.untouched, r.traces(t)); diff != "" {
		t.Errorf("left on the machines (-untouched +after):\n%s", diff)
	}
	for _, s := range r.sides() {
		if err := has(s, "precious", "1")(t.Context()); err != nil {
			t.Errorf("the tree is not what it was: %v", err)
		}
		if made := s.Run(t, `ls -A "$1" | grep '^\.atoll' || true`, s.path); made != "" {
			t.Errorf("%s: left in the tree: %s", s.Name, made)
		}
		if running := s.Run(t, `pgrep --runstates R,S,D "$1" || true`, r.Program); running != "" {
			t.Errorf("%s: still running: %s", s.Name, running)
		}
	}
}
