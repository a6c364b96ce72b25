package worker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// copying is an engine that keeps copies of conflicting versions.
type copying struct{ worker.Engine }

func (copying) Conflict(name string) bool { return strings.Contains(name, " (conflict") }

// Of canaries no old version is kept: a loss of power leaves some.
func TestConflictsOfCanaries(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	canary := worker.CanaryDir + "/uploads/sg1"
	for _, dir := range []string{"photos", worker.CanaryDir + "/uploads"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, batch := range map[string]watch.Batch{
		"a look at everything": {All: true},
		"each by itself":       {Changes: []watch.Change{{Path: canary + " (conflict_on_2026-11-21)"}, {Path: "photos/a (conflict_on_2026-11-21).jpg"}}},
		"directories":          {Changes: []watch.Change{{Path: worker.CanaryDir, Recursive: true}, {Path: "photos", Recursive: true}}},
	} {
		for _, file := range []string{canary, canary + " (conflict_on_2026-11-21)", "photos/a.jpg", "photos/a (conflict_on_2026-11-21).jpg"} {
			if err := os.WriteFile(filepath.Join(root, file), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff([]string{"photos/a (conflict_on_2026-11-21).jpg"}, worker.Conflicts(root, copying{}, batch)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		left, err := os.ReadDir(filepath.Join(root, worker.CanaryDir, "uploads"))
		if err != nil || len(left) != 1 || left[0].Name() != "sg1" {
			t.Errorf("%s: left are %v, %v", name, left, err)
		}
	}
}
