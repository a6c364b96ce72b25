package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// maxErrorOutput is how much of a failed command's output goes into its error, in bytes.
const maxErrorOutput = 600

// Real returns the machine that this program runs on.
func Real() System { return Within("/") }

// Within returns a machine whose files are seen below root and whose commands are run by putting enter before them, such
// as a container that nsenter enters.
func Within(root string, enter ...string) System {
	s := &realSystem{root: root, enter: slices.Clone(enter)}
	s.bus.off = !s.here()
	return s
}

type realSystem struct {
	root  string
	enter []string
	bus   bus
}

func (s *realSystem) path(path string) string { return filepath.Join(s.root, path) }

func (s *realSystem) Units() Units { return systemd{sys: s, bus: &s.bus} }

// here tells whether commands run on this very machine, so that its kernel and its systemd can be asked without one.
func (s *realSystem) here() bool { return s.root == "/" && len(s.enter) == 0 }

func (s *realSystem) Run(ctx context.Context, c Command) (Output, error) {
	argv := slices.Concat(s.enter, []string{c.Name}, c.Args)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C"), c.Env...)
	if c.Stdin != nil {
		cmd.Stdin = bytes.NewReader(c.Stdin)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// A grandchild that keeps the output open must not hold the agent up once the command itself is gone.
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	out := Output{Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
	if err == nil {
		return out, nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", ctx.Err(), err)
	}
	return out, NewCommandError(c, out, err)
}

// NewCommandError returns the error of a command that failed with err after writing out.
func NewCommandError(c Command, out Output, err error) *CommandError {
	code := -1
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	said := strings.TrimSpace(string(out.Stderr))
	if said == "" {
		said = strings.TrimSpace(string(out.Stdout))
	}
	if len(said) > maxErrorOutput {
		said = "…" + strings.ToValidUTF8(said[len(said)-maxErrorOutput:], "")
	}
	return &CommandError{Command: c.String(), ExitCode: code, Output: said, Err: err}
}

func (s *realSystem) ReadFile(path string) ([]byte, error) { return os.ReadFile(s.path(path)) }

func (s *realSystem) WriteFile(path string, data []byte, mode fs.FileMode) (bool, error) {
	file := s.path(path)
	if info, err := os.Lstat(file); err == nil && info.Mode().IsRegular() && info.Mode().Perm() == mode.Perm() {
		if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, data) {
			return false, nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	if err := replace(file, data, mode); err != nil {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	// The file itself is on the disk; its name is once the directory is.
	if err := syncDirectory(filepath.Dir(file)); err != nil {
		return true, fmt.Errorf("write %s: %w", path, err)
	}
	return true, nil
}

func replace(path string, data []byte, mode fs.FileMode) (err error) {
	f, err := renameio.NewPendingFile(path, renameio.WithStaticPermissions(mode), renameio.WithTempDir(filepath.Dir(path)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Cleanup()) }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace() // with fsync
}

func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (s *realSystem) Remove(path string) (bool, error) {
	file := s.path(path)
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err := os.RemoveAll(file); err != nil {
		return false, fmt.Errorf("remove %s: %w", path, err)
	}
	return true, nil
}

func (s *realSystem) ReadDir(path string) ([]string, error) {
	entries, err := os.ReadDir(s.path(path))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}
