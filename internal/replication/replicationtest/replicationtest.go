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

// long is how long anything may take that takes seconds on a machine with other things to do.
const long = 2 * time.Minute

// Suite is what a driver is tested with.
type Suite struct {
	New NewDriver
	// Unit is the service that the driver keeps for a pair, Program a pattern for the names of the processes that do the work
	// (pgrep(1)), which may be killed at any time.
	Unit    func(pair string) string
	Program string
	// AfterUnit is the service that the driver keeps for a pair's command after changes.
	AfterUnit func(pair string) string
	// Attributes tells that the program on these machines keeps extended attributes and access control lists.
	Attributes bool
	// CameAhead is what a side's journal has once contents have come ahead of a first synchronization, "" for a driver that sends none.
	CameAhead string
	// Ended is what a side's journal has once its worker has ended by itself.
	Ended string
	// Knowledge is a pattern for the files in which a side keeps what it knows of earlier synchronizations.
	Knowledge func(pair string) string
	// PowerCut is a script that has a side whose service is stopped believe that its machine lost its power while changes were on their way.
	PowerCut func(pair string) string
}

// test is one of a suite's.
type test struct {
	name string
	run  func(*testing.T)
}

// Run runs every conformance test: in parallel, each part on two machines of its own, which machines returns.
func (s Suite) Run(t *testing.T, machines func(t *testing.T, part string) (lead, back *Machine)) {
	for part, tests := range map[string]func(*run) []test{"changes": (*run).changes, "faults": (*run).faults, "knowledge": (*run).knowledge} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			lead, back := machines(t, part)
			r := &run{Suite: s, world: newWorld(t, s.New, s.Unit, lead, back)}
			r.untouched = r.traces(t)
			r.all(t, slices.Concat([]test{{"NothingYet", r.nothingYet}, {"FirstSynchronization", r.first}}, tests(r), []test{{"NothingLeft", r.nothingLeft}}))
		})
	}
}

// all runs tests one after the other.
func (r *run) all(t *testing.T, tests []test) {
	for _, test := range tests {
		if test.name == "Attributes" && !r.Attributes {
			continue
		}
		// Only fanotify tells in every case that a file was written to in the moment in which the program had just replaced it.
		if test.name == "SameLength" && r.lead.status(t.Context(), t).Watching != "fanotify" {
			t.Log("NOT RUN: SameLength, which needs fanotify")
			continue
		}
		if !t.Run(test.name, test.run) {
			r.explain(t)
			return // each goes on from where the one before it has left the nodes
		}
	}
}

// changes are what an application does, and what Atoll says of it.
func (r *run) changes() []test {
	return []test{
		{"Account", r.account},
		{"Idempotent", r.idempotent},
		{"BothWays", r.bothWays},
		{"SameLength", r.sameLength},
		{"WrittenWhileRead", r.writtenWhileRead},
		{"Canaries", r.canaries},
		{"Excluded", r.excluded},
		{"Names", r.names},
		{"Special", r.special},
		{"Attributes", r.attributes},
		{"Barrier", r.barrier},
		{"AfterChange", r.afterChange},
		{"Snapshots", r.snapshots},
		{"Unseen", r.unseen},
		{"Conflict", r.conflict},
		{"DeletedAndChanged", r.deletedAndChanged},
		{"Unreadable", r.unreadable},
		{"OwnerAndRightsOfAll", r.ownerAndRightsOfAll},
		{"ManyUnreadable", r.manyUnreadable},
		{"Clock", r.clock},
	}
}

// faults are much at once, and what breaks meanwhile.
func (r *run) faults() []test {
	return []test{
		{"Full", r.full},
		{"Burst", r.burst},
		{"Renames", r.renames},
		{"Large", r.large},
		{"Many", r.many},
		{"ProgramDies", r.programDies},
		{"WorkerDies", r.workerDies},
		{"AgentRestarts", r.agentRestarts},
		{"CutOff", r.cutOff},
		{"TreeGone", r.treeGone},
		{"TreeEmptied", r.treeEmptied},
		{"MountedInside", r.mountedInside},
		{"Moment", r.moment},
	}
}

