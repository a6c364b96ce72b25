// Package machinetest makes machines for tests out of the kernel's namespaces: each with a network, processes, /etc and /run of
// its own, and a router between all whose firewall cuts paths. Real daemons run in them, started from the unit files that a
// driver writes.
package machinetest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// prepare gives a machine its own /proc, /run and a private layer over /etc, then lives as long as its standard input is
// open: when the test dies, however it dies, the kernel ends every process in the machine and its namespaces go with them.
const prepare = `set -e
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /run/.etc/upper /run/.etc/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/.etc/upper,workdir=/run/.etc/work /etc
ip link set dev lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo ready
exec cat >/dev/null`

// Machine is a set of namespaces: network, mounts and processes of its own, and units of its own in place of systemd.
type Machine struct {
	// Name is what the test calls it.
	Name string
	// PID is the machine's first process, as this process sees it.
	PID int
	Sys *System
}

// New makes a machine that lasts until the test ends.
func New(t testing.TB, name string) *Machine {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child",
		"--propagation", "private", "sh", "-c", prepare)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("make machine %s: %v", name, err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line != "ready\n" {
		_ = stdin.Close()
		_ = cmd.Wait()
		t.Fatalf("make machine %s: said %q (%v): %s", name, line, err, stderr.String())
	}
	pid, err := OnlyChild(cmd.Process.Pid)
	if err != nil {
		t.Fatalf("make machine %s: %v", name, err)
	}
	m := &Machine{Name: name, PID: pid}
	m.Sys = newSystem(t, m)
	t.Cleanup(func() {
		m.Sys.stopAll()
		_ = stdin.Close()
		_, _ = io.Copy(io.Discard, stdout)
		_ = cmd.Wait() // it ends with the status of a killed cat
	})
	return m
}

// OnlyChild returns the one child of a process.
func OnlyChild(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) != 1 {
		return 0, fmt.Errorf("process %d has %d children, not 1", pid, len(fields))
	}
	return strconv.Atoi(fields[0])
}

// Enter returns the words before a command that is to run in the machine.
func (m *Machine) Enter() []string {
	return []string{"nsenter", "--target", strconv.Itoa(m.PID), "--mount", "--net", "--pid", "--"}
}

// Run runs a command in the machine and fails the test when the command fails.
func (m *Machine) Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := m.Sys.System.Run(t.Context(), host.Command{Name: name, Args: args})
	if err != nil {
		t.Fatalf("machine %s: %v", m.Name, err)
	}
	return string(out.Stdout)
}

// Internet joins machines through one router, whose firewall can cut any pair.
type Internet struct {
	router *Machine
	cuts   []string
}

// NewInternet makes a router that lasts until the test ends. Nothing is attached yet.
func NewInternet(t *testing.T) *Internet {
	t.Helper()
	return &Internet{router: New(t, "router")}
}

// Attach gives a machine its public address, of either family, and a way to all others of that family.
func (n *Internet) Attach(t *testing.T, m *Machine, addr netip.Addr) {
	t.Helper()
	port := "to-" + strconv.Itoa(m.PID)
	// In the router's network but this process's view of process ids.
	cmd := exec.CommandContext(t.Context(), "nsenter", "--target", strconv.Itoa(n.router.PID), "--net", "--",
		"ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(m.PID))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("connect machine %s: %v: %s", m.Name, err, out)
	}
	n.router.Run(t, "ip", "link", "set", "dev", port, "up")
	if addr.Is6() {
		n.attach6(t, m, port, addr)
		return
	}
	n.router.Run(t, "ip", "address", "add", "192.0.2.1/32", "dev", port)
	n.router.Run(t, "ip", "route", "add", addr.String()+"/32", "dev", port)
	m.Run(t, "ip", "address", "add", addr.String()+"/32", "dev", "eth0")
	m.Run(t, "ip", "link", "set", "dev", "eth0", "up")
	m.Run(t, "ip", "route", "add", "192.0.2.1/32", "dev", "eth0")
	m.Run(t, "ip", "route", "add", "default", "via", "192.0.2.1", "src", addr.String())
}

