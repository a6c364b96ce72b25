package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/smallfiles"
)

func TestBenchFiles(t *testing.T) {
	o := newOperator(t)
	args := []string{"bench", "files", "new", "--against", t.TempDir(), "--files", "120", "--size", "1024", "--rounds", "1", "--warm", "--read-limit", "1e9", "--write-limit", "1e9"}
	r := o.must(t, args...)
	for _, want := range []string{"120 files, 0.1 MB, 1 at once", "warm reads", "Phase", "write ", "read ", "list ", "remove ", "\nPASS\n"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
	for _, want := range []string{"round 1 of 1: writing 120 files in ", "reading", "listing", "removing"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("no %q in\n%s", want, r.stderr)
		}
	}
	if _, err := os.Stat("new"); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}

	r = o.must(t, append(args, "--json")...)
	var result smallfiles.Result
	if err := json.Unmarshal([]byte(r.stdout), &result); err != nil {
		t.Fatalf("%v\n%s", err, r.stdout)
	}
	if !result.Pass || result.Path.Path != filepath.Join(o.dir, "new") || len(result.Figures) != 4 || result.Caches != smallfiles.Warm {
		t.Errorf("%+v", result)
	}
}

// TestBenchFilesFails wants exit code 1 of a path that is too slow, and 2 of one that cannot be measured.
func TestBenchFilesFails(t *testing.T) {
	o := newOperator(t)
	// Each round on each side takes longer than the other's at times: with a limit next to nothing one of many fails soon.
	failed := false
	for try := 0; try < 50 && !failed; try++ {
		r := o.run(t, "bench", "files", "new", "--against", o.dir, "--files", "20", "--rounds", "1", "--warm", "--read-limit", "0.0001", "--write-limit", "0.0001")
		failed = r.code == cli.Degraded
		if failed != strings.Contains(r.stdout, "\nFAIL") || !failed && r.code != cli.Healthy {
			t.Fatalf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
		}
	}
	if !failed {
		t.Error("a path is never slower than the one beside it")
	}
	write(t, "file", "")
	for _, args := range [][]string{{"file"}, {"."}, {"new", "--files", "0x"}, {"new", "--rounds", "-1"}, {}, {"no/new"}} {
		if r := o.run(t, append([]string{"bench", "files"}, args...)...); r.code != cli.Failed || !strings.HasPrefix(r.stderr, "Error: ") {
			t.Errorf("%q: exit code %d: %s", args, r.code, r.stderr)
		}
	}
}
