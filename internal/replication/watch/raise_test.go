//go:build linux

package watch_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

func TestRaise(t *testing.T) {
	t.Parallel()
	for has, want := range map[string]string{"8192\n": "1048576", "1048576\n": "1048576\n", "4194304\n": "4194304\n"} {
		file := filepath.Join(t.TempDir(), "max_user_watches")
		if err := os.WriteFile(file, []byte(has), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := watch.RaiseIn(file); err != nil {
			t.Error(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("of %q: got %q, %v, want %q", has, got, err, want)
		}
	}
	if err := watch.RaiseIn(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a limit that is not there is raised")
	}
}
