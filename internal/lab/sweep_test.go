//go:build linux

package lab_test

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/vm"
	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
)

// labVariable makes this test program run a lab instead of tests, so that a test can kill it.
const labVariable = "ATOLL_TEST_RUN_LAB"

func TestMain(m *testing.M) {
	if name := os.Getenv(labVariable); name != "" {
		runLab(name)
		return
	}
	os.Exit(m.Run())
}

// imageVariable makes that lab one of virtual machines of an image.
const imageVariable = "ATOLL_TEST_LAB_IMAGE"

// runLab starts a lab, says so, and waits to be killed. It is no temporary lab, since other tests sweep dead ones of those.
func runLab(name string) {
	o := lab.Options{Name: name}
	if image := os.Getenv(imageVariable); image != "" {
		// Nobody waits for a machine with a seed disk of its own. Any file will do for one that never reads it.
		o.Boot, o.Image = lab.BootVM, image
		o.Machines = []lab.Machine{{Name: "hk1", Site: network.SiteColo, Seed: image}}
	}
	l, err := lab.Start(context.Background(), o)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	<-l.Closed()
}

// leftovers lists everything on this machine that carries a lab's name.
func leftovers(t *testing.T, name string) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{
		"/run/netns/atoll-" + name + ".*", "/run/atoll-lab/" + name, "/var/lib/atoll-lab/lab-" + name,
		"/sys/fs/cgroup/atoll-lab/" + name, "/sys/fs/cgroup/*/atoll-lab/" + name,
		"/run/systemd/nspawn/propagate/atoll." + name + ".*",
	} {
		match, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, match...)
	}
	mounts, err := os.Open("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mounts.Close() }()
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		if strings.Contains(lines.Text(), "/lab-"+name+"/") || strings.Contains(lines.Text(), "atoll-"+name+".") {
			found = append(found, "mount "+lines.Text())
		}
	}
	return append(found, processes(t, name)...)
}

// processes lists what a lab runs: its nodes' containers by their command line, everything in them by control group.
func processes(t *testing.T, name string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir("/proc", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "/proc" {
			return err
		}
		group, _ := os.ReadFile(filepath.Join(path, "cgroup"))
		command, _ := os.ReadFile(filepath.Join(path, "cmdline"))
		if strings.Contains(string(group), "/atoll-lab/"+name+"/") || strings.Contains(string(command), "--machine=atoll."+name+".") ||
			strings.Contains(string(command), "guest=atoll."+name+".") {
			status, _ := os.ReadFile(filepath.Join(path, "status"))
			if !strings.Contains(string(status), "State:\tZ") { // a zombie is gone but for its parent's interest
				found = append(found, "process "+path)
			}
		}
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func wantNothingLeft(t *testing.T, name string) {
	t.Helper()
	for _, what := range leftovers(t, name) {
		t.Errorf("left behind: %s", what)
	}
}

// startProcess starts a lab in a process of its own, which the test may kill.
func startProcess(t *testing.T, name string, env ...string) *osexec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := osexec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), labVariable+"="+name)
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" {
		t.Fatalf("the lab said %q, %v", line, err)
	}
	t.Cleanup(func() {
		if _, err := lab.Down(context.WithoutCancel(t.Context()), name); err != nil {
			t.Error(err)
		}
	})
	return cmd
}

func kill(t *testing.T, cmd *osexec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as we know
}

func TestUpAfterTheProcessWasKilled(t *testing.T) {
	requireLab(t)
	name := uniqueName("again")
	kill(t, startProcess(t, name))
	l, err := lab.Start(t.Context(), lab.Options{Name: name, Machines: []lab.Machine{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	wantNothingLeft(t, name)
}

func TestDownAfterTheProcessWasKilled(t *testing.T) {
	requireLab(t)
	name := uniqueName("killed")
	cmd := startProcess(t, name)
	client := lab.Connect(name)
	if err := client.Power(t.Context(), "hk1", "freeze"); err != nil {
		t.Fatal(err)
	}
	kill(t, cmd)

	left := strings.Join(leftovers(t, name), "\n")
	for _, want := range []string{"/run/netns/", "/run/atoll-lab/", "/var/lib/atoll-lab/", "/sys/fs/cgroup/", "mount ", "process "} {
		if !strings.Contains(left, want) {
			t.Errorf("a killed lab is expected to leave %s; this test proves nothing without it", want)
		}
	}
	if found, err := lab.Down(t.Context(), name); err != nil || !found {
		t.Errorf("down: got %v, %v", found, err)
	}
	wantNothingLeft(t, name)
	if found, err := lab.Down(t.Context(), name); err != nil || found {
		t.Errorf("down again: got %v, %v", found, err)
	}
	wantNothingLeft(t, name)
}

// TestDownAfterTheProcessOfVirtualMachinesWasKilled has a machine whose disk is empty: its BIOS looks for a boot loader until
// somebody ends it.
func TestDownAfterTheProcessOfVirtualMachinesWasKilled(t *testing.T) {
	if err := nodes.Check(vm.Requirements()...); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	disk := filepath.Join(t.TempDir(), "disk")
	if out, err := osexec.CommandContext(t.Context(), "qemu-img", "create", "-q", "-f", "qcow2", disk, "8M").CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %v\n%s", err, out)
	}
	content, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	name := uniqueName("virtual")
	cmd := startProcess(t, name, imageVariable+"="+writeImage(t, content, func(*nodeimage.Manifest) {}))
	d, err := lab.Connect(name).Describe(t.Context())
	if err != nil || len(d.Nodes) != 1 || d.Nodes[0].Boot != lab.BootVM || d.Nodes[0].Power != "on" {
		t.Errorf("the lab is %+v, %v, want one virtual machine that is on", d, err)
	}
	kill(t, cmd)
	left := strings.Join(leftovers(t, name), "\n")
	for _, want := range []string{"/run/netns/", "/run/atoll-lab/", "/var/lib/atoll-lab/", "/sys/fs/cgroup/", "process "} {
		if !strings.Contains(left, want) {
			t.Errorf("a killed lab is expected to leave %s; this test proves nothing without it", want)
		}
	}
	if found, err := lab.Down(t.Context(), name); err != nil || !found {
		t.Errorf("down: got %v, %v", found, err)
	}
	wantNothingLeft(t, name)
}

func TestDownOfALivingLab(t *testing.T) {
	l := start(t, lab.Options{Name: "living"})
	if found, err := lab.Down(t.Context(), l.Name()); err != nil || !found {
		t.Errorf("down: got %v, %v", found, err)
	}
	wantNothingLeft(t, l.Name())
	select {
	case <-l.Closed():
	default:
		t.Error("the lab does not know that it is gone")
	}
}
