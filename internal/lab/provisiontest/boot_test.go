//go:build linux

package provisiontest_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/images"
)

// settle is the program that brings what is in /boot to where boot loaders look.
const settle = "/usr/lib/atoll/settle-boot"

// TestSettleBoot changes a file system and reads it from below, as a boot loader does: without its journal.
func TestSettleBoot(t *testing.T) {
	require(t)
	dir := t.TempDir()
	disk, mounted := filepath.Join(dir, "disk"), filepath.Join(dir, "boot")
	if err := os.CopyFS(filepath.Join(dir, "node"), images.Description()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(mounted, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"mkfs.ext4", "-q", disk, "64M"}, {"mount", "-o", "loop", disk, mounted}} {
		if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
		}
	}
	t.Cleanup(func() {
		//nolint:usetesting // the test's own context has ended
		if out, err := exec.CommandContext(context.Background(), "umount", mounted).CombinedOutput(); err != nil {
			t.Errorf("umount: %v\n%s", err, out)
		}
	})
	const text = "linux /vmlinuz\n"
	if err := os.WriteFile(filepath.Join(mounted, "grub.cfg"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	below := func() string {
		out, err := exec.CommandContext(t.Context(), "debugfs", "-c", "-R", "cat /grub.cfg", disk).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if got := below(); got != "" {
		t.Fatalf("a boot loader finds %q at once: this test shows nothing", got)
	}
	out, err := exec.CommandContext(t.Context(), "python3", filepath.Join(dir, "node", "rootfs", settle), mounted, "/proc", filepath.Join(dir, "nothing")).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("settle-boot ended with %v and said %s", err, out)
	}
	if diff := cmp.Diff(text, below()); diff != "" {
		t.Errorf("what a boot loader finds (-want +got):\n%s", diff)
	}
}

// TestBootIsSettled runs the step that puts it behind everything that changes kernels and boot loaders, twice, and then those
// programs, with others in the place of Debian's.
func TestBootIsSettled(t *testing.T) {
	require(t)
	r := newRoot(t)
	program := func(name, text string) {
		r.write(t, name, "#!/bin/sh\n"+text+"\n")
		if err := os.Chmod(r.path(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program("/usr/sbin/grub-mkconfig", `echo "${0##*/} $*" >>/calls; exit 3`)
	program("/usr/sbin/grub-install", `echo "${0##*/} $*" >>/calls`)
	for range 2 {
		r.scripts(t, nil, "65-boot.sh")
	}
	program(settle, "echo settled >>/calls")
	if got := r.run(t, nil, "sh", "-c", "grub-mkconfig -o /boot/grub/grub.cfg || echo $?"); got != "3\n" {
		t.Errorf("grub-mkconfig ended with %q, want Debian's exit code", got)
	}
	r.run(t, nil, "grub-install", "/dev/sda")
	r.run(t, nil, "run-parts", "--arg=6.12", "--arg=/boot/initrd.img-6.12", "/etc/initramfs/post-update.d")
	want := "grub-mkconfig -o /boot/grub/grub.cfg\nsettled\ngrub-install /dev/sda\nsettled\nsettled\n"
	if diff := cmp.Diff(want, r.read(t, "/calls")); diff != "" {
		t.Errorf("what was run (-want +got):\n%s", diff)
	}
	// Packages by apt, unattended-upgrades included.
	if got := r.run(t, nil, "apt-config", "dump", "DPkg::Post-Invoke"); !strings.Contains(got, `"`+settle+`";`) {
		t.Errorf("apt runs after dpkg: %s", got)
	}
	// An update of GRUB's package goes where Debian's program is now.
	for _, name := range []string{"grub-mkconfig", "grub-install"} {
		if got := strings.TrimSpace(r.run(t, nil, "dpkg-divert", "--truename", "/usr/sbin/"+name)); got != "/usr/lib/atoll/debian/"+name {
			t.Errorf("dpkg would put %s at %s", name, got)
		}
	}
}
