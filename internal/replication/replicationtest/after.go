//go:build linux

package replicationtest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/replication"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/barrier"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// derive is a command after changes as an application may have it: what it writes follows from what is there, and the second time it changes nothing.
// What it leaves beside the tree says how it was run.
const derive = `
exec 9>/srv/hooks/lock
flock -n 9 || echo "two at a time" >>/srv/hooks/overlap
{ id -un; id -gn; grep CapEff /proc/self/status; echo "$ATOLL_PAIR $ATOLL_NODE $ATOLL_TREE $PWD"; } >/srv/hooks/who
echo run >>/srv/hooks/runs
while [ -e /srv/hooks/hold ]; do sleep 0.1 9>&-; done
if [ -e after/broken ]; then echo "the table is missing" >&2; exit 3; fi
[ -e after/version ] || exit 0
if ! cmp -s after/version after/derived; then cp after/version after/derived.tmp && mv after/derived.tmp after/derived; fi
`

// afterChange has both nodes run a command after what has arrived.
func (r *run) afterChange(t *testing.T) {
	r.awaitSynced(t, long)
	for _, s := range r.sides() {
		// What was written in its place a moment ago may get another date yet, which is a change as well.
		s.awaitStatus(t, "has seen no change for a while", func(st replication.Status) bool { return time.Since(st.Changed) > 4*time.Second })
		s.Run(t, `mkdir /srv/hooks && chown www-data:www-data /srv/hooks`)
	}
	r.after = &spec.PairAfter{Command: []string{"/bin/sh", "-c", derive}, Timeout: 600}
	r.applyBoth(t)
	r.awaitSynced(t, long)
	r.atRest(t)
	for _, s := range r.sides() {
		if runs := s.hooks(t, "runs"); runs != "" {
			t.Errorf("%s: nothing has arrived since, and it has run %q", s.Name, runs)
		}
	}
	for _, test := range []test{
		{"RunsWhereItArrives", r.afterArrival},
		{"Restart", r.afterRestart},
		{"IsAwaited", r.afterAwaited},
		{"WorkerDies", r.afterWorkerDies},
		{"RunnerDies", r.afterRunnerDies},
		{"Fails", r.afterFails},
		{"Goes", r.afterGoes},
	} {
		if !t.Run(test.name, test.run) {
			return
		}
	}
	for _, s := range r.sides() {
		if overlap := s.hooks(t, "overlap"); overlap != "" {
			t.Errorf("%s: %s", s.Name, overlap)
		}
		s.Run(t, `rm -r /srv/hooks`)
	}
	r.lead.Run(t, `rm -r "$1/after"`, r.lead.path)
	r.awaitSynced(t, long)
}

// hooks is what the command has left on a node.
func (s *side) hooks(t *testing.T, name string) string {
	t.Helper()
	return s.Run(t, `cat "/srv/hooks/$1" 2>/dev/null || true`, name)
}

func (s *side) runs(t *testing.T) int {
	t.Helper()
	return strings.Count(s.hooks(t, "runs"), "run")
}

// is waits until a node says of the command that it is in a state.
func (s *side) is(t *testing.T, state spec.AfterState) replication.Status {
	t.Helper()
	return s.awaitStatus(t, "the command is "+string(state), func(st replication.Status) bool { return st.After != nil && st.After.State == state })
}

// atRest waits until the trees are equal and stay so.
func (r *run) atRest(t *testing.T) {
	t.Helper()
	if state, err := r.waitEqual(t.Context(), long); err != nil {
		t.Fatalf("it does not come to rest: %+v, %+v", state, state.Comparison)
	}
}

// derived demands that both nodes have what follows from a version, and nothing left to do.
func (r *run) derived(t *testing.T, version string) {
	t.Helper()
	r.atRest(t)
	for _, s := range r.sides() {
		if got := s.read("after/derived"); got != version {
			t.Errorf("%s: the barrier is open, and the command has made %q of %q", s.Name, got, version)
		}
		if st := s.status(t.Context(), t); !st.After.Rests() || st.Problem != "" || st.Warning != "" {
			t.Errorf("%s: the barrier is open, and it says %+v, %+v", s.Name, st, st.After)
		}
	}
}

func (r *run) afterArrival(t *testing.T) {
	for i, s := range r.sides() {
		o, version := r.other(s), fmt.Sprint("version ", i)
		runs := s.runs(t)
		s.replace(t, "after/version", version)
		took := await.NoError(t, "the command has run where the change arrived", long, has(o, "after/derived", version))
		t.Logf("what the command on %s makes of a change of %s is there after %s", o.Name, s.Name, took.Round(time.Millisecond))
		r.derived(t, version)
		if who, want := o.hooks(t, "who"), fmt.Sprintf("www-data\nwww-data\nCapEff:\t0000000000000000\n%s %s %s %s\n", pairName, o.Name, o.path, o.path); who != want {
			t.Errorf("%s: it ran as %q, not %q", o.Name, who, want)
		}
		// What the command has made is a change like any other, after which the command runs here, and changes nothing.
		if got := s.runs(t); got <= runs {
			t.Errorf("%s: what the command on %s has made has arrived, and it has not run", s.Name, o.Name)
		}
		if s.status(t.Context(), t).Watching != "fanotify" {
			continue // nobody knows whose changes are whose
		}
		runs, before := s.runs(t), o.runs(t)
		s.replace(t, "after/plain", version)
		await.True(t, "it runs where a change arrives", long, func() bool { return o.runs(t) > before })
		r.derived(t, version)
		if got := s.runs(t); got != runs {
			t.Errorf("%s: it has run %d times after a change that was made here", s.Name, got-runs)
		}
	}
}

