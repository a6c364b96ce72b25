package worker_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// within is how long anything may take on a machine with other things to do.
const afterWithin = 2 * time.Minute

// afterWorld is a tree, a command in it, and who runs it.
type afterWorld struct {
	cfg worker.Config
	worker.After
	tree string
}

// newAfterWorld begins with a script as the command, whose arguments are the tree and a directory for what it leaves.
func newAfterWorld(t *testing.T, script string, timeout int) *afterWorld {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	w := &afterWorld{tree: t.TempDir()}
	w.cfg = worker.Config{
		Pair: "app", Node: "hk1", Peer: "sg1", Path: w.tree, Owner: me.Username, Group: group.Name, RunDir: t.TempDir(), StateDir: t.TempDir(),
		After:  &spec.PairAfter{Command: []string{"/bin/sh", "-c", script, "sh"}, Timeout: timeout},
		Pauses: worker.Pauses{After: 100 * time.Millisecond},
	}
	return w
}

// open starts a worker, which ends when the function that it returns is called.
func (w *afterWorld) open(t *testing.T) (crash func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var err error
	if w.After, err = worker.OpenAfter(ctx, w.cfg); err != nil {
		t.Fatal(err)
	}
	served := w.Close
	t.Cleanup(served)
	return func() {
		cancel()
		served()
	}
}

// run starts who runs the command; the function that it returns ends that and waits for it.
func (w *afterWorld) run(t *testing.T) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.RunAfter(ctx, w.cfg.AfterSocket(), slog.New(slog.DiscardHandler)) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func (w *afterWorld) read(name string) string {
	text, err := os.ReadFile(filepath.Join(w.tree, name))
	if err != nil {
		return ""
	}
	return string(text)
}

