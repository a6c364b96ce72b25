//go:build linux

package packertest_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
)

// imageBuild is a build into a folder in which an image is already.
type imageBuild struct{ root, output string }

// inTerminal is what Ctrl-C does: the signal gets to everything of the step that has not left for a group of its own.
func inTerminal(pid int) error { return syscall.Kill(-pid, syscall.SIGINT) }

// bySupervisor is what a supervisor does that knows one process only.
func bySupervisor(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) }

// TestInterruptedImageBuildLeavesNothing interrupts internal/tools/image, which is `make image`. The next build works.
func TestInterruptedImageBuildLeavesNothing(t *testing.T) {
	require(t)
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	b := imageBuild{root: root, output: filepath.Join(t.TempDir(), "images")}
	if err := os.Mkdir(b.output, 0o700); err != nil {
		t.Fatal(err)
	}
	const earlier = "atoll-node-0-amd64.manifest.json"
	if err := os.WriteFile(filepath.Join(b.output, earlier), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(earlier, b.current()); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(root, "internal", "tools", "image")
	for _, when := range []struct {
		name, said  string
		tell        func(pid int) error
		environment []string
	}{
		// No base disk is from that day.
		{"by a supervisor, as the base disk is made", "installing Debian", bySupervisor, []string{"SOURCE_DATE_EPOCH=1"}},
		{"in a terminal, as the machine boots", "Waiting for SSH", inTerminal, nil},
		{"by a supervisor, inside the machine", "==> scripts/20-packages.sh", bySupervisor, nil},
	} {
		t.Run(when.name, func(t *testing.T) {
			b.interrupt(t, b.start(t, program, when.environment...), when.said, when.tell)
			base := filepath.Join(root, ".build", "images", "base")
			if left, err := filepath.Glob(filepath.Join(base, "*.new")); err != nil || len(left) > 0 {
				t.Errorf("the base disk has left %v, %v", left, err)
			}
			if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || bytes.Contains(mounts, []byte(base)) {
				t.Errorf("something is mounted still: %v\n%s", err, mounts)
			}
		})
	}
	if !t.Run("the next one works", func(t *testing.T) { b.complete(t, program) }) {
		return
	}
	t.Run("in a terminal, while files are compressed", b.finish)
}

// files are the names in the folder, hidden ones too, with what links lead to.
func (b imageBuild) files(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(b.output)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		name := e.Name()
		if target, err := os.Readlink(filepath.Join(b.output, name)); err == nil {
			name += " -> " + target
		}
		names = append(names, name)
	}
	return names
}

// step is a part of a build at work, in a process group of its own.
type step struct {
	pid   int
	said  <-chan string // lines; closed when it says nothing more
	ended <-chan error
}

func (b imageBuild) start(t *testing.T, name string, environment ...string) step {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name)
	cmd.Dir = b.root
	cmd.Env = append(append(os.Environ(), "OUTPUT="+b.output, "VERSION="+version), environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = write, write
	err = cmd.Start()
	if err = errors.Join(err, write.Close()); err != nil {
		t.Fatal(err)
	}
	said, ended := make(chan string, 10_000), make(chan error, 1)
	go func() {
		defer close(said)
		for lines := bufio.NewScanner(read); lines.Scan(); {
			said <- lines.Text()
		}
	}()
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = read.Close() })
	return step{cmd.Process.Pid, said, ended}
}

// stages of a build may take this long each.
const patience = 15 * time.Minute

// await reads what a step says until it says something, or to its end for "".
func (s step) await(t *testing.T, want string) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case line, more := <-s.said:
			if !more {
				if want != "" {
					t.Fatalf("it ended and never said %q", want)
				}
				return
			}
			t.Log(line)
			if want != "" && strings.Contains(line, want) {
				return
			}
		case <-late:
			t.Fatalf("it has not said %q", want)
		}
	}
}

// lingering is how long what was told to end may take: Packer stops its machine first.
const lingering = 2 * time.Minute

// interrupt tells a step to end as soon as it has said something, and demands that it fails, that no process of it is left and
// that the folder is as it was.
func (b imageBuild) interrupt(t *testing.T, s step, said string, tell func(pid int) error) {
	t.Helper()
	before := b.files(t)
	s.await(t, said)
	from := time.Now()
	if err := tell(s.pid); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-s.ended:
		if err == nil {
			t.Error("it succeeded after it was told to end")
		}
	case <-time.After(lingering):
		t.Fatalf("it goes on, %v after it was told to end", lingering)
	}
	t.Logf("it ended %.1f s after it was told to; its last words:", time.Since(from).Seconds())
	s.await(t, "") // whoever could still say something is gone
	await.NoError(t, "no process of the build is left", 10*time.Second, func(context.Context) error { return b.alone() })
	if diff := cmp.Diff(before, b.files(t)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
}

// alone fails for processes that have the folder on their command line, as QEMU, Packer and compressors do.
func (b imageBuild) alone() error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err != nil || pid == os.Getpid() {
			continue
		}
		argv, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		if err != nil {
			return err
		}
		if bytes.Contains(argv, []byte(b.output)) {
			return fmt.Errorf("process %s: %s", e.Name(), bytes.ReplaceAll(argv, []byte{0}, []byte{' '}))
		}
	}
	return nil
}

// complete builds the image to its end.
func (b imageBuild) complete(t *testing.T, program string) {
	s := b.start(t, program)
	s.await(t, "")
	if err := <-s.ended; err != nil {
		t.Fatal(err)
	}
	m, dir, err := nodeimage.Read(b.current())
	if err == nil {
		err = m.Verify(t.Context(), dir)
	}
	if err != nil || m.Version != version {
		t.Errorf("the newest image has the version %s, want %s: %v", m.Version, version, err)
	}
	if err := b.alone(); err != nil {
		t.Error(err)
	}
}

func (b imageBuild) current() string { return filepath.Join(b.output, "current.manifest.json") }

// finish interrupts the last step of another build, as Packer runs it, with the disk of the one before.
func (b imageBuild) finish(t *testing.T) {
	m, _, err := nodeimage.Read(b.current())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	disk, bom := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "sbom.cdx.json")
	if err := command(t.Context(), "qemu-img", "convert", "-O", "raw", filepath.Join(b.output, m.Files[nodeimage.KindQCOW2].Name), disk); err != nil {
		t.Fatal(err)
	}
	if err := command(t.Context(), "cp", filepath.Join(b.output, m.Files[nodeimage.KindSBOM].Name), bom); err != nil {
		t.Fatal(err)
	}
	s := b.start(t, filepath.Join(b.root, "images", "qemu", "finish.sh"),
		"ATOLL_DISK="+disk, "ATOLL_SBOM="+bom, "ATOLL_NAME=atoll-node-another-amd64", "ATOLL_OUTPUT="+b.output, "ATOLL_COMPRESSION=3")
	b.interrupt(t, s, "compressing", inTerminal)
}