// afterRestart starts the programs of both sides again: nothing has arrived meanwhile.
func (r *run) afterRestart(t *testing.T) {
	for _, s := range r.sides() {
		await.True(t, "no file gets another date, which would arrive", long, func() bool {
			return s.Run(t, `find "$1/after" -newerct "5 seconds ago"`, s.path) == ""
		})
	}
	r.atRest(t)
	for _, s := range r.sides() {
		before, began := s.runs(t), s.status(t.Context(), t).Started
		if err := s.Sys.Units().Restart(t.Context(), r.Unit(pairName)); err != nil {
			t.Fatal(err)
		}
		s.awaitStatus(t, "the programs run again", func(st replication.Status) bool { return st.Started.After(began) && st.After != nil })
		r.awaitSynced(t, long)
		r.atRest(t)
		if got := s.runs(t); got != before {
			t.Errorf("%s: its programs were started again, and the command has run %d times", s.Name, got-before)
		}
	}
}

// held has the command of the side that does not lead run, and not end.
func (r *run) held(t *testing.T, version string) {
	t.Helper()
	r.back.Run(t, `touch /srv/hooks/hold`)
	r.lead.replace(t, "after/version", version)
	r.back.is(t, spec.AfterRunning)
}

func (r *run) afterAwaited(t *testing.T) {
	r.held(t, "awaited")
	state, err := r.waitEqual(t.Context(), 3*time.Second)
	if err == nil || state.Phase != barrier.Unfinished {
		t.Errorf("the command runs, and the barrier says %+v, %v", state, err)
	}
	r.lead.write(t, "after/meanwhile", "1")
	await.NoError(t, "changes go on meanwhile", long, has(r.back, "after/meanwhile", "1"))
	r.back.write(t, "after/back", "1")
	await.NoError(t, "changes go on meanwhile the other way", long, has(r.lead, "after/back", "1"))
	r.back.Run(t, `rm /srv/hooks/hold`)
	r.derived(t, "awaited")
}

func (r *run) afterWorkerDies(t *testing.T) {
	r.held(t, "worker")
	before := r.back.status(t.Context(), t).Started
	if err := r.back.Kill(r.Unit(pairName)); err != nil {
		t.Fatal(err)
	}
	r.apply(t, r.back)
	r.back.awaitStatus(t, "another worker runs, and knows that it is due", func(st replication.Status) bool {
		return st.Started.After(before) && !st.After.Rests()
	})
	r.back.Run(t, `rm /srv/hooks/hold`)
	r.derived(t, "worker")
}

func (r *run) afterRunnerDies(t *testing.T) {
	r.held(t, "runner")
	if err := r.back.Kill(r.AfterUnit(pairName)); err != nil {
		t.Fatal(err)
	}
	await.True(t, "the command has died with it", long, func() bool { return r.back.Run(t, `flock -n /srv/hooks/lock echo free || true`) == "free\n" })
	r.back.Run(t, `rm /srv/hooks/hold`)
	r.apply(t, r.back)
	r.derived(t, "runner")
}

func (r *run) afterFails(t *testing.T) {
	r.lead.write(t, "after/broken", "")
	st := r.back.is(t, spec.AfterFailed)
	if !strings.Contains(st.After.Problem, "exit code 3: the table is missing") || !strings.Contains(st.Warning, st.After.Problem) || st.State == spec.PairFailed {
		t.Errorf("it says %+v, %+v", st, st.After)
	}
	runs := r.back.runs(t)
	await.True(t, "it is tried again", long, func() bool { return r.back.runs(t) >= runs+2 })
	r.lead.replace(t, "after/version", "repaired")
	await.NoError(t, "changes go on meanwhile", long, has(r.back, "after/version", "repaired"))
	if state, err := r.waitEqual(t.Context(), 3*time.Second); err == nil {
		t.Errorf("the command fails, and the barrier says %+v", state)
	}
	r.lead.Run(t, `rm "$1/after/broken"`, r.lead.path)
	r.derived(t, "repaired")
}

// afterGoes takes the command away while it runs.
func (r *run) afterGoes(t *testing.T) {
	r.held(t, "gone")
	r.after = nil
	r.applyBoth(t)
	await.True(t, "the command has ended", long, func() bool { return r.back.Run(t, `flock -n /srv/hooks/lock echo free || true`) == "free\n" })
	for _, s := range r.sides() {
		unit, err := s.Sys.Units().Status(t.Context(), r.AfterUnit(pairName))
		if err != nil || unit.Exists {
			t.Errorf("%s: the command was taken away, and its unit is %+v: %v", s.Name, unit, err)
		}
		s.awaitStatus(t, "it says nothing of a command", func(st replication.Status) bool { return st.After == nil && !st.Started.IsZero() })
	}
	r.atRest(t)
	if err := errors.Join(has(r.back, "after/version", "gone")(t.Context()), has(r.back, "after/derived", "repaired")(t.Context())); err != nil {
		t.Error(err)
	}
}