// knowledge is what becomes of what the sides know of earlier synchronizations.
func (r *run) knowledge() []test {
	return []test{
		{"PowerCut", r.powerCut},
		{"KnowledgeLost", r.knowledgeLost},
		{"KnowledgeOnce", r.knowledgeOnce},
		{"KnowledgeDamaged", r.knowledgeDamaged},
		{"KnowledgeRolledBack", r.knowledgeRolledBack},
		{"CopiedMachine", r.copiedMachine},
		{"AnotherTree", r.anotherTree},
		{"StoppedAhead", r.stoppedAhead},
		{"AnotherLeader", r.anotherLeader},
	}
}

type run struct {
	Suite
	*world
	untouched string
}

// explain says how a failed test left the sides.
func (r *run) explain(t *testing.T) {
	for _, s := range r.sides() {
		st, err := s.driver.Status(t.Context(), pairName)
		t.Logf("%s: %+v, %v", s.Name, st, err)
		t.Log(s.Run(t, `ps -ef 2>/dev/null | grep -v '\[' | tail -n 20; tail -n 60 /run/journal 2>/dev/null || journalctl --no-pager -o cat -u "$1" -n 30`, r.Unit(pairName)))
	}
}

// traces is everything on the nodes that a driver may make.
func (r *run) traces(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for _, s := range r.sides() {
		out.WriteString(s.Run(t, `find /etc/atoll /var/lib/atoll* /run/atoll* -path /var/lib/atoll-lab -prune -o -printf '%p %y\n' 2>/dev/null | sort; ls /etc/systemd/system | grep atoll || true`))
	}
	return out.String()
}

