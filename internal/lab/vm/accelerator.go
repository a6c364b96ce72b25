//go:build linux

package vm

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Accelerator is how QEMU runs a machine's processor.
type Accelerator string

// Accelerators.
const (
	// TCG emulates the processor: it works everywhere.
	TCG Accelerator = "tcg"
	// KVM uses this machine's own processor: several times as fast.
	KVM Accelerator = "kvm"
)

// kvmDevice is where the kernel offers KVM.
const kvmDevice = "/dev/kvm"

// kvmPatience is how long a machine of one sector may take to end itself.
const kvmPatience = 2 * time.Second

// kvmAnswer is the exit code of QEMU when the sector has run: what it writes to the debug port, 0x10, doubled and one more.
const kvmAnswer = 33

// sector is a boot sector that ends its machine: mov al, 0x10; out 0xf4, al; hlt.
var sector = []byte{0xb0, 0x10, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd}

// BestAccelerator finds out how machines can be run here. A KVM that is there but hangs, as inside some virtual machines,
// is none: it is asked to run a boot sector.
func BestAccelerator(ctx context.Context) (Accelerator, error) {
	if _, err := os.Stat(kvmDevice); errors.Is(err, os.ErrNotExist) {
		return TCG, nil
	}
	dir, err := os.MkdirTemp("", "atoll-kvm-")
	if err != nil {
		return TCG, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	disk := make([]byte, 512)
	copy(disk, sector)
	disk[510], disk[511] = 0x55, 0xaa
	path := filepath.Join(dir, "sector")
	if err := os.WriteFile(path, disk, 0o600); err != nil {
		return TCG, err
	}
	ctx, cancel := context.WithTimeout(ctx, kvmPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "kvm", "-nodefaults", "-no-user-config", "-display", "none",
		"-no-reboot", "-device", "isa-debug-exit", "-drive", "format=raw,file="+escape(path))
	cmd.WaitDelay = time.Second
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) && exit.ExitCode() == kvmAnswer {
		return KVM, nil
	}
	return TCG, nil
}

// arguments say it to QEMU, with the processor that suits it.
func (a Accelerator) arguments() []string {
	if a == KVM {
		return []string{"-accel", "kvm", "-cpu", "host"}
	}
	return []string{"-accel", "tcg,tb-size=256", "-cpu", processor}
}
