package install_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/install"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestUnitGolden(t *testing.T) {
	const golden = "testdata/atolld.service"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, install.Unit(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(install.Unit())); diff != "" {
		t.Errorf("the unit changed; every running agent will be restarted by it (-want +got):\n%s", diff)
	}
}

// TestUnitVerify lets systemd itself judge the unit, as installed below a root of its own.
func TestUnitVerify(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("NOT TESTED: systemd-analyze is not installed")
	}
	path := filepath.Join(t.TempDir(), install.UnitName)
	// The program is not installed on the machine that runs the test.
	unit := strings.ReplaceAll(string(install.Unit()), install.BinaryPath, "/bin/true")
	if err := os.WriteFile(path, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--recursive-errors=no", path).CombinedOutput()
	if err != nil || strings.Contains(string(out), install.UnitName) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// installed returns the paths below root with their modes and link targets.
func installed(t *testing.T, root string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if target, err := os.Readlink(path); err == nil {
			got[rel] = "-> " + target
			return nil
		}
		if !info.IsDir() {
			got[rel] = info.Mode().String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestInstallIntoAnImage(t *testing.T) {
	root := t.TempDir()
	binary := filepath.Join(t.TempDir(), "atolld")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(binary, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// No system is needed: an image has no running services.
	run := func() []string {
		t.Helper()
		r, err := install.Install(t.Context(), nil, install.Options{Root: root, Binary: binary})
		if err != nil {
			t.Fatal(err)
		}
		return r.Changed
	}
	write("one")
	if got := run(); len(got) != 3 {
		t.Errorf("first run: changed %v, want program, unit and link", got)
	}
	want := map[string]string{
		"usr/local/bin/atolld":                                   "-rwxr-xr-x",
		"etc/systemd/system/atolld.service":                      "-rw-r--r--",
		"etc/systemd/system/sysinit.target.wants/atolld.service": "-> /etc/systemd/system/atolld.service",
	}
	if diff := cmp.Diff(want, installed(t, root)); diff != "" {
		t.Errorf("installed (-want +got):\n%s", diff)
	}
	if info, err := os.Stat(filepath.Join(root, "var/lib/atoll")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("state directory: %v %v, want mode 0700", info, err)
	}
	if got := run(); len(got) != 0 {
		t.Errorf("second run: changed %v, want nothing", got)
	}
	write("two")
	if diff := cmp.Diff([]string{install.BinaryPath}, run()); diff != "" {
		t.Errorf("new program (-want +got):\n%s", diff)
	}
	r, err := install.Uninstall(t.Context(), nil, root)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Changed) != 3 {
		t.Errorf("uninstall: changed %v, want all three", r.Changed)
	}
	if got := installed(t, root); len(got) != 0 {
		t.Errorf("left over: %v", got)
	}
	if _, err := install.Uninstall(t.Context(), nil, root); err != nil {
		t.Errorf("second uninstall: %v", err)
	}
}

func TestStartNeedsARunningSystem(t *testing.T) {
	_, err := install.Install(t.Context(), nil, install.Options{Root: t.TempDir(), Binary: os.Args[0], Start: true})
	if err == nil {
		t.Error("starting a service in an image gave no error")
	}
}

// TestUnitExposure holds the unit to what systemd itself thinks of its hardening: 0 is the best and 10 the worst.
// TestRunsAnother replaces a program while it runs, as adoption does.
func TestRunsAnother(t *testing.T) {
	if _, err := os.Stat("/proc/self/exe"); err != nil {
		t.Skipf("THIS SYSTEM DOES NOT SAY WHAT A PROCESS RUNS: %v", err)
	}
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(cat)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cat")
	if err := os.WriteFile(path, program, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path)
	// It runs as long as it can be told more.
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if install.RunsAnother(cmd.Process.Pid, path) {
		t.Error("a process that runs the file is said to run another")
	}
	if err := os.WriteFile(path+".new", program, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if !install.RunsAnother(cmd.Process.Pid, path) {
		t.Error("a process that runs the file that was there before is said to run the new one")
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if install.RunsAnother(cmd.Process.Pid, path) {
		t.Error("a process that has ended is said to run something")
	}
}

func TestUnitExposure(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("NOT TESTED: systemd-analyze is not installed")
	}
	path := filepath.Join(t.TempDir(), install.UnitName)
	unit := strings.ReplaceAll(string(install.Unit()), install.BinaryPath, "/bin/true")
	if err := os.WriteFile(path, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	const threshold = "30" // tenths: 3.0
	out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--no-pager", "--threshold="+threshold, path).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
	text := string(out)
	if at := strings.Index(text, "Overall exposure level"); at < 0 {
		t.Errorf("systemd-analyze printed no exposure:\n%s", text)
	} else {
		t.Log(strings.TrimSpace(text[at:]))
	}
}
