package seed_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/platform/volume"
	"github.com/atollhq/terraform-provider-atoll/internal/seed"
)

// disk returns a loop device of an empty file.
func disk(t *testing.T, size int64) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: loop devices need root")
	}
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "losetup", "--find", "--show", path).CombinedOutput()
	if err != nil {
		t.Skipf("NOT TESTED: no loop device: %v: %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil { //nolint:noctx // the test's own is over
			t.Errorf("losetup --detach: %v: %s", err, out)
		}
	})
	return device
}

func TestDevice(t *testing.T) {
	device := disk(t, 16<<20)
	d, err := seed.Inspect(device)
	if err != nil || len(d.Holds) != 0 || d.Size != 16<<20 {
		t.Fatalf("an empty disk: got %+v and %v", d, err)
	}
	image, err := full(t).Image()
	if err != nil {
		t.Fatal(err)
	}
	if err := seed.WriteDevice(device, image); err != nil {
		t.Fatal(err)
	}
	if d, err = seed.Inspect(device); err != nil || !strings.Contains(d.String(), `vfat file system labelled "CIDATA"`) {
		t.Errorf("a seed: got %s and %v", d, err)
	}
	f, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if v, err := volume.Open(f); err != nil || v.Label != "CIDATA" {
		t.Errorf("got %+v and %v", v, err)
	}
}

func TestDeviceInUse(t *testing.T) {
	device := disk(t, 16<<20)
	tool(t, "mke2fs", "-q", "-t", "ext4", device)
	point := t.TempDir()
	tool(t, "mount", device, point)
	t.Cleanup(func() {
		if out, err := exec.Command("umount", point).CombinedOutput(); err != nil { //nolint:noctx // the test's own is over
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	_, err := seed.Inspect(device)
	var used *seed.InUseError
	if !errors.As(err, &used) || !strings.Contains(err.Error(), point) || !strings.Contains(used.Device.String(), "some data") {
		t.Errorf("got %v, want an InUseError that names %s", err, point)
	}
	// Whoever does not look first must not destroy it either.
	if err := seed.WriteDevice(device, make([]byte, 4096)); err == nil {
		t.Error("a mounted device was written to")
	}
}

func TestDeviceTooSmall(t *testing.T) {
	if err := seed.WriteDevice(disk(t, 1<<20), make([]byte, seed.ImageSize)); err == nil || !strings.Contains(err.Error(), "4 MiB") {
		t.Errorf("got %v, want an error with both sizes", err)
	}
}
