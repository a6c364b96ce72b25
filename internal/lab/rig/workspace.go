package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Command makes a command that runs where the operator is, such as inside a network namespace.
type Command func(ctx context.Context, name string, args ...string) *exec.Cmd

// Workspace is a folder with a configuration, its state, and the program that works on it. Nothing outside the folder is
// read or written, except for the providers in the mirror.
type Workspace struct {
	// Dir holds the configuration and terraform.tfstate.
	Dir string
	// Engine is the path of terraform or tofu.
	Engine string
	// Env is added to the environment of every command.
	Env []string
	// Log takes everything that the engine prints; nil drops it.
	Log io.Writer

	command Command
	cli     string
}

// NewWorkspace makes a workspace in dir, which must exist. A nil command runs the engine in this process's surroundings.
func NewWorkspace(p *Programs, engine, dir string, command Command) (*Workspace, error) {
	if command == nil {
		command = exec.CommandContext
	}
	w := &Workspace{Dir: dir, Engine: engine, command: command, cli: filepath.Join(dir, "cli.tfrc")}
	config := fmt.Sprintf("disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", p.Mirror)
	if err := os.WriteFile(w.cli, []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("workspace: %w", err)
	}
	return w, nil
}

// CopyStack copies the configuration files of a stack, unchanged, into the workspace.
func (w *Workspace) CopyStack(from string) error {
	if err := os.CopyFS(w.Dir, os.DirFS(from)); err != nil {
		return fmt.Errorf("copy stack %s: %w", from, err)
	}
	return nil
}

// Write writes a file of the workspace.
func (w *Workspace) Write(name, text string) error {
	return os.WriteFile(filepath.Join(w.Dir, name), []byte(text), 0o600)
}

// Remove removes a file of the workspace.
func (w *Workspace) Remove(name string) error { return os.Remove(filepath.Join(w.Dir, name)) }

// Path returns the path of a file of the workspace.
func (w *Workspace) Path(name string) string { return filepath.Join(w.Dir, name) }

// Result is what one command of the engine did.
type Result struct {
	// Output is standard output and standard error, in the order of printing.
	Output string
	// Stdout is standard output alone.
	Stdout string
	// Code is the exit code.
	Code int
	// Took is the wall time.
	Took time.Duration
}

// Failure is an engine command that ended with another code than 0.
type Failure struct {
	Args   []string
	Result Result
}

// Error tells what was run, and all that it printed.
func (f *Failure) Error() string {
	return fmt.Sprintf("%s: exit code %d after %v\n%s", strings.Join(f.Args, " "), f.Result.Code, f.Result.Took.Round(time.Millisecond), f.Result.Output)
}

// Run runs one command of the engine; an exit code other than 0 is a *Failure.
func (w *Workspace) Run(ctx context.Context, args ...string) (Result, error) {
	return w.RunWith(ctx, nil, args...)
}

// RunWith is Run with more environment.
func (w *Workspace) RunWith(ctx context.Context, env []string, args ...string) (Result, error) {
	cmd := w.Command(ctx, args...)
	cmd.Env = append(cmd.Env, env...)
	var stdout, both bytes.Buffer
	writers := []io.Writer{&both}
	if w.Log != nil {
		writers = append(writers, w.Log)
	}
	shared := &serial{w: io.MultiWriter(writers...)}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&stdout, shared), shared
	from := time.Now()
	err := cmd.Run()
	r := Result{Output: both.String(), Stdout: stdout.String(), Took: time.Since(from), Code: cmd.ProcessState.ExitCode()}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return r, &Failure{Args: append([]string{filepath.Base(w.Engine)}, args...), Result: r}
	}
	return r, err
}

// Command returns a command of the engine that has not been started, with this workspace's environment.
func (w *Workspace) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := w.command(ctx, w.Engine, args...)
	cmd.Dir = w.Dir
	// A cancelled run is interrupted first, as an operator would do, so that it can write its state.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	cmd.Env = append(append(cmd.Environ(),
		"TF_CLI_CONFIG_FILE="+w.cli, "TF_IN_AUTOMATION=1", "TF_INPUT=0", "CHECKPOINT_DISABLE=1",
		"TF_CLI_ARGS_init=-no-color", "TF_CLI_ARGS_plan=-no-color", "TF_CLI_ARGS_apply=-no-color", "TF_CLI_ARGS_destroy=-no-color",
		"TF_CLI_ARGS_show=-no-color",
	), w.Env...)
	return cmd
}

// serial lets standard output and standard error share a writer.
type serial struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *serial) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}
