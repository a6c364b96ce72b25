//go:build linux

package drills_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/drills"
)

func TestDemanded(t *testing.T) {
	tests := []struct {
		name    string
		lines   []string
		want    []string
		instead map[string][]string
	}{
		{"nothing", nil, nil, nil},
		{"acknowledged", []string{"try a-1 - x/1", "done a-1 - x/1"}, []string{"a-1"}, nil},
		{"not acknowledged", []string{"try a-1 - x/1"}, nil, nil},
		{"replaced", []string{"try a-1 - x/1", "done a-1 - x/1", "try a-2 a-1 x/1", "done a-2 a-1 x/1"}, []string{"a-2"}, nil},
		{
			"replaced by another node, who tells when it sees what was there",
			[]string{"try a-1 - x/1", "try b-1 - x/1", "done a-1 - x/1", "done b-1 a-1 x/1"},
			[]string{"b-1"},
			nil,
		},
		{"both without having seen each other", []string{"try a-1 - x/1", "try b-1 - x/1", "done a-1 - x/1", "done b-1 - x/1"}, []string{"a-1", "b-1"}, nil},
		{"removed", []string{"try a-1 - x/1", "done a-1 - x/1", "gone a-1 x/1"}, nil, nil},
		{"removed, perhaps", []string{"try a-1 - x/1", "done a-1 - x/1", "taking a-1 x/1"}, nil, nil},
		{"the other was removed", []string{"try a-1 - x/1", "done a-1 - x/1", "gone - x/1", "gone b-1 x/1"}, []string{"a-1"}, nil},
		{
			"killed in the middle",
			[]string{"try a-1 - x/1", "done a-1 - x/1", "try a-2 a-1 x/1"},
			[]string{"a-1"},
			map[string][]string{"a-1": {"a-2"}},
		},
		{"names with blanks, failures, the end", []string{"try a-1 - x y/1", "done a-1 - x y/1", "failed x/2 No space left on device", "end"}, []string{"a-1"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, instead := drills.Demanded(tt.lines...)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if len(tt.instead) != len(instead) || len(instead) > 0 && !cmp.Equal(tt.instead, instead) {
				t.Errorf("instead of them: got %v, want %v", instead, tt.instead)
			}
		})
	}
}

func TestIsFor(t *testing.T) {
	tests := []struct {
		name, want string
		is         bool
	}{
		{"d/1", "d/1", true},
		{"d/1 (conflict_on_2026-03-01)", "d/1", true},
		{"d/1 (conflict #1_on_2026-03-01_was_deleted).odt", "d/1.odt", true},
		{"d (conflict_on_2026-03-01)/1", "d/1", true},
		{"d/12", "d/1", false},
		{"d/12 (conflict_on_2026-03-01)", "d/1", false},
		{"e/1", "d/1", false},
		{"1", "d/1", false},
	}
	for _, tt := range tests {
		if got := drills.IsFor(tt.name, tt.want); got != tt.is {
			t.Errorf("%q is for %q: %v", tt.name, tt.want, got)
		}
	}
}

// TestApplication has the application say truly what it has done.
func TestApplication(t *testing.T) {
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	run := func(dir string, args ...string) []string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "perl", append([]string{"-e", drills.Application()}, args...)...)
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	there := func(dir string) (ids []string) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, "d", "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(text), "\n")
			ids = append(ids, strings.TrimPrefix(first, "version "))
		}
		slices.Sort(ids)
		return ids
	}

	dir := t.TempDir()
	lines := run(dir, "make", "d", "one", "count=150", "sync=0")
	if last := lines[len(lines)-1]; last != "end" {
		t.Errorf("it ends with %q", last)
	}
	lines = append(lines, run(dir, "remove", "d", "two", "from=20", "count=10")...)
	if err := os.WriteFile(filepath.Join(dir, "d", "0", "19"), []byte("version other-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lines = append(lines, run(dir, "remove", "d", "three", "from=19", "count=1")...)
	want, _ := drills.Demanded(lines...)
	// What the file that was written by hand had held before is known to have been there, and by nobody to be replaced.
	want = slices.DeleteFunc(want, func(id string) bool { return id == "one-20" })
	if diff := cmp.Diff(want, there(dir)); diff != "" || len(want) != 139 {
		t.Errorf("%d versions:\n%s", len(want), diff)
	}
	if !slices.Contains(lines, fmt.Sprintf("gone other-1 d/%d/19", 0)) {
		t.Error("it does not say what it has removed")
	}
}