func (r *run) nothingYet(t *testing.T) {
	for _, s := range r.sides() {
		if st := s.status(t.Context(), t); st.State == spec.PairSynced || !st.Started.IsZero() {
			t.Errorf("%s before the first Apply: %+v", s.Name, st)
		}
		if err := s.driver.Apply(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(r.untouched, r.traces(t)); diff != "" {
		t.Errorf("nothing to do, and yet (-before +after):\n%s", diff)
	}
}

// first joins a tree that has files with one that does not exist, and one that has others.
func (r *run) first(t *testing.T) {
	r.lead.Run(t, `mkdir -p /srv/uploads; chown www-data:www-data /srv/uploads`)
	const small, random, size = 51, 200, 10_000
	const files = small + random
	for i := range small - 1 {
		r.lead.write(t, fmt.Sprintf("2026/%02d/file", i), fmt.Sprint(i))
	}
	r.lead.Run(t, `mkdir "$1/2025"; for i in $(seq "$2"); do head -c "$3" /dev/urandom >"$1/2025/$i"; done; chown -R www-data:www-data "$1/2025"`, r.lead.path, fmt.Sprint(random), fmt.Sprint(size))
	r.lead.write(t, "precious", "1")
	r.apply(t, r.lead)
	r.lead.awaitStatus(t, "waits for the other node", func(st replication.Status) bool {
		return st.State == spec.PairDisconnected && !st.Started.IsZero()
	})
	r.apply(t, r.back)
	r.awaitSynced(t, long)
	owner := strings.TrimSpace(r.back.Run(t, `stat -c %U:%G "$1" "$1/2026/07/file"`, r.back.path))
	if owner != "www-data:www-data\nwww-data:www-data" {
		t.Errorf("the other side's files belong to %q", owner)
	}
	st := r.back.awaitStatus(t, "says that it works", func(st replication.Status) bool { return st.State == spec.PairSyncing })
	if st.Watching == "" || st.Problem != "" || st.Started.IsZero() {
		t.Errorf("the other side says %+v", st)
	}
	st = r.back.awaitStatus(t, "has counted what has arrived", func(st replication.Status) bool { return st.Carried.Files >= files })
	if c := st.Carried; c.Files != files || c.ReceivedBytes == 0 || c.SentBytes == 0 || c.From.IsZero() || st.Changed.IsZero() {
		t.Errorf("the other side says that it has exchanged %+v with the one that leads, of %d files; last change %s", c, files, st.Changed)
	} else if c.ReceivedBytes > random*size*3/2 {
		t.Errorf("the other side has received %d bytes, for %d files of %d: contents were sent twice", c.ReceivedBytes, random, size)
	}
	r.cameAhead(t, r.back, "")
	r.lead.Run(t, `rm -r "$1/2025"`, r.lead.path)
	r.awaitSynced(t, long)
}

// account looks at what the programs may do: no more than the account that the tree belongs to.
func (r *run) account(t *testing.T) {
	for _, s := range r.sides() {
		await.True(t, "what does the work runs", long, func() bool { return s.Run(t, `pgrep "$1" || true`, r.Program) != "" })
		who := s.Run(t, `for p in $(pgrep "$1"); do stat -c %U /proc/$p; grep CapEff /proc/$p/status; done`, r.Program)
		if strings.TrimSpace(who) != "www-data\nCapEff:\t0000000000000000" {
			t.Errorf("%s: the program runs as %q", s.Name, who)
		}
		open := s.Run(t, `find /run -name "*.sock" -path "*atoll-pair*" -perm /077; find /var/lib -path "*atoll*" -not -path "*/atoll-lab/*" -type f -perm /022 2>/dev/null || true`)
		if open != "" {
			t.Errorf("%s: others may use %s", s.Name, open)
		}
	}
}

func (r *run) idempotent(t *testing.T) {
	state := func() string {
		var out strings.Builder
		for _, s := range r.sides() {
			st, err := s.Sys.Units().Status(t.Context(), r.Unit(pairName))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&out, st.MainPID, s.Run(t, `pgrep "$1"; find /etc/atoll /etc/systemd/system -type f -printf '%p %T@ %m %i\n' | sort`, r.Program))
		}
		return out.String()
	}
	before, synced := state(), r.lead.workersStatus(t)
	r.applyBoth(t)
	if diff := cmp.Diff(before, state()); diff != "" {
		t.Errorf("the same again changed something (-before +after):\n%s", diff)
	}
	r.awaitSynced(t, long)
	if st := r.lead.workersStatus(t); !st.Started.Equal(synced.Started) {
		t.Errorf("the same again interrupted something: %+v, %+v", synced, st)
	}
}

func (r *run) bothWays(t *testing.T) {
	for _, s := range r.sides() {
		o := r.other(s)
		s.write(t, "new", "from "+s.Name)
		took := await.NoError(t, "a new file is on the other side", long, has(o, "new", "from "+s.Name))
		t.Logf("a new file of %s: %s", s.Name, took.Round(time.Millisecond))
		s.write(t, "new", "changed on "+s.Name)
		await.NoError(t, "a change is on the other side", long, has(o, "new", "changed on "+s.Name))
		s.Run(t, `cd "$1"; mkdir -p empty deep/er/est; chown -R www-data:www-data empty deep; chmod 2750 deep/er; mv new deep/er/est/moved; ln -s moved deep/er/est/link; chmod 640 deep/er/est/moved`, s.path)
		r.awaitSynced(t, long)
		if got := o.read("deep/er/est/moved"); got != "changed on "+s.Name {
			t.Errorf("moved with its directory: %q", got)
		}
		s.Run(t, `cd "$1"; rm -r empty deep`, s.path)
		await.NoError(t, "deletions are on the other side", long, hasNot(o, "deep"))
		r.awaitSynced(t, long)
	}
}

// has is for a file that a side is to have.
func has(s *side, path, content string) func(context.Context) error {
	return func(context.Context) error {
		if got := s.read(path); got != content {
			return fmt.Errorf("%s has %q in %s", s.Name, got, path)
		}
		return nil
	}
}

func hasNot(s *side, path string) func(context.Context) error {
	return func(context.Context) error {
		if _, err := os.Lstat(s.file(path)); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s has %s (%w)", s.Name, path, err)
		}
		return nil
	}
}

