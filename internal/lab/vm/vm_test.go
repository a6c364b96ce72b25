//go:build linux

package vm_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/vm"
)

var update = flag.Bool("update", false, "write the golden files anew")

func requireVM(t *testing.T) {
	t.Helper()
	if err := nodes.Check(vm.Requirements()...); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
}

func config(dir string) vm.Config {
	return vm.Config{
		Lab: "paper", Name: "hk1", Dir: filepath.Join(dir, "hk1"), Run: filepath.Join(dir, "run"), Image: filepath.Join(dir, "image"),
		MAC: net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3},
	}
}

func TestArgv(t *testing.T) {
	secret := []byte("a ticket")
	c := config("/lab,1")
	c.Seed, c.Credentials, c.CPUs = "/lab,1/hk1/seed1", map[string][]byte{"atoll.first-boot": secret}, 2
	c.System = vm.System{Manufacturer: "Akamai", Product: "Linode", Serial: "7", UUID: "00000000-0000-4000-8000-000000000001"}
	for _, direct := range []bool{false, true} {
		c.DirectKernel = direct
		name := map[bool]string{false: "grub.golden", true: "direct.golden"}[direct]
		got := strings.Join(vm.Argv(c, "root=/dev/sda ro"), "\n") + "\n"
		if strings.Contains(got, "dGlja2V0") || strings.Contains(got, string(secret)) {
			t.Error("a credential is on the command line")
		}
		golden := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", golden, diff)
		}
	}
}

// machine makes a machine with an empty disk in a network of its own: its BIOS looks for a boot loader for ever, which is
// enough of a life to do to it what a lab does.
func machine(t *testing.T) (m *vm.VM, namespace string) {
	t.Helper()
	requireVM(t)
	lab := fmt.Sprintf("vm-%d", os.Getpid())
	n, err := network.New(t.Context(), lab, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if _, err := n.Reserve("hk1", network.SiteColo); err != nil {
		t.Fatal(err)
	}
	ns, err := n.PlugTap(t.Context(), "hk1", "tap0")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := config(dir)
	c.Lab = lab
	if c.Accelerator, err = vm.BestAccelerator(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "qemu-img", "create", "-q", "-f", "qcow2", c.Image, "8M").CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %v\n%s", err, out)
	}
	if m, err = vm.New(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Destroy(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if err := nodes.Sweep(context.WithoutCancel(t.Context()), lab, dir); err != nil {
			t.Error(err)
		}
	})
	return m, ns.Path()
}

// power boots a machine and returns where the end of the boot is told.
func power(t *testing.T, m *vm.VM, namespace string) <-chan nodes.Exit {
	t.Helper()
	ended := make(chan nodes.Exit, 1)
	if err := m.Boot(t.Context(), namespace, func(e nodes.Exit) { ended <- e }); err != nil {
		t.Fatal(err)
	}
	return ended
}

func wantEnd(t *testing.T, ended <-chan nodes.Exit, want nodes.Exit) {
	t.Helper()
	select {
	case got := <-ended:
		if got != want {
			t.Errorf("the boot ended as %v, want %v", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nobody told that the boot is over")
	}
}

func TestPower(t *testing.T) {
	m, namespace := machine(t)
	if _, err := m.PID(); m.On() || !errors.Is(err, nodes.ErrOff) {
		t.Fatalf("a new machine is on: %v", err)
	}
	ended := power(t, m, namespace)
	pid, err := m.PID()
	if err != nil || !m.On() {
		t.Fatalf("a booted machine is off: %v", err)
	}
	where, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		t.Fatal(err)
	}
	if mine, err := os.Readlink("/proc/self/ns/net"); err != nil || mine == where {
		t.Errorf("QEMU runs in the network of this machine: %v", err)
	}
	if u, err := m.Usage(); err != nil || u.MemoryBytes == 0 {
		t.Errorf("usage %+v, %v", u, err)
	}
	if err := m.PowerCut(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, ended, nodes.ExitPowerCut)
	if m.On() {
		t.Error("it is on after a power cut")
	}
	if err := m.PowerCut(t.Context()); err != nil {
		t.Errorf("cutting no power: %v", err)
	}

	// A machine that does not listen to its power button is cut off in the end.
	ended = power(t, m, namespace)
	if err := m.Shutdown(t.Context(), 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, ended, nodes.ExitPowerCut)
}

func TestFreeze(t *testing.T) {
	m, namespace := machine(t)
	if err := m.Freeze(t.Context(), true); !errors.Is(err, nodes.ErrOff) {
		t.Errorf("freezing a machine without power: %v", err)
	}
	ended := power(t, m, namespace)
	for _, frozen := range []bool{true, false, true} {
		if err := m.Freeze(t.Context(), frozen); err != nil {
			t.Fatal(err)
		}
		if m.Frozen() != frozen {
			t.Errorf("frozen is %v after it was set to %v", m.Frozen(), frozen)
		}
	}
	if err := m.PowerCut(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, ended, nodes.ExitPowerCut)
	if m.Frozen() {
		t.Error("a machine without power is frozen")
	}
}

func TestInsert(t *testing.T) {
	m, namespace := machine(t)
	path := filepath.Join(t.TempDir(), "seed.img")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	// Into a machine that is off, into the same when it is on, out, and in again.
	if err := m.Insert(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	ended := power(t, m, namespace)
	for _, p := range []string{path, "", "", path} {
		if err := m.Insert(t.Context(), p); err != nil {
			t.Fatalf("insert %q: %v", p, err)
		}
	}
	if err := m.Insert(t.Context(), filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a seed that is not there was put in")
	}
	if err := m.PowerCut(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, ended, nodes.ExitPowerCut)
	ended = power(t, m, namespace)
	if err := m.PowerCut(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, ended, nodes.ExitPowerCut)
}

func TestBrokenImage(t *testing.T) {
	requireVM(t)
	dir := t.TempDir()
	c := config(dir)
	if _, err := vm.New(t.Context(), c); err == nil {
		t.Error("a machine was made of an image that is not there")
	}
	if err := os.WriteFile(c.Image, []byte("no file system"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.DirectKernel = true
	m, err := vm.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	err = m.Boot(t.Context(), "/proc/self/ns/net", func(nodes.Exit) { t.Error("a boot ended that never began") })
	if err == nil || !strings.Contains(err.Error(), "hk1") {
		t.Errorf("booting a disk without a kernel: %v", err)
	}
}

// TestBestAccelerator asks for what this machine can do. A machine that is run with the answer shows whether it is true:
// all other tests do.
func TestBestAccelerator(t *testing.T) {
	requireVM(t)
	got, err := vm.BestAccelerator(t.Context())
	if err != nil || got != vm.TCG && got != vm.KVM {
		t.Fatalf("the best accelerator is %q, %v", got, err)
	}
	if _, err := os.Stat("/dev/kvm"); err != nil && got == vm.KVM {
		t.Error("it is KVM, which is not there")
	}
	t.Logf("machines run with %s here", got)
}
