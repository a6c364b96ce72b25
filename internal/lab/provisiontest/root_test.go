//go:build linux

package provisiontest_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/images"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
)

// inside is where the description is in a root file system, as it is when Packer builds an image.
const inside = "/var/tmp/atoll"

// hasty is a file that has dpkg not wait for the disk.
const hasty = "/etc/dpkg/dpkg.cfg.d/test"

// require skips the test, and says so, where it cannot run.
func require(t *testing.T) {
	t.Helper()
	if os.Getenv("ATOLL_E2E") == "" {
		t.Skip("THE PROVISION TESTS DID NOT RUN: set ATOLL_E2E to terraform or tofu (internal/tools/suite image-faults does)")
	}
	if err := nodes.Check(); err != nil {
		t.Skipf("THE PROVISION TESTS DID NOT RUN: %v", err)
	}
}

// root is a root file system that is not a node yet.
type root struct{ dir string }

// newRoot copies the root file system of the lab's nodes, and puts the description and the agent into it.
func newRoot(t *testing.T) root {
	t.Helper()
	image := nodes.DefaultImage()
	image.Unstable = nil // the engines come by the scripts
	cached, err := nodes.Cache{}.Ensure(t.Context(), image, func(doing string) { t.Log(doing) })
	if err != nil {
		t.Fatal(err)
	}
	r := root{filepath.Join(t.TempDir(), "root")}
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", "--reflink=auto", cached, r.dir).CombinedOutput(); err != nil {
		t.Fatalf("copy the root file system: %v\n%s", err, out)
	}
	if err := os.CopyFS(r.path(inside), images.Description()); err != nil {
		t.Fatal(err)
	}
	r.write(t, hasty, "force-unsafe-io\n")
	r.write(t, "/etc/fstab", "LABEL=rootfs / ext4 rw,discard,errors=remount-ro 0 1\n")
	return r
}

// addAgent builds the agent and puts it beside the description.
func (r root) addAgent(t *testing.T) {
	t.Helper()
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", r.path(inside+"/atolld"), "./internal/cmd/atolld")
	build.Dir = filepath.Join("..", "..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the agent: %v\n%s", err, out)
	}
}

func (r root) path(name string) string { return filepath.Join(r.dir, name) }

func (r root) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(r.path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.path(name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (r root) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(r.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// enter runs a command in a root file system with processes and devices of its own: what a package starts ends with it, and no
// disk of this machine can be touched.
const enter = `set -eu
root=$1
shift
mount -t tmpfs -o mode=755,size=64m none "$root/dev"
mknod -m 666 "$root/dev/null" c 1 3
mknod -m 666 "$root/dev/zero" c 1 5
mknod -m 666 "$root/dev/full" c 1 7
mknod -m 666 "$root/dev/random" c 1 8
mknod -m 666 "$root/dev/urandom" c 1 9
ln -s /proc/self/fd "$root/dev/fd"
mkdir -m 1777 "$root/dev/shm"
mount -t proc proc "$root/proc"
exec chroot "$root" "$@"`

// run runs a command in it and returns its standard output.
func (r root) run(t *testing.T, environment []string, argv ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "unshare", append([]string{
		"--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--", "sh", "-c", enter, "sh", r.dir,
	}, argv...)...)
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}, environment...)
	var said bytes.Buffer
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s\n%s", strings.Join(argv, " "), err, last(out.String()), last(said.String()))
	}
	return out.String()
}

// last returns the end of a text.
func last(text string) string { return text[max(0, len(text)-4000):] }

// scripts runs scripts of the description, as a pattern names them.
func (r root) scripts(t *testing.T, environment []string, pattern string) {
	t.Helper()
	for line := range strings.Lines(r.run(t, environment, "sh", "-c", "cd "+inside+" && sh build.sh scripts/"+pattern)) {
		if strings.Contains(line, ": done in") {
			t.Log(strings.TrimSpace(line))
		}
	}
}
