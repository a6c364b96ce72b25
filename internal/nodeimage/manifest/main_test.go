package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
)

// TestCommand makes facts and manifest as the image build does, and finds a damaged file.
func TestCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "manifest")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	run := func(args ...string) (stdout, stderr string, ok bool) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		var out, problems bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &problems
		err := cmd.Run()
		return out.String(), problems.String(), err == nil
	}
	disk, facts := filepath.Join(dir, "n.qcow2"), filepath.Join(dir, "image.json")
	if err := os.WriteFile(disk, []byte("disk"), 0o600); err != nil {
		t.Fatal(err)
	}
	text, problem, ok := run("facts", "--version", "0.1.0", "--packages", "287", "--databases", "mysql, galera", "--built", "1795240800")
	if !ok {
		t.Fatal(problem)
	}
	if f, err := nodeimage.ParseFacts([]byte(text)); err != nil || len(f.Databases) != 2 || f.Built.Unix() != 1795240800 {
		t.Errorf("got %+v, error %v", f, err)
	}
	if err := os.WriteFile(facts, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, problem, ok := run("write", "--facts", facts, "--dir", dir, "--qcow2", "n.qcow2")
	manifest := strings.TrimSpace(out)
	if !ok || filepath.Base(manifest) != "atoll-node-0.1.0-amd64.manifest.json" {
		t.Fatalf("got %q, %s", out, problem)
	}
	if out, problem, ok := run("verify", manifest); !ok || !strings.Contains(out, "1 files are as described") {
		t.Errorf("got %q, %s", out, problem)
	}
	if err := os.WriteFile(disk, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		args []string
		want string
	}{
		{[]string{"verify", manifest}, "its manifest says"},
		{[]string{"write", "--facts", facts, "--dir", dir, "--raw", "gone"}, "no such file"},
		{[]string{"write", "--facts", facts, "--dir", dir, "--qcow2", "../n.qcow2"}, "the name of a file"},
		{[]string{"write", "--dir", dir}, "--facts"},
		{[]string{"facts"}, "version"},
		{[]string{"facts", "--version", "1", "rest"}, "takes 0 argument(s)"},
		{[]string{"facts", "--version", "1", "--built", "soon"}, "soon"},
		{[]string{"sign"}, "facts, write or verify"},
		{nil, "facts, write or verify"},
	} {
		if _, problem, ok := run(bad.args...); ok || !strings.Contains(problem, bad.want) {
			t.Errorf("%q: got ok %v and %q, want it to say %q", bad.args, ok, problem, bad.want)
		}
	}
}
