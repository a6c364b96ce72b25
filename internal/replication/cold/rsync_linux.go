package cold

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// attributes are what every run of rsync keeps: everything but devices. What has to be on the disk is synced afterwards.
var attributes = []string{"-rlptgo", "--specials", "--hard-links", "--acls", "--xattrs", "--sparse", "--numeric-ids", "--one-file-system", "--quiet"}

// byNanosecond has two files of one length and one second be different ones. It goes with no run that asks for the newer one of two (--update):
// that would take one that is newer by less than two seconds for the older.
const byNanosecond = "--modify-window=-1"

// maxComplaint is how much is kept of what rsync says, in bytes.
const maxComplaint = 2 << 10

// What rsync(1) says by its exit code of what was not done and is tried again.
const (
	exitPartial  = 23
	exitVanished = 24
)

// exitsBroken are its codes for a stream that has ended, or says nothing any more.
var exitsBroken = []int{10, 12, 30, 35}

// rsyncError is how a run of rsync has failed.
type rsyncError struct {
	code int
	said string
}

// Error returns the program's words.
func (e *rsyncError) Error() string { return fmt.Sprintf("rsync: exit %d: %s", e.code, e.said) }

// rsync runs rsync until it or ctx ends.
func (m *Mover) rsync(ctx context.Context, env []string, args ...string) error {
	program, err := exec.LookPath("rsync")
	if err != nil {
		return Problem("rsync is not installed on this node: install the Debian package rsync")
	}
	cmd := exec.CommandContext(ctx, program, append(append([]string{}, attributes...), args...)...)
	cmd.Env = append([]string{"LC_ALL=C", "PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + m.cfg.RunDir}, env...)
	cmd.Dir = "/"
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	m.alone(cmd)
	err = runs(cmd)
	if err == nil || ctx.Err() != nil {
		return errors.Join(ctx.Err())
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("run rsync: %w", err)
	}
	text := said.Bytes()
	return &rsyncError{code: exit.ExitCode(), said: strings.Join(strings.Fields(string(text[:min(len(text), maxComplaint)])), " ")}
}

// runs runs a command that ends when this process does, however that ends.
func runs(cmd *exec.Cmd) error {
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	done := make(chan error, 1)
	go func() {
		// The death that Pdeathsig looks at is that of the thread which started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- cmd.Run()
	}()
	return <-done
}

// alone has a command be a process group that ends as a whole. It holds the lock for as long as any of its processes lives.
func (m *Mover) alone(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if m.lock != nil {
		cmd.ExtraFiles = []*os.File{m.lock}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
}

// problem says what follows from how rsync failed for a directory.
func problem(dir string, err error) error {
	var failed *rsyncError
	if !errors.As(err, &failed) {
		return err
	}
	if failed.code == exitVanished {
		return busy(dir, "files went away while they were copied")
	}
	return Problem(fmt.Sprintf("directory %q is not moved: %s", dir, failed.said))
}

// mirror makes a copy of a directory that is like it in everything.
func (m *Mover) mirror(ctx context.Context, from, to string) error {
	again := exists(to)
	if err := mkdir(to, 0o700); err != nil {
		return Problem(fmt.Sprintf("the cold root cannot be written to: %v", err))
	}
	args := []string{"--delete", byNanosecond}
	if again {
		// A file that was being copied when the power failed may have its length and date, and not its contents.
		args = append(args, "--checksum")
	}
	return problem(from, m.rsync(ctx, nil, append(args, from+"/", to+"/")...))
}

// merge brings everything that is in a directory into its place in the root. Of two versions the newer gets the name, the other is kept.
func (m *Mover) merge(ctx context.Context, from, dir string) error {
	place, kept := m.cfg.cold(dir), m.freshKept()
	if err := m.makeParents(dir); err != nil {
		return err
	}
	if err := m.do("make place", func() error { return mkdir(place, 0o700) }); err != nil {
		return err
	}
	// Files are compared by their contents: whoever writes late may set dates as well.
	err := m.do("merge newer", func() error {
		return m.rsync(ctx, nil, "--checksum", "--update", "--backup", "--backup-dir="+filepath.Join(m.cfg.Root, kept, dir), from+"/", place+"/")
	})
	if err != nil {
		return problem(dir, err)
	}
	older := filepath.Join(m.cfg.Root, kept+"-older", dir)
	err = m.do("merge older", func() error {
		if err := os.MkdirAll(older, 0o755); err != nil {
			return err
		}
		return m.rsync(ctx, nil, "--checksum", "--prune-empty-dirs", "--compare-dest="+place+"/", from+"/", older+"/")
	})
	if err != nil {
		return problem(dir, err)
	}
	pruneEmpty(filepath.Join(m.cfg.Root, kept+"-older"))
	pruneEmpty(filepath.Join(m.cfg.Root, kept))
	return m.do("sync merged", func() error { return syncFileSystem(m.cfg.Root) })
}

// freshKept returns a path from the root for versions that one run keeps.
func (m *Mover) freshKept() string {
	base := filepath.Join(keptDir, m.now().UTC().Format("2006-01-02T150405Z")+"-"+m.cfg.Node)
	name := base
	for n := 2; exists(m.cfg.cold(name)) || exists(m.cfg.cold(name+"-older")); n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}

// pruneEmpty removes the empty directories below a directory and itself, as far as it may.
func pruneEmpty(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			pruneEmpty(filepath.Join(dir, e.Name()))
		}
	}
	_ = os.Remove(dir) // it is not empty
}