func (w *afterWorld) put(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.tree, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (w *afterWorld) awaitState(t *testing.T, want spec.AfterState) *spec.AfterStatus {
	t.Helper()
	var last *spec.AfterStatus
	await.NoError(t, "the command is "+string(want), afterWithin, func(context.Context) error {
		if last = w.Status(); last.State != want {
			return errors.New(string(last.State) + " " + last.Problem)
		}
		return nil
	})
	return last
}

// once keeps a second one from running at the same time, and counts.
const once = `mkdir busy || { echo "two at a time" >>overlap; exit 9; }
echo run >>runs
`

func TestAfterChange(t *testing.T) {
	t.Parallel()
	w := newAfterWorld(t, once+`echo "$ATOLL_PAIR $ATOLL_NODE $ATOLL_TREE $PWD $HOME" >said; rmdir busy`, 60)
	w.open(t)
	defer w.run(t)()
	await.True(t, "nothing has arrived, and that is known", afterWithin, w.Settled)
	if s := w.Status(); s.State != spec.AfterDone || !s.Last.IsZero() || w.Kept() {
		t.Errorf("nothing has arrived: %+v", s)
	}
	w.Carry(".atoll-canary/app/sg1", "")
	await.True(t, "a canary is known not to be a change", afterWithin, w.Settled)
	if s := w.Status(); s.State != spec.AfterDone {
		t.Errorf("after a canary: %+v", s)
	}

	w.Begin()
	for range 100 {
		w.Arrive("index.php")
	}
	if w.Settled() {
		t.Error("it is settled while the engine writes")
	}
	await.True(t, "the state says that it is due", afterWithin, w.Kept)
	if s := w.Status(); s.State != spec.AfterDue {
		t.Errorf("in the middle of a round: %+v", s)
	}
	w.End()
	s := w.awaitState(t, spec.AfterDone)
	if w.Kept() || s.Last.IsZero() || s.Problem != "" {
		t.Errorf("it has run: %+v, and is due: %t", s, w.Kept())
	}
	home, _ := os.UserHomeDir()
	if got, want := w.read("said"), "app hk1 "+w.tree+" "+w.tree+" "+home+"\n"; got != want {
		t.Errorf("it has said %q, not %q", got, want)
	}
	if got := w.read("runs"); got != "run\n" {
		t.Errorf("it has run %q", got)
	}

	w.Missed(watch.SeveralNames)
	if s := w.Status(); s.State != spec.AfterDone {
		t.Errorf("no change was missed: %+v", s)
	}
	w.Missed("the kernel's queue of events overflowed")
	await.True(t, "it runs when changes were missed", afterWithin, func() bool { return w.read("runs") == "run\nrun\n" })
}

func TestAfterChangeFails(t *testing.T) {
	t.Parallel()
	w := newAfterWorld(t, once+`rmdir busy; echo out; if [ ! -e fixed ]; then echo first >&2; printf "no \377 table\n" >&2; exit 3; fi`, 60)
	w.open(t)
	defer w.run(t)()
	w.Carry("index.php")
	s := w.awaitState(t, spec.AfterFailed)
	if want := "/bin/sh ended with exit code 3: first | no ? table"; s.Problem != want {
		t.Errorf("it says %q, not %q", s.Problem, want)
	}
	if text := w.Warning(); !strings.Contains(text, s.Problem) {
		t.Errorf("the warning is %q", text)
	}
	await.True(t, "it is tried again", afterWithin, func() bool { return strings.Count(w.read("runs"), "run") >= 3 })
	if left := w.Left(t.Context(), func() {}); !strings.Contains(left, "exit code 3") {
		t.Errorf("it has failed, and what is left is %q", left)
	}
	w.put(t, "fixed")
	if s := w.awaitState(t, spec.AfterDone); s.Problem != "" || w.Kept() || w.Warning() != "" {
		t.Errorf("it is repaired: %+v", s)
	}
	if w.read("overlap") != "" {
		t.Error("two ran at a time")
	}
}

// A program that is not there is told like one that fails.
func TestAfterChangeNoProgram(t *testing.T) {
	t.Parallel()
	w := newAfterWorld(t, "", 60)
	w.cfg.After.Command = []string{"/nonexistent/occ"}
	w.open(t)
	defer w.run(t)()
	w.Carry("index.php")
	if s := w.awaitState(t, spec.AfterFailed); !strings.Contains(s.Problem, "/nonexistent/occ") {
		t.Errorf("it says %q", s.Problem)
	}
}

func TestAfterChangeTimeout(t *testing.T) {
	t.Parallel()
	w := newAfterWorld(t, `trap "" TERM; sleep 1000 & echo $! >>pids; echo waits >&2; wait; sleep 1000`, 1)
	w.cfg.Pauses.After = time.Hour
	w.open(t)
	defer w.run(t)()
	w.Carry("index.php")
	s := w.awaitState(t, spec.AfterFailed)
	if !strings.Contains(s.Problem, "timeout") || !strings.Contains(s.Problem, "waits") {
		t.Errorf("it says %q", s.Problem)
	}
	pid := strings.TrimSpace(w.read("pids"))
	await.True(t, "what it has started is ended", afterWithin, func() bool {
		state, err := os.ReadFile("/proc/" + pid + "/stat")
		return errors.Is(err, os.ErrNotExist) || strings.Contains(string(state), ") Z ") || errors.Is(err, syscall.ESRCH)
	})
}

// What arrives while it runs has it run once more, and no sooner.
func TestAfterChangeWhileItRuns(t *testing.T) {
	t.Parallel()
	w := newAfterWorld(t, once+`while [ ! -e go ]; do sleep 0.02; done; rmdir busy`, 60)
	w.open(t)
	defer w.run(t)()
	w.Carry("a")
	w.awaitState(t, spec.AfterRunning)
	for range 3 {
		w.Carry("b")
	}
	if left := w.Left(t.Context(), func() {}); left != "the command after changes runs" {
		t.Errorf("left: %q", left)
	}
	w.put(t, "go")
	await.True(t, "it runs once more", afterWithin, func() bool { return w.read("runs") == "run\nrun\n" })
	w.awaitState(t, spec.AfterDone)
	if got := w.read("runs"); got != "run\nrun\n" || w.read("overlap") != "" || w.Kept() {
		t.Errorf("it has run %q, with another one: %q", got, w.read("overlap"))
	}
}

// The worker dies while the command runs, which goes on: another worker has it run again, when the first one is over.
func TestAfterChangeWorkerDies(t *testing.T) {
	t.Parallel()
	w := newAfterWorld(t, once+`while [ ! -e go ]; do sleep 0.02; done; rmdir busy`, 60)
	crash := w.open(t)
	defer w.run(t)()
	w.Carry("a")
	await.True(t, "it runs", afterWithin, func() bool { return w.read("runs") == "run\n" })
	crash()
	w.open(t)
	await.True(t, "another worker knows that it is due", afterWithin, func() bool { return w.Kept() && w.Settled() })
	if s := w.Status(); s.State != spec.AfterDue {
		t.Errorf("another worker says %+v", s)
	}
	w.put(t, "go")
	w.awaitState(t, spec.AfterDone)
	if got := w.read("runs"); got != "run\nrun\n" || w.read("overlap") != "" {
		t.Errorf("it has run %q, with another one: %q", got, w.read("overlap"))
	}
}

// The engine's program dies, and it cannot be told what it wrote last.
func TestAfterChangeProgramDies(t *testing.T) {
	t.Parallel()
	w := newAfterWorld(t, once+`rmdir busy`, 60)
	w.open(t)
	await.True(t, "it is settled", afterWithin, w.Settled)
	w.Drain()
	if s := w.Status(); s.State != spec.AfterDone {
		t.Errorf("everything is known, and it says %+v", s)
	}
	w.Stuck()
	w.Drain()
	if s := w.Status(); s.State != spec.AfterDue {
		t.Errorf("it is not known what was written, and it says %+v", s)
	}
}

// The worker dies after something has arrived, and before it has counted that.
func TestAfterChangeWorkerDiesBefore(t *testing.T) {
	t.Parallel()
	w := newAfterWorld(t, once+`rmdir busy`, 60)
	crash := w.open(t)
	if err := w.Writing(); err != nil {
		t.Fatal(err)
	}
	crash()
	w.open(t)
	defer w.run(t)()
	await.True(t, "it has run", afterWithin, func() bool { return w.read("runs") == "run\n" })
	w.awaitState(t, spec.AfterDone)
}

// A worker ends as soon as it has begun: its socket goes with it, and not later, when it may be that of the next.
func TestAfterChangeWorkerEndsAtOnce(t *testing.T) {
	t.Parallel()
	w := newAfterWorld(t, once+`rmdir busy`, 60)
	for range 200 {
		w.open(t)()
		if _, err := os.Stat(w.cfg.AfterSocket()); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("it has ended, and of its socket is said: %v", err)
		}
	}
}

