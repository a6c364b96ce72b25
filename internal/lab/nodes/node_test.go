//go:build linux

package nodes_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
)

func TestBootOfWhatIsNoSystem(t *testing.T) {
	if err := nodes.Check(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	layer, lab := t.TempDir(), fmt.Sprintf("d%d", os.Getpid())
	if err := os.MkdirAll(filepath.Join(layer, "usr"), 0o755); err != nil { //nolint:gosec // a system's own folder
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "node")
	t.Cleanup(func() {
		if err := nodes.Sweep(context.WithoutCancel(t.Context()), lab, dir); err != nil {
			t.Error(err)
		}
	})
	n, err := nodes.New(nodes.Config{Lab: lab, Name: "broken", Hostname: "broken", Dir: dir, Layers: []string{layer}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ended := make(chan nodes.Exit, 1)
	err = n.Boot(ctx, "/proc/self/ns/net", func(e nodes.Exit) { ended <- e })
	if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "systemd-nspawn ended") {
		t.Errorf("boot: got %v, want what systemd-nspawn says", err)
	}
	<-ended
	if n.On() {
		t.Error("a node that did not boot is on")
	}
	if err := n.Destroy(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the node's folder is left: %v", err)
	}
}

func TestWriteStaysOnTheDisk(t *testing.T) {
	if err := nodes.Check(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	outside, lab := t.TempDir(), fmt.Sprintf("w%d", os.Getpid())
	layer := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(layer, "escape")); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "node")
	n, err := nodes.New(nodes.Config{Lab: lab, Name: "n", Hostname: "n", Dir: dir, Layers: []string{layer}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Destroy(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if err := n.Write("/escape/file", []byte("x"), 0o600); err == nil {
		t.Error("a symbolic link led a write out of the disk")
	}
	if _, err := os.Stat(filepath.Join(outside, "file")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is outside: %v", err)
	}
	if err := n.Write("/etc/made/file", []byte("x"), 0o640); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(n.Root(), "etc/made/file")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file is %v, %v", info, err)
	}
}
