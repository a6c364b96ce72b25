package host_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

func TestWriteFile(t *testing.T) {
	root := t.TempDir()
	sys := host.Within(root)
	steps := []struct {
		name    string
		data    string
		mode    fs.FileMode
		changed bool
	}{
		{"new, with its directories", "one", 0o600, true},
		{"the same", "one", 0o600, false},
		{"other content", "two", 0o600, true},
		{"other mode", "two", 0o644, true},
		{"the same again", "two", 0o644, false},
		{"more than the umask leaves", "two", 0o666, true},
	}
	for _, step := range steps {
		changed, err := sys.WriteFile("/etc/a/b", []byte(step.data), step.mode)
		if err != nil || changed != step.changed {
			t.Errorf("%s: changed %t, error %v; want changed %t", step.name, changed, err, step.changed)
		}
		data, err := sys.ReadFile("/etc/a/b")
		if err != nil || string(data) != step.data {
			t.Errorf("%s: read %q, %v", step.name, data, err)
		}
		info, err := os.Stat(filepath.Join(root, "etc/a/b"))
		if err != nil || info.Mode().Perm() != step.mode {
			t.Errorf("%s: mode %v, %v; want %v", step.name, info.Mode(), err, step.mode)
		}
	}
	names, err := sys.ReadDir("/etc/a")
	if diff := cmp.Diff([]string{"b"}, names); err != nil || diff != "" {
		t.Errorf("left in the directory: %v (-want +got):\n%s", err, diff)
	}
}

func TestWriteFileReplacesLink(t *testing.T) {
	root := t.TempDir()
	sys := host.Within(root)
	if err := os.WriteFile(filepath.Join(root, "elsewhere"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("elsewhere", filepath.Join(root, "file")); err != nil {
		t.Fatal(err)
	}
	if _, err := sys.WriteFile("/file", []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	kept, err := sys.ReadFile("/elsewhere")
	if err != nil || string(kept) != "precious" {
		t.Errorf("what the link pointed to is %q, %v", kept, err)
	}
	info, err := os.Lstat(filepath.Join(root, "file"))
	if err != nil || !info.Mode().IsRegular() {
		t.Errorf("got %v, %v; want a regular file", info, err)
	}
}

func TestRemove(t *testing.T) {
	sys := host.Within(t.TempDir())
	for _, name := range []string{"/d/one", "/d/deeper/two"} {
		if _, err := sys.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []bool{true, false} {
		if removed, err := sys.Remove("/d"); err != nil || removed != want {
			t.Errorf("removed %t, %v; want %t", removed, err, want)
		}
	}
	if _, err := sys.ReadDir("/d"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func TestRun(t *testing.T) {
	sys := host.Real()
	out, err := sys.Run(t.Context(), host.Command{
		Name: "sh", Args: []string{"-c", `cat; echo "$WORD $LC_ALL"; echo said >&2`}, Stdin: []byte("in "), Env: []string{"WORD=out"},
	})
	if err != nil || string(out.Stdout) != "in out C\n" || string(out.Stderr) != "said\n" {
		t.Errorf("got %q, %q, %v", out.Stdout, out.Stderr, err)
	}
}

func TestRunFailures(t *testing.T) {
	long := strings.Repeat("x", 5000)
	tests := []struct {
		name     string
		command  host.Command
		exitCode int
		output   string
	}{
		{"status", host.Command{Name: "sh", Args: []string{"-c", "echo out; echo wrong >&2; exit 3"}}, 3, "wrong"},
		{"only standard output", host.Command{Name: "sh", Args: []string{"-c", "echo out; exit 4"}}, 4, "out"},
		{"long output keeps its end", host.Command{Name: "sh", Args: []string{"-c", "echo " + long + "end; exit 1"}}, 1, "…" + strings.Repeat("x", 597) + "end"},
		{"not there", host.Command{Name: "atoll-no-such-program"}, -1, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := host.Real().Run(t.Context(), tt.command)
			var failed *host.CommandError
			if !errors.As(err, &failed) {
				t.Fatalf("got %v, want a CommandError", err)
			}
			if failed.ExitCode != tt.exitCode || failed.Output != tt.output {
				t.Errorf("got %d, %q; want %d, %q", failed.ExitCode, failed.Output, tt.exitCode, tt.output)
			}
			if !strings.Contains(err.Error(), tt.command.Name) || !strings.Contains(err.Error(), tt.output) {
				t.Errorf("the error %q misses the command or its output", err)
			}
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	// The grandchild keeps the output open longer than the command lives.
	_, err := host.Real().Run(ctx, host.Command{Name: "sh", Args: []string{"-c", "sleep 20 & wait"}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
}

func TestWithinPutsWordsBefore(t *testing.T) {
	out, err := host.Within("/", "env", "WORD=inside").Run(t.Context(), host.Command{Name: "sh", Args: []string{"-c", "echo $WORD"}})
	if err != nil || string(out.Stdout) != "inside\n" {
		t.Errorf("got %q, %v", out.Stdout, err)
	}
}
