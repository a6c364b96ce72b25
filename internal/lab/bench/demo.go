package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// cacheVariable is the environment variable that says where the lab keeps the root file systems it has built.
const cacheVariable = "ATOLL_CACHE"

// benchDemo measures `make demo`: with nothing cached but Go's modules and builds, again while it runs, and after
// `make demo-down`. It refuses to touch a demo that runs.
func benchDemo(ctx context.Context, out io.Writer) error {
	if exec.CommandContext(ctx, filepath.Join(".build", "bin", "atoll-lab"), "list").Run() == nil {
		return errors.New("the demo runs: end it with make demo-down first")
	}
	cache, err := os.MkdirTemp("/var/cache", "atoll-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(cache) }()
	var rows [][]string
	for _, step := range []struct{ what, target, says string }{
		{"cold: the nodes' root file system is built from Debian's packages", "demo", "The cluster is up."},
		{"again while it runs: nothing to do", "demo", "No changes."},
		{"make demo-down", "demo-down", ""},
		{"warm", "demo", "The cluster is up."},
		{"make demo-down", "demo-down", ""},
	} {
		run := exec.CommandContext(ctx, "make", step.target)
		run.Env = append(os.Environ(), cacheVariable+"="+cache)
		from := time.Now()
		text, err := run.CombinedOutput()
		if err != nil {
			return fmt.Errorf("make %s: %w\n%s", step.target, err, text)
		}
		if !bytes.Contains(text, []byte(step.says)) {
			return fmt.Errorf("make %s did not say %q:\n%s", step.target, step.says, text)
		}
		rows = append(rows, []string{step.what, seconds(time.Since(from))})
	}
	printTable(out, []string{"make demo", "took"}, rows)
	return nil
}
