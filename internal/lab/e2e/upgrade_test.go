//go:build linux

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// upgrades makes a change that fails, which is taken back on both nodes, and one that does not.
func (f filesSite) upgrades(t *testing.T) {
	f.do(t, f.one, "rm -rf version2; mkdir version2; mkdir -p version3; for i in $(seq 500); do echo 2 >version2/$i; done; echo 3 >version3/1")
	f.eventually(t, "the trees are equal", time.Minute, f.pair.Equal)
	var ids []string
	for _, tt := range []struct {
		verify, outcome string
		code            int
		version, letter string
	}{
		{"exit 7", "restored", 1, "500 files of version 2", "nothing"},
		{"true", "done", 0, "1 file of version 4", "a letter"},
	} {
		out, code := f.upgrade(t, "3m", tt.verify, "rm -r version2; mkdir version2; echo 4 >version2/only; echo 4 >>version3/1; echo dear >letter")
		var got struct {
			ID, Outcome string
			Snapshots   []struct{ Verified bool }
			Restored    map[string]struct {
				Same     bool
				Replaced string
			}
		}
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != tt.code || got.Outcome != tt.outcome || len(got.Snapshots) != 1 || !got.Snapshots[0].Verified {
			t.Fatalf("the upgrade ended with exit code %d (%v): %s", code, err, out)
		}
		ids = append(ids, got.ID)
		f.eventually(t, "the cluster is healthy", time.Minute, f.healthy)
		if err := f.pair.Equal(t.Context()); err != nil {
			t.Error(err)
		}
		for _, node := range []string{f.one, f.other} {
			f.reads(t, node, `case $(ls version2 | wc -l) in 500) echo 500 files of version $(cat version2/7);; 1) echo 1 file of version $(cat version2/only);; esac
				if [ -e letter ]; then echo a letter; else echo nothing; fi`, tt.version+"\n"+tt.letter, arrival)
		}
		for _, r := range got.Restored {
			if out, err := f.Exec(t.Context(), f.one, "cat", r.Replaced+"/1/letter"); err != nil || !r.Same || !strings.HasPrefix(string(out), "dear") {
				t.Errorf("what was written meanwhile is lost: %+v: %q, %v", r, out, err)
			}
		}
	}
	if out, err := f.Atoll(t.Context(), "upgrade", "list"); err != nil || !strings.Contains(out, ids[0]) || !strings.Contains(out, ids[1]) {
		t.Errorf("the snapshots are %s, %v", out, err)
	}
	if out, err := f.Atoll(t.Context(), append([]string{"upgrade", "forget"}, ids...)...); err != nil {
		t.Errorf("they are not forgotten: %s, %v", out, err)
	}
	f.do(t, f.one, "rm -r version2 letter")
	f.eventually(t, "the trees are equal", time.Minute, f.pair.Equal)
	f.wantNoChange(t)
}

// upgrade runs atoll upgrade, makes a change in the tree while it waits for that, and returns what it printed. Timeout bounds each of its waits.
func (f filesSite) upgrade(t *testing.T, timeout, verify, change string) (out string, code int) {
	t.Helper()
	dir := t.TempDir()
	began, over := filepath.Join(dir, "began"), filepath.Join(dir, "over")
	type ended struct {
		out string
		err error
	}
	end := make(chan ended, 1)
	go func() {
		out, err := f.Atoll(t.Context(), "upgrade", "start", "--json", "--on", f.one, "--timeout", timeout, "--verify", verify, "--on-failure", "restore", "--",
			"sh", "-ec", `touch "$1"; until [ -e "$2" ]; do sleep 0.1; done`, "sh", began, over)
		end <- ended{out, err}
	}()
	f.eventually(t, "it makes the change", 3*time.Minute, func(context.Context) error {
		_, err := os.Stat(began)
		select {
		case e := <-end:
			t.Fatalf("it has ended before: %v\n%s", e.err, e.out)
		default:
		}
		return err
	})
	for _, node := range []string{f.one, f.other, "hk2"} {
		f.eventually(t, node+" is in maintenance", time.Minute, func(ctx context.Context) error {
			h, err := f.Health(ctx, node)
			if err == nil && (h.Healthy || h.Parts["maintenance"] == "ok") {
				err = errNot("%+v", h)
			}
			return err
		})
	}
	f.do(t, f.one, change)
	if err := os.WriteFile(over, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e := <-end
	var exit *exec.ExitError
	if errors.As(e.err, &exit) {
		code = exit.ExitCode()
	} else if e.err != nil {
		t.Fatal(e.err)
	}
	t.Logf("atoll upgrade: %v", e.err)
	return e.out, code
}