// attach6 gives a machine an IPv6 address and nothing else.
func (n *Internet) attach6(t *testing.T, m *Machine, port string, addr netip.Addr) {
	t.Helper()
	n.router.Run(t, "sh", "-ec", "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")
	n.router.Run(t, "ip", "address", "add", "fe80::1/64", "dev", port, "nodad")
	n.router.Run(t, "ip", "route", "add", addr.String()+"/128", "dev", port)
	m.Run(t, "ip", "address", "add", addr.String()+"/128", "dev", "eth0", "nodad")
	m.Run(t, "ip", "link", "set", "dev", "eth0", "up")
	m.Run(t, "ip", "route", "add", "default", "via", "fe80::1", "dev", "eth0")
}

// Hide puts an attached machine behind address translation: others see it as public, and only what answers it comes in.
func (n *Internet) Hide(t *testing.T, private, public netip.Addr) {
	t.Helper()
	n.router.Run(t, "nft", "add table ip hide; add chain ip hide post { type nat hook postrouting priority 100; }; "+
		fmt.Sprintf("add rule ip hide post ip saddr %s snat to %s; ", private, public)+
		"add chain ip hide forward { type filter hook forward priority 0; }; "+
		fmt.Sprintf("add rule ip hide forward ip daddr %s ct state new drop", private))
}

// Drop is the rule that drops every packet from one address to another, in that direction only.
func Drop(from, to netip.Addr) string { return match(from, to) + "drop\n" }

// DropSome is the rule that drops so many packets of a hundred from one address to another, in that direction only.
func DropSome(from, to netip.Addr, percent int) string {
	return match(from, to) + fmt.Sprintf("numgen random mod 100 < %d drop\n", percent)
}

// DropLarger is the rule that drops packets from one address to another that are larger than a size in bytes, without a word.
func DropLarger(from, to netip.Addr, size int) string {
	return match(from, to) + fmt.Sprintf("meta length > %d drop\n", size)
}

func match(from, to netip.Addr) string {
	family := "ip"
	if from.Is6() {
		family = "ip6"
	}
	return fmt.Sprintf("%[1]s saddr %[2]s %[1]s daddr %[3]s ", family, from, to)
}

// Cut drops every packet from one address to another, in that direction only.
func (n *Internet) Cut(t *testing.T, from, to netip.Addr) {
	t.Helper()
	n.cuts = append(n.cuts, Drop(from, to))
	if err := n.SetCuts(t.Context(), n.cuts...); err != nil {
		t.Fatal(err)
	}
}

// DropUDP drops every UDP packet between two addresses.
func (n *Internet) DropUDP(t *testing.T, a, b netip.Addr) {
	t.Helper()
	for _, rule := range []string{Drop(a, b), Drop(b, a)} {
		n.cuts = append(n.cuts, "meta l4proto udp "+rule)
	}
	if err := n.SetCuts(t.Context(), n.cuts...); err != nil {
		t.Fatal(err)
	}
}

// Heal undoes every cut.
func (n *Internet) Heal(t *testing.T) {
	t.Helper()
	n.cuts = nil
	if err := n.SetCuts(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// SetCutsOrFail is SetCuts for a test that cannot go on without.
func (n *Internet) SetCutsOrFail(t *testing.T, rules ...string) {
	t.Helper()
	if err := n.SetCuts(t.Context(), rules...); err != nil {
		t.Fatal(err)
	}
}

// SetCuts makes rules all that the router drops.
func (n *Internet) SetCuts(ctx context.Context, rules ...string) error {
	_, err := n.router.Sys.System.Run(ctx, host.Command{
		Name: "nft", Args: []string{"-f", "-"},
		Stdin: []byte("table inet cuts\ndelete table inet cuts\ntable inet cuts {\nchain forward {\ntype filter hook forward priority 0;\n" +
			strings.Join(rules, "") + "}\n}\n"),
	})
	return err
}

// InNetwork calls fn in the machine's network, for sockets that this process opens there.
func (m *Machine) InNetwork(fn func() error) error { return inNetwork(m.PID, fn) }
