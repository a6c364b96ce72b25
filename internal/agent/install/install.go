// Package install puts atolld onto a machine as a systemd service, and takes it off again. Image builds, adoption over SSH
// and people all use it, so a node looks the same however the agent came to it.
package install

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// Paths of an installed agent.
const (
	BinaryPath = "/usr/local/bin/atolld"
	UnitName   = "atolld.service"
	UnitPath   = "/etc/systemd/system/" + UnitName
	wantsPath  = "/etc/systemd/system/sysinit.target.wants/" + UnitName
)

//go:embed atolld.service
var unit []byte

// Unit returns the content of the service's unit file.
func Unit() []byte { return bytes.Clone(unit) }

// ErrNoSystemd is returned when a service of this machine is to be started where systemd does not run.
var ErrNoSystemd = errors.New("systemd does not run on this machine: atolld needs it")

// Options say what to install where.
type Options struct {
	// Root is the root directory of the system to install into; "" and "/" are the running machine.
	Root string
	// Binary is the path of the program to install.
	Binary string
	// Start starts the service, also when nothing changed. It only works on the running machine.
	Start bool
}

// Result tells what an installation changed.
type Result struct {
	// Changed are the paths that were made or replaced, in the order in which that happened.
	Changed []string
	// Started tells whether the service was started or restarted.
	Started bool
}

// Install installs the agent. It is idempotent; a running agent is restarted when its program or unit changed, which
// interrupts neither mesh nor services.
func Install(ctx context.Context, sys host.System, o Options) (Result, error) {
	var r Result
	live := running(o.Root)
	if o.Start && !live {
		return r, ErrNoSystemd
	}
	for _, d := range []struct {
		path string
		mode fs.FileMode
	}{{"/etc/atoll", 0o755}, {"/etc/tinc", 0o755}, {"/var/lib/atoll", 0o700}} {
		if err := makeDir(at(o.Root, d.path), d.mode); err != nil {
			return r, err
		}
	}
	binary, err := copyProgram(o.Binary, at(o.Root, BinaryPath))
	if err != nil {
		return r, err
	}
	r.note(BinaryPath, binary)
	file, err := writeFile(at(o.Root, UnitPath), unit)
	if err != nil {
		return r, err
	}
	r.note(UnitPath, file)
	link, err := ensureLink(at(o.Root, wantsPath), UnitPath)
	if err != nil {
		return r, err
	}
	r.note(wantsPath, link)
	if !live {
		return r, nil
	}
	old, err := outdated(ctx, sys)
	if err != nil {
		return r, err
	}
	return r, r.start(ctx, sys, o.Start, file || link, binary || file || old)
}

// outdated tells whether the service runs another program than the one that is installed. Adoption over SSH puts the program in
// place itself, maybe under an agent that came with the machine's image.
func outdated(ctx context.Context, sys host.System) (bool, error) {
	now, err := sys.Units().Status(ctx, UnitName)
	if err != nil {
		return false, fmt.Errorf("install atolld: %w", err)
	}
	return now.MainPID != 0 && runsAnother(now.MainPID, BinaryPath), nil
}

// runsAnother tells whether a process runs another file than the one at a path. One that has ended does not.
func runsAnother(pid int, path string) bool {
	// It leads to the file even when that has no name any more.
	runs, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && !os.SameFile(runs, there)
}

func (r *Result) note(path string, changed bool) {
	if changed {
		r.Changed = append(r.Changed, path)
	}
}

// start brings the running systemd into line with the files.
func (r *Result) start(ctx context.Context, sys host.System, want, reload, restart bool) error {
	if reload {
		if err := systemctl(ctx, sys, "daemon-reload"); err != nil {
			return err
		}
	}
	switch {
	case want && restart:
		r.Started = true
		return systemctl(ctx, sys, "restart", UnitName)
	case want:
		r.Started = true
		return systemctl(ctx, sys, "start", UnitName)
	case restart:
		return systemctl(ctx, sys, "try-restart", UnitName)
	}
	return nil
}

// Uninstall stops the service and removes unit and program. What the agent knows and made (its state, the mesh) stays.
func Uninstall(ctx context.Context, sys host.System, root string) (Result, error) {
	var r Result
	if _, err := os.Lstat(at(root, UnitPath)); err == nil && running(root) {
		if err := systemctl(ctx, sys, "stop", UnitName); err != nil {
			return r, err
		}
	}
	for _, path := range []string{wantsPath, UnitPath, BinaryPath} {
		err := os.Remove(at(root, path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return r, fmt.Errorf("uninstall atolld: %w", err)
		}
		r.note(path, err == nil)
	}
	if running(root) && len(r.Changed) > 0 {
		return r, systemctl(ctx, sys, "daemon-reload")
	}
	return r, nil
}

// running tells whether root is the running machine and systemd runs there.
func running(root string) bool {
	if filepath.Clean("/"+root) != "/" {
		return false
	}
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

func at(root, path string) string { return filepath.Join("/", root, path) }

func systemctl(ctx context.Context, sys host.System, args ...string) error {
	if _, err := sys.Run(ctx, host.Command{Name: "systemctl", Args: args}); err != nil {
		return fmt.Errorf("install atolld: %w", err)
	}
	return nil
}

func makeDir(path string, mode fs.FileMode) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() && info.Mode().Perm() == mode {
		return nil
	}
	if err := os.MkdirAll(path, mode); err != nil {
		return fmt.Errorf("install atolld: %w", err)
	}
	// MkdirAll obeys the umask and leaves an existing directory as it is.
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("install atolld: %w", err)
	}
	return nil
}

func writeFile(path string, data []byte) (changed bool, err error) {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, fmt.Errorf("install atolld: %w", err)
	}
	if err := renameio.WriteFile(path, data, 0o644, renameio.IgnoreUmask()); err != nil {
		return false, fmt.Errorf("install atolld: %w", err)
	}
	return true, nil
}

func ensureLink(path, target string) (changed bool, err error) {
	if old, err := os.Readlink(path); err == nil && old == target {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, fmt.Errorf("install atolld: %w", err)
	}
	if err := renameio.Symlink(target, path); err != nil {
		return false, fmt.Errorf("install atolld: %w", err)
	}
	return true, nil
}

// copyProgram replaces the file to by the file from, unless they are equal.
func copyProgram(from, to string) (changed bool, err error) {
	want, err := sum(from)
	if err != nil {
		return false, fmt.Errorf("install atolld: %w", err)
	}
	info, err := os.Stat(to)
	if err == nil && info.Mode().Perm() == 0o755 {
		if have, err := sum(to); err == nil && have == want {
			return false, nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return false, fmt.Errorf("install atolld: %w", err)
	}
	in, err := os.Open(from)
	if err != nil {
		return false, fmt.Errorf("install atolld: %w", err)
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := renameio.NewPendingFile(to, renameio.WithPermissions(0o755), renameio.IgnoreUmask())
	if err != nil {
		return false, fmt.Errorf("install atolld: %w", err)
	}
	defer func() { err = errors.Join(err, out.Cleanup()) }()
	if _, err := io.Copy(out, in); err != nil {
		return false, fmt.Errorf("install atolld: copy the program: %w", err)
	}
	if err := out.CloseAtomicallyReplace(); err != nil {
		return false, fmt.Errorf("install atolld: %w", err)
	}
	return true, nil
}

func sum(path string) (s [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return s, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
