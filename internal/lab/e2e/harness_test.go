//go:build linux

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// site is the stack of the reference topology in a lab of its own, with everything that a test needs to look at it.
type site struct {
	*rig.Site
	// dir holds everything that the operator's commands write.
	dir string
	// wrong are the programs with a clock that can be wrong.
	wrong *rig.Programs
	// seen are the command lines of all processes that ran on this machine.
	seen *commandLines
	// given is the first-boot data that machines got.
	given *firstBoots
}

// spare is a machine that the stack does not use.
const spare = "spare"

// requireLab skips the test, and says so, where it cannot run.
func requireLab(t *testing.T) (engine string) {
	t.Helper()
	engine = os.Getenv("ATOLL_E2E")
	if engine == "" {
		t.Skip("THE END-TO-END TESTS DID NOT RUN: set ATOLL_E2E to terraform or tofu (make e2e does)")
	}
	if os.Getuid() != 0 {
		t.Skip("THE END-TO-END TESTS DID NOT RUN: they boot real nodes and need root")
	}
	path, err := exec.LookPath(engine)
	if err != nil {
		t.Fatalf("ATOLL_E2E: %v", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		t.Fatalf("ATOLL_E2E: %v", err)
	}
	return path
}

// furtherEngine tells that the tests have run with another engine in this run, so that what no engine has a part in need not
// be done again.
func furtherEngine() bool { return os.Getenv("ATOLL_E2E_FURTHER") != "" }

// onceForAllEngines leaves a test to the first engine of a run: acceptance tests ask each engine for what the test needs of it.
func onceForAllEngines(t *testing.T) {
	t.Helper()
	if furtherEngine() {
		t.Skip("left to the first engine of this run")
	}
}

// newSite starts a lab, which is named for the test, and prepares the operator's folder. Nothing of the cluster exists yet.
func newSite(t *testing.T) *site {
	t.Helper()
	engine := requireLab(t)
	programs, err := build()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{dir: t.TempDir(), wrong: programs.wrong}
	trace := filepath.Join(s.dir, "trace.log")
	s.Site, err = rig.NewSite(t.Context(), programs.shipped, rig.SiteOptions{
		Engine: engine, Dir: s.dir, Env: []string{"TF_LOG=trace", "TF_LOG_PATH=" + trace},
		Lab: lab.Options{
			Name: fmt.Sprintf("e2e%d-%s", os.Getpid(), strings.ToLower(strings.TrimPrefix(t.Name(), "Test"))), Temporary: true,
			Machines: append(lab.DefaultMachines(), lab.Machine{Name: spare, Site: network.SiteColo}),
			Progress: func(doing string) { t.Logf("lab: %s", doing) },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("remove the lab: %v", err)
		}
	})
	s.seen = watchCommandLines(t)
	s.given = catchFirstBoots(t, s.root, "hk1", "hk2")
	return s
}

// root is where a machine's own files are, as root outside sees them.
func (s *site) root(machine string) string {
	return filepath.Join(lab.DefaultDataDir(), "lab-"+s.Name(), "nodes", machine, "upper")
}

// patience is how long one command of the engine may take before it is interrupted. Three servers of a database that begin together
// take a minute of that where two processors have much else to do.
const patience = 4 * time.Minute

// run runs the engine and logs what it took.
func (s *site) run(t *testing.T, args ...string) (rig.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := s.Work.Run(ctx, args...)
	t.Logf("%s %s: exit code %d in %.1f s", filepath.Base(s.Work.Engine), strings.Join(args, " "), r.Code, r.Took.Seconds())
	return r, err
}

// mustRun is run for what must succeed.
func (s *site) mustRun(t *testing.T, args ...string) rig.Result {
	t.Helper()
	r, err := s.run(t, args...)
	if err != nil {
		s.explain(t)
		t.Fatal(err)
	}
	return r
}

// apply applies the stack, which must succeed.
func (s *site) apply(t *testing.T, args ...string) rig.Result {
	t.Helper()
	return s.mustRun(t, append([]string{"apply", "-auto-approve"}, args...)...)
}

// failApply applies the stack, which must fail with a message that holds every part.
func (s *site) failApply(t *testing.T, args []string, parts ...string) rig.Result {
	t.Helper()
	r, err := s.run(t, append([]string{"apply", "-auto-approve"}, args...)...)
	if err == nil {
		t.Fatalf("apply succeeded, it must fail:\n%s", r.Output)
	}
	wantMessage(t, r.Output, parts...)
	return r
}

// wantMessage compares without regard to how the engine wraps its lines.
func wantMessage(t *testing.T, output string, parts ...string) {
	t.Helper()
	flat := strings.Join(strings.Fields(strings.NewReplacer("│", " ", "╷", " ", "╵", " ").Replace(output)), " ")
	for _, part := range parts {
		if !strings.Contains(strings.ToLower(flat), strings.ToLower(part)) {
			t.Errorf("the message does not say %q:\n%s", part, output)
		}
	}
}

// wantNoChange demands that a plan finds nothing to do.
func (s *site) wantNoChange(t *testing.T, args ...string) {
	t.Helper()
	r, err := s.run(t, append([]string{"plan", "-detailed-exitcode"}, args...)...)
	if err != nil {
		t.Errorf("the plan is not empty (exit code %d):\n%s", r.Code, r.Output)
	}
}

// explain logs what nodes and commands say when something failed.
func (s *site) explain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	status, err := s.Atoll(ctx, "status")
	t.Logf("atoll status: %v\n%s", err, status)
	for _, n := range s.Nodes() {
		t.Logf("machine %s (%s): %s, %s", n.Name, n.Kind, n.Power, n.IPv4)
		if n.Power != "on" {
			continue
		}
		for _, argv := range [][]string{
			{"journalctl", "-u", "atolld", "-n", "25", "--no-pager", "-o", "cat"},
			{"journalctl", "-u", "atoll-pair-*", "-n", "25", "--no-pager", "-o", "cat"},
			{"journalctl", "-u", "atoll-wireguard", "-n", "25", "--no-pager", "-o", "cat"},
			{"systemctl", "--failed", "--no-pager"},
		} {
			out, err := s.Exec(ctx, n.Name, argv...)
			t.Logf("%s: %s: %v\n%s", n.Name, strings.Join(argv, " "), err, out)
		}
	}
}

// eventually waits for a condition and fails the test with its last complaint when it does not come in time.
func (s *site) eventually(t *testing.T, what string, within time.Duration, condition func(ctx context.Context) error) time.Duration {
	t.Helper()
	took, err := await.Attempt(t.Context(), within, condition)
	if err != nil {
		s.explain(t)
		t.Fatalf("%s: not within %v: %v", what, within, err)
	}
	t.Logf("%s: after %.1f s", what, took.Seconds())
	return took
}

// errNot is a condition that does not hold yet.
func errNot(format string, args ...any) error { return fmt.Errorf(format, args...) }
