//go:build linux

package e2e_test

import (
	"context"
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
	f.wantNoChange(t)
}
