//go:build linux

package vm_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/vm"
)

// TestSetRootPassword has openssl say whether what is on the disk is the password's hash.
func TestSetRootPassword(t *testing.T) {
	requireVM(t)
	const password, others = "correct horse", "rooty:*:20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\n"
	dir, root := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/shadow"), []byte("root:!*:20000:0:99999:7:::\n"+others), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(root, "etc/shadow"), 0, 42); err != nil {
		t.Fatal(err)
	}
	c := config(dir)
	c.DirectKernel = true
	if out, err := exec.CommandContext(t.Context(), "mke2fs", "-q", "-t", "ext4", "-d", root, c.Image, "16M").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v\n%s", err, out)
	}
	m, err := vm.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.SetRootPassword(t.Context(), password); err != nil {
		t.Fatal(err)
	}
	got, err := vm.ReadFile(t.Context(), m.Disk(), "/etc/shadow")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Split(string(got), ":")
	parts := strings.Split(fields[1], "$")
	if fields[0] != "root" || len(parts) != 4 || !strings.HasSuffix(string(got), ":20000:0:99999:7:::\n"+others) {
		t.Fatalf("the accounts are\n%s", got)
	}
	check := exec.CommandContext(t.Context(), "openssl", "passwd", "-6", "-salt", parts[2], "-stdin")
	check.Stdin = strings.NewReader(password)
	if want, err := check.Output(); err != nil || strings.TrimSpace(string(want)) != fields[1] {
		t.Errorf("the password's hash is %s, want %s, %v", fields[1], want, err)
	}
	stat, err := exec.CommandContext(t.Context(), "debugfs", "-R", "stat /etc/shadow", m.Disk()).Output()
	if text := string(stat); err != nil || !strings.Contains(text, "Mode:  0640") || !strings.Contains(text, "Group:    42") {
		t.Errorf("the file is %s, %v", text, err)
	}
	if out, err := exec.CommandContext(t.Context(), "e2fsck", "-fn", m.Disk()).CombinedOutput(); err != nil {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*", "shadow")); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