// Who runs the command dies, and with it the command: it runs again.
func TestAfterChangeRunnerDies(t *testing.T) {
	t.Parallel()
	w := newAfterWorld(t, `echo run >>runs; while [ ! -e go ]; do sleep 0.02; done`, 60)
	w.open(t)
	end := w.run(t)
	w.Carry("a")
	await.True(t, "it runs", afterWithin, func() bool { return w.read("runs") == "run\n" })
	end()
	if !w.Kept() {
		t.Error("it was interrupted, and is not due")
	}
	w.put(t, "go")
	defer w.run(t)()
	await.True(t, "it runs again", afterWithin, func() bool { return w.read("runs") == "run\nrun\n" })
	w.awaitState(t, spec.AfterDone)
}

// Trees that are equal may not stay so: a digest says what is left to do, or was done while it was made.
func TestAfterChangeLeft(t *testing.T) {
	t.Parallel()
	w := newAfterWorld(t, once+`rmdir busy`, 60)
	w.open(t)
	await.True(t, "it is settled", afterWithin, w.Settled)
	if left := w.Left(t.Context(), func() {}); left != "" {
		t.Errorf("nothing has arrived, and what is left is %q", left)
	}
	if left := w.Left(t.Context(), func() { w.Carry("a") }); left != "the command after changes is due" {
		t.Errorf("left: %q", left)
	}
	defer w.run(t)()
	w.awaitState(t, spec.AfterDone)
	if left := w.Left(t.Context(), func() {}); left != "" {
		t.Errorf("it has run, and what is left is %q", left)
	}
	left := w.Left(t.Context(), func() {
		w.Carry("b")
		await.True(t, "it runs again", afterWithin, func() bool { return w.read("runs") == "run\nrun\n" })
		w.awaitState(t, spec.AfterDone)
	})
	if left != "the command after changes has run meanwhile" {
		t.Errorf("left: %q", left)
	}
}

// Commands that change the tree each time have each other run without an end: they are put apart, and somebody is told.
func TestAfterChangeWithoutEnd(t *testing.T) {
	t.Parallel()
	w := newAfterWorld(t, "", 60)
	w.open(t)
	if err := w.Run(5); err != nil {
		t.Fatal(err)
	}
	if text := w.Warning(); text != "" {
		t.Errorf("after 5 runs: %q", text)
	}
	if err := w.Run(8); err != nil {
		t.Fatal(err)
	}
	if text := w.Warning(); !strings.Contains(text, "sg1") {
		t.Errorf("after 13 runs: %q", text)
	}
	if apart := w.Apart(); apart < time.Minute {
		t.Errorf("after 13 runs they are put apart by %s", apart)
	}
}
