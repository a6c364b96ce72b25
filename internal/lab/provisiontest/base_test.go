//go:build linux

package provisiontest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBaseCanBeRepeated makes the base disk twice from the same packages: bit for bit it is the same.
func TestBaseCanBeRepeated(t *testing.T) {
	require(t)
	var sums []string
	for range 2 {
		dir := t.TempDir()
		build := exec.CommandContext(t.Context(), filepath.Join("..", "..", "..", "images", "base", "build.sh"))
		build.Env = append(os.Environ(), "ATOLL_OUTPUT="+dir, "ATOLL_MIRROR="+os.Getenv("ATOLL_DEBIAN_MIRROR"), "ATOLL_VALID_UNTIL=no")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, last(string(out)))
		}
		sum, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, string(sum))
	}
	if diff := cmp.Diff(sums[0], sums[1]); diff != "" {
		t.Errorf("the second disk differs from the first:\n%s", diff)
	}
}
