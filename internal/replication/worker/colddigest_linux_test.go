package worker_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// Nobody tells what changes in a cold root: each digest looks at all of it, what a pair excludes from its tree included.
func TestDigestOfAColdRoot(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	cfg := worker.Config{Pair: "uploads", Path: t.TempDir(), StateDir: t.TempDir(), Exclude: []string{"*.tmp"}, Cold: &worker.Cold{Root: root}}
	d := worker.NewColdDigests(t.Context(), cfg)
	if err := d.Begin(cfg, keeping{}); err != nil {
		t.Fatal(err)
	}
	var problem worker.Problem
	if result, err := d.Ask(t.Context(), digest.Request{ID: "1", Part: digest.Cold}); !errors.As(err, &problem) {
		t.Errorf("a root that was never used: %+v, %v", result, err)
	}
	write(cold.Dir+"/pair", "uploads")
	write(cold.Dir+"/kept/old", "x")
	for i, name := range []string{"2020/01/02/a", "2020/01/02/b.tmp", "2020/01/03/c"} {
		write(name, "1234")
		result, err := d.Ask(t.Context(), digest.Request{ID: name, Part: digest.Cold})
		if err != nil || result.Snapshot == nil || result.Snapshot.Totals.Files != int64(i+1) {
			t.Fatalf("with %d files: %+v, %v", i+1, result.Snapshot, err)
		}
	}
	write(cold.Dir+"/pair", "photos")
	if result, err := d.Ask(t.Context(), digest.Request{ID: "2", Part: digest.Cold}); !errors.As(err, &problem) {
		t.Errorf("the root of another pair: %+v, %v", result, err)
	}
}
