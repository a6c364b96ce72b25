//go:build linux

package e2e_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// enable is a command after changes as an application may have it: what it writes follows from what is there. It meets what a pair's own programs do
// not: the network, and files outside of the tree.
const enable = `if [ -e broken ]; then echo the table is missing >&2; exit 3; fi
if [ -e app ] && ! cmp -s app enabled; then cp app enabled.tmp; mv enabled.tmp enabled; fi
id -un >/tmp/enabled-by; ls /sys/class/net >>/tmp/enabled-by`

// afterChange has both nodes run a command after what has arrived.
func (f filesSite) afterChange(t *testing.T) {
	f.Work.Env = append(f.Work.Env, rig.WithPairAfter(f.one, f.other, "/bin/sh", "-c", enable))
	f.apply(t)
	f.wantNoChange(t)
	f.do(t, f.one, "echo 1 >app")
	took := f.reads(t, f.other, "cat enabled", "1", time.Minute)
	t.Logf("what the command on the other node makes of a change is there after %.2f s", took.Seconds())
	f.reads(t, f.one, "cat enabled", "1", time.Minute)
	if out, err := f.Exec(t.Context(), f.other, "cat", "/tmp/enabled-by"); err != nil || !strings.HasPrefix(string(out), rig.PairOwner+"\n") || !strings.Contains(string(out), "eth0") {
		t.Errorf("the command ran as, and saw, %q, %v", out, err)
	}
	if out, err := f.Atoll(t.Context(), "wait-synced", "--timeout", "1m"); err != nil {
		t.Errorf("wait-synced: %v\n%s", err, out)
	}

	// After a maintenance a node serves when its command has run.
	if out, err := f.Atoll(t.Context(), "maintenance", "enter", "--all", "--reason", "an app is enabled"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f.do(t, f.one, "echo 2 >app")
	if out, err := f.Atoll(t.Context(), "maintenance", "leave", "--all"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f.servesWith(t, f.other, "test \"$(cat enabled)\" = 2")
	if out, err := f.Atoll(t.Context(), "wait-synced", "--timeout", "1m"); err != nil {
		t.Errorf("wait-synced: %v\n%s", err, out)
	}
	if out, err := f.pair.Run(t.Context(), f.one, "cat app enabled"); err != nil || out != "2\n2\n" {
		t.Errorf("wait-synced did not wait for the command: %q, %v", out, err)
	}

	f.do(t, f.one, "touch broken")
	const why = "exit code 3: the table is missing"
	f.eventually(t, "the status says that the command fails", time.Minute, func(ctx context.Context) error {
		status, _, err := f.Status(ctx)
		if all := strings.Join(status.Warnings, "\n"); err == nil && !strings.Contains(all, rig.PairName+": "+f.other+": ") || !strings.Contains(all, why) {
			err = errNot("%q", status.Warnings)
		}
		return err
	})
	if out, err := f.Atoll(t.Context(), "wait-synced", "--timeout", "10s"); err == nil || !strings.Contains(out+err.Error(), why) {
		t.Errorf("the barrier opens although the command fails, or does not say so: %v\n%s", err, out)
	}
	f.wantNoChange(t)
	f.do(t, f.one, "rm broken; echo 3 >app")
	f.reads(t, f.other, "cat enabled", "3", time.Minute)
	if out, err := f.Atoll(t.Context(), "wait-synced", "--timeout", "1m"); err != nil {
		t.Errorf("wait-synced: %v\n%s", err, out)
	}
	f.eventually(t, "the cluster is healthy", time.Minute, f.healthy)
	f.upgradesWithCommand(t)
	f.wantNoChange(t)
}

// upgradesWithCommand makes a change that the command on the other node fails on, which is taken back, and one that it makes something of, which the
// upgrade waits for.
func (f filesSite) upgradesWithCommand(t *testing.T) {
	for _, tt := range []struct {
		change, timeout string
		code            int
		outcome         string
		enabled         string
	}{
		{"echo 4 >app; touch broken", "1m", 1, "restored", "3\n3\n"},
		{"echo 4 >app", "3m", 0, "done", "4\n4\n"},
	} {
		out, code := f.upgrade(t, tt.timeout, "true", tt.change)
		var got struct{ ID, Outcome string }
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != tt.code || got.Outcome != tt.outcome {
			t.Fatalf("the upgrade ended with exit code %d (%v): %s", code, err, out)
		}
		for _, node := range []string{f.one, f.other} {
			if out, err := f.pair.Run(t.Context(), node, "cat app enabled; ls broken 2>/dev/null || true"); err != nil || out != tt.enabled {
				t.Errorf("%s: %s: it has %q, want %q: %v", node, tt.outcome, out, tt.enabled, err)
			}
		}
		f.eventually(t, "the cluster is healthy", time.Minute, f.healthy)
		if out, err := f.Atoll(t.Context(), "upgrade", "forget", got.ID); err != nil {
			t.Errorf("the snapshot is not forgotten: %s, %v", out, err)
		}
	}
}
