//go:build linux

package lab_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
)

// patience is how long things that happen by themselves may take.
const patience = 20 * time.Second

func requireLab(t *testing.T) {
	t.Helper()
	if err := nodes.Check(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
}

// uniqueName lets tests of several processes run side by side.
func uniqueName(name string) string { return fmt.Sprintf("t%d-%s", os.Getpid(), name) }

func start(t *testing.T, o lab.Options) *lab.Lab {
	t.Helper()
	requireLab(t)
	o.Name, o.Temporary = uniqueName(o.Name), true
	o.Progress = func(line string) { t.Log(line) }
	l, err := lab.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
		wantNothingLeft(t, l.Name())
	})
	return l
}

// exec runs a command inside a machine and returns what it says.
func exec(t *testing.T, l *lab.Lab, node string, argv ...string) string {
	t.Helper()
	out, err := l.Exec(t.Context(), node, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestMachines boots the two machines of the reference topology once and does to them whatever scenarios need: each
// subtest leaves them as it found them.
func TestMachines(t *testing.T) {
	l := start(t, lab.Options{Name: "machines"})
	t.Run("boot without a failed unit", func(t *testing.T) { testBooted(t, l) })
	t.Run("SSH with pinned host keys", func(t *testing.T) { testSSH(t, l) })
	t.Run("cut and heal", func(t *testing.T) { testCut(t, l) })
	t.Run("power cut keeps the disk", func(t *testing.T) { testPowerCut(t, l) })
	t.Run("power cut says no goodbye", func(t *testing.T) { testSilence(t, l) })
	t.Run("power cut with a stopped command", func(t *testing.T) { testStoppedCommand(t, l) })
	t.Run("reboot from inside", func(t *testing.T) { testReboot(t, l) })
	t.Run("switch off from inside", func(t *testing.T) { testPoweroff(t, l) })
	t.Run("freeze and thaw", func(t *testing.T) { testFreeze(t, l) })
	t.Run("unknown machine", func(t *testing.T) { testUnknown(t, l) })
	t.Run("second lab of the name", func(t *testing.T) { testInUse(t, l) })
}

func testBooted(t *testing.T, l *lab.Lab) {
	for _, m := range lab.DefaultMachines() {
		if got := exec(t, l, m.Name, "systemctl", "is-system-running", "--wait"); got != "running" {
			t.Errorf("%s is %s: %s", m.Name, got, exec(t, l, m.Name, "systemctl", "--failed", "--no-legend"))
		}
		if got := exec(t, l, m.Name, "hostname"); got != m.Name {
			t.Errorf("%s calls itself %s", m.Name, got)
		}
		if _, err := l.Exec(t.Context(), m.Name, "test", "-e", "/usr/local/bin/atolld"); err == nil {
			t.Errorf("%s has an agent already, which a machine in a rack has not", m.Name)
		}
	}
	if a, b := exec(t, l, "hk1", "cat", "/etc/machine-id"), exec(t, l, "hk2", "cat", "/etc/machine-id"); a == b {
		t.Errorf("two machines have the same machine-id %s", a)
	}
	for _, n := range l.Nodes() {
		if n.Power != "on" || n.PID == 0 || n.MemoryBytes == 0 || n.CPU == 0 {
			t.Errorf("a running node is described as %+v", n)
		}
	}
}

func testSSH(t *testing.T, l *lab.Lab) {
	for _, name := range []string{"hk1", "hk2"} {
		out, err := l.SSH(t.Context(), name, "hostname").CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != name {
			t.Errorf("ssh %s: got %q, %v", name, got, err)
		}
	}
	// The operator notices when another machine answers at hk1's address.
	exec(t, l, "hk1", "sh", "-c", "cd /etc/ssh && cp -a ssh_host_ed25519_key kept && rm ssh_host_ed25519_key && "+
		"ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key && systemctl restart ssh")
	out, err := l.SSH(t.Context(), "hk1", "hostname").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Host key verification failed") {
		t.Errorf("ssh to a machine with another host key: got %q, %v", out, err)
	}
	exec(t, l, "hk1", "sh", "-c", "cd /etc/ssh && mv kept ssh_host_ed25519_key && systemctl restart ssh")
}

func pings(t *testing.T, l *lab.Lab, from, to string) bool {
	t.Helper()
	n, err := l.Node(to)
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Exec(t.Context(), from, "ping", "-n", "-q", "-c3", "-i0.05", "-W0.5", n.IPv4)
	return err == nil
}

func testCut(t *testing.T, l *lab.Lab) {
	if !pings(t, l, "hk1", "hk2") {
		t.Fatal("hk1 does not reach hk2")
	}
	if err := l.Cut(t.Context(), "hk1", "hk2", false); err != nil {
		t.Fatal(err)
	}
	if pings(t, l, "hk1", "hk2") || pings(t, l, "hk2", "hk1") {
		t.Error("a cut path carries pings")
	}
	if err := l.SSH(t.Context(), "hk1", "true").Run(); err != nil {
		t.Errorf("the operator's path was not cut: %v", err)
	}
	if err := l.HealAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !pings(t, l, "hk1", "hk2") {
		t.Error("a healed path carries no pings")
	}
}

func testPowerCut(t *testing.T, l *lab.Lab) {
	exec(t, l, "hk1", "sh", "-c", "echo kept > /root/kept && sync && nft add table inet left")
	boot := exec(t, l, "hk1", "cat", "/proc/sys/kernel/random/boot_id")
	if err := l.Kill(t.Context(), "hk1"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Exec(t.Context(), "hk1", "true"); !errors.Is(err, nodes.ErrOff) {
		t.Errorf("a command on a machine without power: got %v, want ErrOff", err)
	}
	if pings(t, l, "hk2", "hk1") {
		t.Error("a machine without power answers pings")
	}
	if err := l.Kill(t.Context(), "hk1"); err != nil {
		t.Errorf("cutting the power twice: %v", err)
	}
	powerOn(t, l, "hk1")
	if got := exec(t, l, "hk1", "cat", "/root/kept"); got != "kept" {
		t.Errorf("the disk says %q", got)
	}
	if exec(t, l, "hk1", "cat", "/proc/sys/kernel/random/boot_id") == boot {
		t.Error("it is the same boot")
	}
	if got := exec(t, l, "hk1", "nft", "list", "ruleset"); strings.Contains(got, "table inet left") {
		t.Errorf("the kernel remembers over a power cut: %s", got)
	}
	if !pings(t, l, "hk2", "hk1") {
		t.Error("a machine that has power again does not answer pings")
	}
}

func powerOn(t *testing.T, l *lab.Lab, name string) {
	t.Helper()
	if err := l.PowerOn(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitSSH(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

// dialSSH connects the operator to a machine's SSH server and reads its greeting.
func dialSSH(t *testing.T, l *lab.Lab, name string) net.Conn {
	t.Helper()
	n, err := l.Node(name)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.Network().OperatorNamespace().Dial(t.Context(), "tcp", net.JoinHostPort(n.IPv4, "22"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return conn
}

func testSilence(t *testing.T, l *lab.Lab) {
	conn := dialSSH(t, l, "hk1")
	if err := l.Kill(t.Context(), "hk1"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, 4096)
	for {
		_, err := conn.Read(rest)
		if err == nil {
			continue // the key exchange that was on its way
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the peer of a machine that lost its power saw %v, want nothing at all", err)
		}
		break
	}
	powerOn(t, l, "hk1")
}

// testStoppedCommand guards against dead processes whose parent outside the node is stopped and never takes note.
func testStoppedCommand(t *testing.T, l *lab.Lab) {
	for _, who := range []string{"the command", "its parent"} {
		cmd, err := l.Command(t.Context(), "hk1", "sleep", "600")
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		await.True(t, "the command runs", patience, func() bool {
			_, err := l.Exec(t.Context(), "hk1", "pgrep", "-x", "sleep")
			return err == nil
		})
		if who == "the command" {
			exec(t, l, "hk1", "pkill", "-STOP", "-x", "sleep")
		} else if err := cmd.Process.Signal(unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := l.Kill(ctx, "hk1"); err != nil {
			t.Errorf("power cut with %s stopped: %v", who, err)
		}
		cancel()
		if err := cmd.Wait(); err == nil {
			t.Error("a command survived its machine")
		}
		powerOn(t, l, "hk1")
	}
}

func testReboot(t *testing.T, l *lab.Lab) {
	const bootID = "/proc/sys/kernel/random/boot_id"
	before := exec(t, l, "hk2", "cat", bootID)
	_, _ = l.Exec(t.Context(), "hk2", "systemctl", "reboot") // its answer may get lost with the machine
	await.True(t, "hk2 boots again", patience, func() bool {
		out, err := l.Exec(t.Context(), "hk2", "cat", bootID)
		return err == nil && strings.TrimSpace(string(out)) != before
	})
	if err := l.WaitSSH(t.Context(), "hk2"); err != nil {
		t.Fatal(err)
	}
}

func testPoweroff(t *testing.T, l *lab.Lab) {
	_, _ = l.Exec(t.Context(), "hk2", "systemctl", "poweroff")
	await.True(t, "hk2 is off", patience, func() bool {
		n, err := l.Node("hk2")
		return err == nil && n.Power == "off"
	})
	powerOn(t, l, "hk2")
	if err := l.Shutdown(t.Context(), "hk2"); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Node("hk2"); err != nil || n.Power != "off" {
		t.Errorf("after Shutdown: %+v, %v", n, err)
	}
	powerOn(t, l, "hk2")
}

func testFreeze(t *testing.T, l *lab.Lab) {
	if err := l.Freeze(t.Context(), "hk1"); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Node("hk1"); err != nil || n.Power != "frozen" {
		t.Errorf("a frozen machine is %+v, %v", n, err)
	}
	if !pings(t, l, "hk2", "hk1") {
		t.Error("the kernel of a frozen machine does not answer pings")
	}
	used := func() time.Duration {
		n, err := l.Node("hk1")
		if err != nil {
			t.Fatal(err)
		}
		return n.CPU
	}
	before := used()
	pings(t, l, "hk2", "hk1")
	if got := used() - before; got != 0 {
		t.Errorf("a frozen machine used %v of CPU", got)
	}
	if err := l.Thaw(t.Context(), "hk1"); err != nil {
		t.Fatal(err)
	}
	dialSSH(t, l, "hk1")
	if err := l.Freeze(t.Context(), "hk1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Kill(t.Context(), "hk1"); err != nil {
		t.Errorf("cut the power of a frozen machine: %v", err)
	}
	powerOn(t, l, "hk1")
}

func testUnknown(t *testing.T, l *lab.Lab) {
	if err := l.Kill(t.Context(), "nobody"); !errors.Is(err, lab.ErrNoMachine) {
		t.Errorf("got %v, want ErrNoMachine", err)
	}
}

func testInUse(t *testing.T, l *lab.Lab) {
	_, err := lab.Start(t.Context(), lab.Options{Name: l.Name()})
	var inUse *lab.InUseError
	if !errors.As(err, &inUse) || inUse.PID != os.Getpid() {
		t.Errorf("got %v, want an InUseError with this process", err)
	}
}

func TestNamesThatAreNone(t *testing.T) {
	requireLab(t)
	for _, name := range []string{"Demo", "a.b", "../x", "-a", strings.Repeat("a", 25)} {
		if l, err := lab.Start(t.Context(), lab.Options{Name: name}); err == nil {
			t.Errorf("a lab called %q started", name)
			_ = l.Close()
		}
	}
}

func TestTwoLabsSideBySide(t *testing.T) {
	machines := []lab.Machine{{Name: "hk1", Site: network.SiteColo}, {Name: "hk2", Site: network.SiteVPS}}
	a := start(t, lab.Options{Name: "left", Machines: machines})
	b := start(t, lab.Options{Name: "left-2", Machines: machines}) // the other's name is the beginning of its own
	if err := a.Cut(t.Context(), "hk1", "hk2", false); err != nil {
		t.Fatal(err)
	}
	if pings(t, a, "hk1", "hk2") || !pings(t, b, "hk1", "hk2") {
		t.Error("a cut in one lab does not stay there")
	}
	na, errA := a.Node("hk1")
	nb, errB := b.Node("hk1")
	if errA != nil || errB != nil || na.IPv4 != nb.IPv4 || na.HostKey == nb.HostKey {
		t.Errorf("want two machines with one address: %+v, %+v", na, nb)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := b.SSH(t.Context(), "hk1", "true").CombinedOutput(); err != nil {
		t.Errorf("one lab's end broke the other: %v: %s", err, out)
	}
}
