//go:build linux

package vm_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/vm"
)

func TestParseGrub(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       vm.Entry
	}{
		{
			"written by hand",
			"search --label --set=root rootfs\nlinux /vmlinuz root=LABEL=rootfs ro console=ttyS0,115200\ninitrd /initrd.img\nboot\n",
			vm.Entry{Kernel: "/vmlinuz", Initrds: []string{"/initrd.img"}, Arguments: "root=LABEL=rootfs ro console=ttyS0,115200"},
		},
		{
			"written by update-grub, two entries",
			"menuentry 'Debian' {\n\tload_video\n\techo 'Loading Linux 6.12 ...'\n\tlinux\t($root)/boot/vmlinuz-6.12 root=UUID=1 ro  quiet\n" +
				"\tinitrd\t/boot/intel-ucode.img /boot/initrd.img-6.12\n}\nmenuentry 'older' {\n\tlinux /boot/vmlinuz-6.1 root=UUID=1\n\tinitrd /boot/initrd.img-6.1\n}\n",
			vm.Entry{Kernel: "/boot/vmlinuz-6.12", Initrds: []string{"/boot/intel-ucode.img", "/boot/initrd.img-6.12"}, Arguments: "root=UUID=1 ro quiet"},
		},
		{"without an initial RAM disk", "linux /vmlinuz\n", vm.Entry{Kernel: "/vmlinuz"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := vm.ParseGrub(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("the entry differs (-want +got):\n%s", diff)
			}
		})
	}
	if e, err := vm.ParseGrub("set timeout=5\n"); err == nil {
		t.Errorf("a configuration that starts nothing is read as %+v", e)
	}
}

// spoilBitmap makes a file system what it is after a power cut: until its journal is replayed, bitmaps are wrong.
func spoilBitmap(t *testing.T, disk string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "dumpe2fs", disk).Output()
	if err != nil {
		t.Fatalf("dumpe2fs: %v", err)
	}
	number := func(pattern string) int64 {
		found := regexp.MustCompile(pattern).FindSubmatch(out)
		if found == nil {
			t.Fatalf("dumpe2fs does not say %s:\n%s", pattern, out)
		}
		n, err := strconv.ParseInt(string(found[1]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	size := number(`Block size: +(\d+)`)
	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, size), size*number(`Block bitmap at (\d+)`)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if plain, err := exec.CommandContext(t.Context(), "debugfs", "-R", "stat /vmlinuz", disk).CombinedOutput(); err != nil || !strings.Contains(string(plain), "checksum") {
		t.Fatalf("the bitmap is not spoilt: %v\n%s", err, plain)
	}
}

// TestReadFile reads a real file system as mke2fs makes it, links in it included.
func TestReadFile(t *testing.T) {
	requireVM(t)
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "boot/grub"), 0o755); err != nil {
		t.Fatal(err)
	}
	kernel := strings.Repeat("kernel ", 100_000)
	for name, text := range map[string]string{"boot/vmlinuz-6.12": kernel, "boot/with space": "odd"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"vmlinuz": "boot/vmlinuz-6.12", "boot/vmlinuz": "/vmlinuz", "loop": "loop", "nowhere": "boot/gone",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	disk := filepath.Join(t.TempDir(), "disk.raw")
	if out, err := exec.CommandContext(t.Context(), "mke2fs", "-q", "-t", "ext4", "-d", root, disk, "16M").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v\n%s", err, out)
	}
	spoilBitmap(t, disk)
	for name, want := range map[string]string{
		"/boot/vmlinuz-6.12": kernel, "/vmlinuz": kernel, "/boot/vmlinuz": kernel, "/boot/with space": "odd",
	} {
		got, err := vm.ReadFile(t.Context(), disk, name)
		if err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, want %d, %v", name, len(got), len(want), err)
		}
	}
	for _, name := range []string{"/boot/gone", "/nowhere", "/loop", "/boot", `/"`} {
		if got, err := vm.ReadFile(t.Context(), disk, name); err == nil {
			t.Errorf("%s: read as %d bytes, must fail", name, len(got))
		}
	}
}
