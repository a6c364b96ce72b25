//go:build linux

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// programs are those of this source tree, and the same with a clock that can be wrong.
type programs struct{ shipped, wrong *rig.Programs }

// build builds the programs once for all tests, and all of them before the first lab: compilers take every processor for a minute,
// which would be missing to a test that says how many seconds something may take.
var build = sync.OnceValues(func() (programs, error) {
	var p programs
	dir, err := os.MkdirTemp("", "atoll-e2e-")
	if err != nil {
		return p, fmt.Errorf("build the programs: %w", err)
	}
	buildDir = dir
	ctx := context.Background()
	if p.shipped, err = rig.Build(ctx, filepath.Join(dir, "bin")); err != nil {
		return p, err
	}
	p.wrong, err = buildWrong(ctx, filepath.Join(dir, "wrong"), p.shipped.Source)
	return p, err
})

// buildDir is what TestMain removes.
var buildDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if buildDir != "" {
		_ = os.RemoveAll(buildDir) // a temporary directory, whoever cleans those up will find it
	}
	os.Exit(code)
}
