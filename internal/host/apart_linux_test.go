//go:build linux

package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
)

// insideVariable is set where the test runs inside a machine of its own.
const insideVariable = "ATOLL_TEST_INSIDE"

// TestApart runs itself inside a machine with a systemd of its own.
func TestApart(t *testing.T) {
	if os.Getenv(insideVariable) != "" {
		testApart(t)
		return
	}
	if err := nodes.Check(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	layer, err := nodes.Cache{}.Ensure(t.Context(), nodes.DefaultImage(), func(text string) { t.Log(text) })
	if err != nil {
		t.Fatal(err)
	}
	dir, lab := filepath.Join(t.TempDir(), "node"), fmt.Sprintf("apart-%d", os.Getpid())
	t.Cleanup(func() {
		if err := nodes.Sweep(context.WithoutCancel(t.Context()), lab, dir); err != nil {
			t.Error(err)
		}
	})
	n, err := nodes.New(nodes.Config{Lab: lab, Name: "apart", Hostname: "apart", Dir: dir, Layers: []string{layer}})
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Write("/usr/local/bin/apart.test", data, 0o755); err != nil {
		t.Fatal(err)
	}
	// In this machine's own network, the node's firewall would be this machine's.
	if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", lab).CombinedOutput(); err != nil {
		t.Fatalf("make a network namespace: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "ip", "netns", "delete", lab).CombinedOutput(); err != nil {
			t.Errorf("remove the network namespace: %v: %s", err, out)
		}
	})
	if err := n.Boot(t.Context(), filepath.Join("/run/netns", lab), func(nodes.Exit) {}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Destroy(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	cmd, err := n.Command(t.Context(), "/usr/local/bin/apart.test", "-test.run=^TestApart$", "-test.v", "-test.timeout=2m")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, insideVariable+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("inside:\n%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: TestApart") {
		t.Errorf("inside: %v", err)
	}
}

func testApart(t *testing.T) {
	apart := host.NewApart()
	waitForSystemd(t, apart)
	sh := func(script string) []string { return []string{"/bin/sh", "-c", script} }
	tests := []struct {
		name string
		argv []string
		code int
		// output is part of what it writes, err of how it fails.
		output, err string
	}{
		{"well", sh("echo fine; echo so >&2"), 0, "fine\nso\n", ""},
		{"unwell", sh("echo broken >&2; exit 3"), 3, "broken", ""},
		{"as nobody, without rights", sh("id -un; id -Gn; grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status"), 0, "nobody\nnogroup\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n", ""},
		{"cannot write", sh("touch /usr/x /etc/x /var/lib/x"), 1, "Read-only file system", ""},
		{"its environment", sh("echo $GIVEN; echo $HOME"), 0, "a value with $DOLLAR and %n\n", ""},
		{"its arguments", []string{"/bin/echo", "$GIVEN", "%n", "a b", ""}, 0, "$GIVEN %n a b \n", ""},
		{"much output", sh("yes | head -c 1000000"), 0, "y\ny\n", ""},
		{"no such program", []string{"/usr/bin/nothing"}, 0, "", "there is no such program, or the user nobody may not execute it"},
		{"killed", sh("kill -9 $$"), 0, "", "it ended by signal"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			code, output, err := apart.RunApart(ctx, "www.example.com", tt.argv, []string{"GIVEN=a value with $DOLLAR and %n"})
			if code != tt.code || !strings.Contains(output, tt.output) || len(output) > 5000 {
				t.Errorf("exit code %d, want %d; %d bytes of output %.200q, want %q", code, tt.code, len(output), output, tt.output)
			}
			if (err == nil) != (tt.err == "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
	t.Run("takes too long", func(t *testing.T) { testApartTooLong(t, apart) })
	t.Run("leaves nothing", func(t *testing.T) {
		cmd := host.Real()
		out, err := cmd.Run(t.Context(), host.Command{Name: "systemctl", Args: []string{"list-units", "--all", "--plain", "--no-legend", "atoll-check-*"}})
		if err != nil || len(out.Stdout) != 0 {
			t.Errorf("units: %s (%v)", out.Stdout, err)
		}
		if out, err = cmd.Run(t.Context(), host.Command{Name: "sh", Args: []string{"-c", "journalctl --quiet --no-pager -b > /tmp/journal && test -s /tmp/journal && ! grep -F atoll-check /tmp/journal"}}); err != nil || len(out.Stdout) != 0 {
			t.Errorf("the journal: %s (%v)", out.Stdout, err)
		}
		if out, err = cmd.Run(t.Context(), host.Command{Name: "sh", Args: []string{"-c", "ps -eo args | grep '[s]leep 33' || true"}}); err != nil || len(out.Stdout) != 0 {
			t.Errorf("processes: %s (%v)", out.Stdout, err)
		}
	})
}

// testApartTooLong runs a program that starts another one in a session of its own and outlives its time.
func testApartTooLong(t *testing.T, apart *host.Apart) {
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		from := time.Now()
		_, output, err := apart.RunApart(ctx, "www.example.com", []string{"/bin/sh", "-c", "trap '' TERM; setsid sleep 3333 & echo waiting; sleep 3333; sleep 3333"}, nil)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || output != "waiting\n" {
			t.Errorf("got %q, %v, want its output and a deadline that is over", output, err)
		}
		if took := time.Since(from); took > 4*time.Second {
			t.Errorf("it took %s to end it", took)
		}
	}
}

// waitForSystemd waits until the machine has booted far enough.
func waitForSystemd(t *testing.T, apart *host.Apart) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		code, _, err := apart.RunApart(ctx, "boot", []string{"/bin/true"}, nil)
		cancel()
		if err == nil && code == 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("systemd runs nothing: exit code %d, %v", code, err)
		case <-tick.C:
		}
	}
}
