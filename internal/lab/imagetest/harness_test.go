//go:build linux

package imagetest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// imageVariable names the manifest of the image to test.
const imageVariable = "ATOLL_IMAGE"

// site is a lab of virtual machines with an operator's folder.
type site struct {
	*rig.Site
	dir string
}

// require skips the test, and says so, where it cannot run.
func require(t *testing.T) (engine, manifest string) {
	t.Helper()
	engine = os.Getenv("ATOLL_E2E")
	if engine == "" {
		t.Skip("THE IMAGE TESTS DID NOT RUN: set ATOLL_E2E to terraform or tofu (internal/tools/suite image and image-faults do)")
	}
	if os.Getuid() != 0 {
		t.Skip("THE IMAGE TESTS DID NOT RUN: they boot virtual machines in networks of their own and need root")
	}
	path, err := exec.LookPath(engine)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		t.Fatalf("ATOLL_E2E: %v", err)
	}
	manifest = os.Getenv(imageVariable)
	if manifest == "" {
		manifest = filepath.Join("..", "..", "..", ".build", "images", "current.manifest.json")
		if _, err := os.Stat(manifest); errors.Is(err, os.ErrNotExist) {
			t.Skip("THE IMAGE TESTS DID NOT RUN: there is no image: make image builds one, " + imageVariable + " names another")
		}
	}
	if manifest, err = filepath.Abs(manifest); err != nil {
		t.Fatal(err)
	}
	return path, manifest
}

// newSite builds the programs, starts a lab and prepares the operator's folder with a configuration of testdata. Nothing of
// the cluster exists yet.
func newSite(t *testing.T, configuration string, machines ...lab.Machine) *site {
	t.Helper()
	engine, manifest := require(t)
	programs, err := rig.Build(t.Context(), filepath.Join(t.TempDir(), "bin"))
	if err != nil {
		t.Fatal(err)
	}
	memory := least
	if configuration == "stack" {
		t.Setenv("TF_VAR_image", manifest)
		memory = withDatabase
	}
	stack, err := filepath.Abs(filepath.Join("testdata", configuration))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{dir: t.TempDir()}
	from := time.Now()
	s.Site, err = rig.NewSite(t.Context(), programs, rig.SiteOptions{
		Engine: engine, Dir: s.dir, Stack: stack,
		Lab: lab.Options{
			Name: fmt.Sprintf("%s-%d", configuration, os.Getpid()), Temporary: true, Boot: lab.BootVM, Image: manifest, Memory: memory,
			Machines: append([]lab.Machine{}, machines...),
			Progress: func(doing string) { t.Logf("lab after %.1f s: %s", time.Since(from).Seconds(), doing) },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.keepConsoles(t)
		}
		if err := s.Close(); err != nil {
			t.Errorf("remove the lab: %v", err)
		}
	})
	t.Logf("the lab is ready after %.1f s", time.Since(from).Seconds())
	return s
}

// Memory of each machine in MiB: as little as a node without a database needs, and that of the smallest Linode.
const (
	least        = 384
	withDatabase = 1024
)

// patience is how long one command of the engine may take before it is interrupted: without hardware help, machines take a
// minute to boot and a quarter of an hour to a database, when others want the same processors.
const patience = 30 * time.Minute

// run runs the engine and logs what it took.
func (s *site) run(t *testing.T, args ...string) (rig.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := s.Work.Run(ctx, args...)
	t.Logf("%s %s: exit code %d in %.1f s", filepath.Base(s.Work.Engine), strings.Join(args, " "), r.Code, r.Took.Seconds())
	for line := range strings.Lines(r.Stdout) {
		if strings.Contains(line, " complete after ") {
			t.Log("  ", strings.TrimSpace(line))
		}
	}
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

// exec runs a command inside a machine and returns what it says.
func (s *site) exec(t *testing.T, node string, argv ...string) string {
	t.Helper()
	out, err := s.Exec(t.Context(), node, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// healthy demands that `atoll status` finds nothing wrong and knows these nodes and no other.
func (s *site) healthy(ctx context.Context, nodes ...string) error {
	status, healthy, err := s.Status(ctx)
	if err != nil {
		return err
	}
	var known []string
	for name := range status.Nodes {
		known = append(known, name)
	}
	slices.Sort(known)
	if !slices.Equal(known, nodes) {
		return fmt.Errorf("the cluster has the nodes %v, want %v", known, nodes)
	}
	if !healthy {
		text, err := s.Atoll(ctx, "status")
		return fmt.Errorf("the cluster is not healthy (%v):\n%s", err, text) //nolint:errorlint // for people, and often nil
	}
	return nil
}

// wantHealthy waits until the cluster is healthy and each node reaches each other.
func (s *site) wantHealthy(t *testing.T, within time.Duration, nodes ...string) {
	t.Helper()
	s.eventually(t, fmt.Sprintf("%s are a healthy cluster", strings.Join(nodes, ", ")), within, func(ctx context.Context) error {
		if err := s.PingAll(ctx, nodes...); err != nil {
			return err
		}
		return s.healthy(ctx, nodes...)
	})
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

// explain logs what nodes and commands say when something failed.
func (s *site) explain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
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
			{"journalctl", "-u", "atoll-mysql*", "-n", "25", "--no-pager", "-o", "cat"},
			{"systemctl", "--failed", "--no-pager"},
		} {
			out, err := s.Exec(ctx, n.Name, argv...)
			t.Logf("%s: %s: %v\n%s", n.Name, strings.Join(argv, " "), err, out)
		}
	}
}

// keepConsoles logs the end of what each machine said on its console.
func (s *site) keepConsoles(t *testing.T) {
	t.Helper()
	for _, n := range s.Nodes() {
		t.Logf("console of %s:\n%s", n.Name, lastLines(console(n), 60))
	}
}

// colours are what systemd paints its messages with.
var colours = regexp.MustCompile(`\x1b\[[0-9;?!]*[A-Za-z]`)

// console is what a machine said, without colours; nothing when it never booted.
func console(n lab.NodeState) string {
	text, err := os.ReadFile(n.Console)
	if err != nil {
		return ""
	}
	return colours.ReplaceAllString(string(text), "")
}

// lastLines is the end of a text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