// sameLength changes a file in its place, again and again, without it becoming longer or shorter. So that no such change is missed, the file gets another date
// two seconds later. On a slow machine that may meet a change on the other side, which is a conflict: then it is done again with another file.
func (r *run) sameLength(t *testing.T) {
	for attempt := range 5 {
		name := fmt.Sprint("counter ", attempt)
		met := false
		for i := 0; i < 4 && !met; i++ {
			s, o := r.sides()[i%2], r.other(r.sides()[i%2])
			want := fmt.Sprintf("version %02d", i)
			s.write(t, name, want)
			arrives := has(o, name, want)
			await.NoError(t, "the other side has it", long, func(ctx context.Context) error {
				err := arrives(ctx)
				if met = err != nil && o.Run(t, `cd "$1"; grep -lx "$2" "$3"*conflict* || true`, o.path, want, name) != ""; met { //nolint:contextcheck // Run has the test's
					return nil
				}
				return err
			})
		}
		r.lead.Run(t, `cd "$1"; rm -f counter*conflict*`, r.lead.path)
		r.awaitSynced(t, long)
		if !met {
			return
		}
	}
	t.Error("each time there was a conflict")
}

func (r *run) canaries(t *testing.T) {
	for _, s := range r.sides() {
		o := r.other(s)
		var last replication.Canary
		for range 3 {
			sent, err := s.driver.Canary(t.Context(), pairName)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), long)
			for last.Nonce != sent.Nonce {
				if last, err = o.driver.Canaries(ctx, pairName, last); err != nil {
					t.Fatalf("a canary of %s did not come: %v", s.Name, err)
				}
			}
			cancel()
			t.Logf("a canary of %s took %s", s.Name, time.Since(sent.Written).Round(time.Millisecond))
		}
	}
	for _, s := range r.sides() {
		s.awaitStatus(t, "knows how long a round takes", func(st replication.Status) bool { return st.Round > 0 && st.Round < long })
	}
	r.awaitSynced(t, long)
}

func (r *run) excluded(t *testing.T) {
	r.lead.write(t, "half.tmp", "x")
	r.back.write(t, "cache/deep/thing", "x")
	r.lead.write(t, "marks the end", "1")
	r.back.write(t, "marks the other end", "1")
	r.awaitSynced(t, long)
	for _, missing := range []func(context.Context) error{hasNot(r.back, "half.tmp"), hasNot(r.lead, "cache/deep")} {
		if err := missing(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func (r *run) names(t *testing.T) {
	for _, s := range r.sides() {
		for i, name := range []string{"new\nline", "\xff\xfe not utf-8", strings.Repeat("n", 255), " blanks ", "back\\slash", "-rf", "$HOME `id`", "ü\u0308", ".hidden", "a -> b", "[x]*?", "%s%n"} {
			s.write(t, fmt.Sprintf("names of %s/%s", s.Name, name), fmt.Sprint(i))
		}
	}
	r.awaitSynced(t, long)
	for _, s := range r.sides() {
		s.Run(t, `rm -r "$1/names of $2"`, s.path, s.Name)
	}
	r.awaitSynced(t, long)
}

func (r *run) special(t *testing.T) {
	r.lead.write(t, "special/one", "same")
	r.lead.Run(t, `cd "$1/special"; ln one two; ln -s loop loop; ln -s . self; ln -s /etc outside; truncate -s 8M sparse; touch -d 2001-01-01 old; chmod 600 one; mkdir restricted; chmod 700 restricted; chown -hR www-data:www-data .`, r.lead.path)
	r.awaitSynced(t, long)
	if date := r.back.Run(t, `stat -c %y "$1/special/old" | cut -c1-4`, r.back.path); date != "2001\n" {
		t.Errorf("a file of 2001 is of %q on the other side", date)
	}
	// That another name of the same file has changed too is found out later.
	r.lead.write(t, "special/one", "other")
	await.NoError(t, "the name that was written to is on the other side", long, has(r.back, "special/one", "other"))
	r.lead.Run(t, `rm "$1/special/two"`, r.lead.path)
	r.lead.Run(t, `mkfifo "$1/special/fifo"; touch "$1/special/after"; chown -h www-data:www-data "$1/special/after"`, r.lead.path)
	r.awaitSynced(t, long)
	r.lead.Run(t, `rm -r "$1/special"`, r.lead.path)
	r.awaitSynced(t, long)
}
