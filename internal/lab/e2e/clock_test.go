//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// wrongClock gives one node an agent whose clock is five minutes ahead. The containers of a lab share one clock, so the
// agent is built from the same source with a time.Now that is wrong; nothing else of it differs.
func wrongClock(t *testing.T, s *site) {
	const victim = "sg1"
	right, err := os.ReadFile(s.Programs.Path("atolld"))
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := os.ReadFile(s.buildWrongAgent(t, 5*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	s.swapAgent(t, victim, wrong)
	s.eventually(t, "the node with the wrong clock is named, and nobody else", 2*time.Minute, func(ctx context.Context) error {
		status, healthy, err := s.Status(ctx)
		if err != nil {
			return err
		}
		if healthy {
			return errNot("atoll status finds the cluster healthy")
		}
		for name, node := range status.Nodes {
			condition, reported := node.Condition(spec.ConditionClockSane)
			if !reported || condition.Good() == (name == victim) {
				return errNot("%s reports %+v", name, condition)
			}
		}
		return nil
	})
	if err := s.PingAll(t.Context(), everyNode...); err != nil {
		t.Errorf("the mesh does not work: %v", err)
	}
	record, object := s.renew(t, "hk1", spec.Ref{Kind: spec.KindNode, Name: "hk1"})
	if err := push(t.Context(), s.agent(t, "hk1"), record); err != nil {
		t.Fatal(err)
	}
	s.eventually(t, "objects reach the node with the wrong clock", 20*time.Second, func(ctx context.Context) error {
		return s.knowEverywhere(ctx, t, object)
	})
	s.wantNoChange(t)
	s.swapAgent(t, victim, right)
	s.wantHealthy(t, 4*time.Minute, everyNode...)
}

// swapAgent replaces a node's agent as an update would.
func (s *site) swapAgent(t *testing.T, node string, program []byte) {
	t.Helper()
	s.bringFile(t, node, "/usr/local/bin/atolld", program)
	s.exec(t, node, "chmod", "755", "/usr/local/bin/atolld")
	s.exec(t, node, "systemctl", "restart", "atolld.service")
}

// buildWrongAgent builds the agent with a standard library whose time.Now is ahead.
func (s *site) buildWrongAgent(t *testing.T, ahead time.Duration) string {
	t.Helper()
	source := filepath.Join(runtime.GOROOT(), "src", "time", "time.go") //nolint:staticcheck // the toolchain that runs this test
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if bytes.Count(text, []byte(now)) != 1 {
		t.Fatalf("time.Now of %s is not what this test knows how to change", runtime.Version())
	}
	text = bytes.Replace(text, []byte(now), fmt.Appendf(nil, "%s\tsec += %d\n", now, int(ahead.Seconds())), 1)
	dir := t.TempDir()
	changed := filepath.Join(dir, "time.go")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{source: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{changed: text, filepath.Join(dir, "overlay.json"): overlay} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "atolld")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-overlay", filepath.Join(dir, "overlay.json"), "-o", out, "./internal/cmd/atolld")
	build.Dir = s.Programs.Source
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if message, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build an agent with a wrong clock: %v\n%s", err, message)
	}
	return out
}
