//go:build linux

package nodes_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/images"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
)

// tools puts scripts in front of the real tools: what is tested here is the cache, not Debian.
func tools(t *testing.T, mmdebstrap string) (cache string) {
	t.Helper()
	bin := t.TempDir()
	for name, script := range map[string]string{"mmdebstrap": mmdebstrap, "apt-config": "exit 0"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv(nodes.MirrorVariable, "http://mirror.invalid/debian")
	t.Setenv("BUILDS", filepath.Join(bin, "builds"))
	return t.TempDir()
}

// fake makes a tree as mmdebstrap would; its last arguments are suite, target and "-".
const fake = `
echo build >> "$BUILDS"
for a in "$@"; do before=$target; target=$last; last=$a; done
mkdir -p "$target/etc/ssh" "$target/etc/apt/apt.conf.d" "$target/etc/systemd/system" "$target/var"
echo secret > "$target/etc/ssh/ssh_host_ed25519_key"
cat > "$target/etc/apt/sources.list"
echo 'Acquire::http::Proxy "http://user:password@proxy";' > "$target/etc/apt/apt.conf.d/99mmdebstrap"
echo "I: done" >&2
`

func TestEnsureBuildsOnce(t *testing.T) {
	dir := tools(t, fake)
	var group sync.WaitGroup
	roots := make([]string, 4)
	for i := range roots {
		group.Go(func() {
			var err error
			if roots[i], err = (nodes.Cache{Dir: dir}).Ensure(t.Context(), nodes.DefaultImage(), func(string) {}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, r := range roots {
		if r != roots[0] {
			t.Errorf("got roots %v", roots)
		}
	}
	builds, err := os.ReadFile(os.Getenv("BUILDS"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(builds), "build"); got != 1 {
		t.Errorf("it was built %d times, want once", got)
	}
}

func TestEnsureLeavesNothingOfTheBuildMachine(t *testing.T) {
	dir := tools(t, fake)
	root, err := nodes.Cache{Dir: dir}.Ensure(t.Context(), nodes.DefaultImage(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"etc/ssh/ssh_host_ed25519_key", "etc/apt/apt.conf.d/99mmdebstrap"} {
		if _, err := os.Stat(filepath.Join(root, gone)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is in the root file system (%v)", gone, err)
		}
	}
	sources, err := os.ReadFile(filepath.Join(root, "etc/apt/sources.list"))
	if err != nil || strings.Contains(string(sources), "mirror.invalid") {
		t.Errorf("sources.list names the mirror: %q, %v", sources, err)
	}
}

func TestEnsureAfterAFailureOrAKill(t *testing.T) {
	dir := tools(t, `if [ ! -e "$BUILDS.ok" ]; then touch "$BUILDS.ok"; echo "E: no route to mirror" >&2; exit 100; fi`+fake)
	cache := nodes.Cache{Dir: dir}
	_, err := cache.Ensure(t.Context(), nodes.DefaultImage(), func(string) {})
	if err == nil || !strings.Contains(err.Error(), "no route to mirror") {
		t.Fatalf("got %v, want what mmdebstrap said", err)
	}
	// A killed build leaves a tree that must not be taken for a finished one.
	half := filepath.Join(dir, "rootfs", nodes.DefaultImage().Key()+".building", "half")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := cache.Ensure(t.Context(), nodes.DefaultImage(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "half")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the remains of a killed build are in the root file system")
	}
}

func TestEnsureInterrupted(t *testing.T) {
	dir := tools(t, `echo "I: downloading" >&2; exec sleep 600`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := nodes.Cache{Dir: dir}.Ensure(ctx, nodes.DefaultImage(), func(line string) {
		if strings.Contains(line, "downloading") {
			cancel()
		}
	})
	if err == nil {
		t.Fatal("an interrupted build succeeded")
	}
	left, err := filepath.Glob(filepath.Join(dir, "rootfs", "*.building"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestRootIsSealed builds the real root file system, or takes the one that the lab's other tests use, and has the image's own
// check look at it: what Packer may not ship, no two nodes of the lab may share either.
func TestRootIsSealed(t *testing.T) {
	if err := nodes.Check(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	root, err := nodes.Cache{}.Ensure(t.Context(), nodes.DefaultImage(), func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	script, err := fs.ReadFile(images.Description(), "check.sh")
	if err != nil {
		t.Fatal(err)
	}
	check := exec.CommandContext(t.Context(), "sh", "-s", root)
	check.Stdin = bytes.NewReader(script)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, there := range []string{"usr/sbin/mysqld", "usr/bin/mysql", "usr/bin/mysqlrouter", "usr/sbin/haproxy"} {
		if _, err := os.Stat(filepath.Join(root, there)); err != nil {
			t.Errorf("the root file system lacks what a node of a database needs: %v", err)
		}
	}
	if data, err := os.ReadDir(filepath.Join(root, "var/lib/mysql")); err != nil || len(data) > 0 {
		t.Errorf("all nodes would share %v, %v", data, err)
	}
	if _, err := os.Lstat(filepath.Join(root, "etc/systemd/system/multi-user.target.wants/mysql.service")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Debian's own mysql.service starts on nodes (%v)", err)
	}
	for _, gone := range []string{"usr/share/man/man1", "etc/dpkg/dpkg.cfg.d/99mmdebstrap", "var/tmp/atoll"} {
		if _, err := os.Stat(filepath.Join(root, gone)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is in the root file system (%v)", gone, err)
		}
	}
}
