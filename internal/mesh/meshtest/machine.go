package meshtest

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

// machine is a set of namespaces: network, mounts and processes of its own.
type machine struct {
	name string
	// pid is the machine's first process, as this process sees it.
	pid int
	sys *system
}

// newMachine makes a machine that lasts until the test ends.
func newMachine(t *testing.T, name string) *machine {
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
	pid, err := onlyChild(cmd.Process.Pid)
	if err != nil {
		t.Fatalf("make machine %s: %v", name, err)
	}
	m := &machine{name: name, pid: pid}
	m.sys = newSystem(t, m)
	t.Cleanup(func() {
		m.sys.stopAll()
		_ = stdin.Close()
		_, _ = io.Copy(io.Discard, stdout)
		_ = cmd.Wait() // it ends with the status of a killed cat
	})
	return m
}

// onlyChild returns the one child of a process.
func onlyChild(pid int) (int, error) {
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

// enter returns the words before a command that is to run in the machine.
func (m *machine) enter() []string {
	return []string{"nsenter", "--target", strconv.Itoa(m.pid), "--mount", "--net", "--pid", "--"}
}

// run runs a command in the machine and fails the test when the command fails.
func (m *machine) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := m.sys.System.Run(t.Context(), host.Command{Name: name, Args: args})
	if err != nil {
		t.Fatalf("machine %s: %v", m.name, err)
	}
	return string(out.Stdout)
}

// internet joins machines through one router, whose firewall can cut any pair.
type internet struct {
	router *machine
	cuts   []string
}

func newInternet(t *testing.T) *internet {
	t.Helper()
	return &internet{router: newMachine(t, "router")}
}

// attach gives a machine its public address and a way to all others.
func (n *internet) attach(t *testing.T, m *machine, addr netip.Addr) {
	t.Helper()
	port := "to-" + strconv.Itoa(m.pid)
	// In the router's network but this process's view of process ids.
	cmd := exec.CommandContext(t.Context(), "nsenter", "--target", strconv.Itoa(n.router.pid), "--net", "--",
		"ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(m.pid))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("connect machine %s: %v: %s", m.name, err, out)
	}
	n.router.run(t, "ip", "link", "set", "dev", port, "up")
	n.router.run(t, "ip", "address", "add", "192.0.2.1/32", "dev", port)
	n.router.run(t, "ip", "route", "add", addr.String()+"/32", "dev", port)
	m.run(t, "ip", "address", "add", addr.String()+"/32", "dev", "eth0")
	m.run(t, "ip", "link", "set", "dev", "eth0", "up")
	m.run(t, "ip", "route", "add", "192.0.2.1/32", "dev", "eth0")
	m.run(t, "ip", "route", "add", "default", "via", "192.0.2.1", "src", addr.String())
}

// drop is the rule that drops every packet from one address to another, in that direction only.
func drop(from, to netip.Addr) string { return fmt.Sprintf("ip saddr %s ip daddr %s drop\n", from, to) }

// cut drops every packet from one address to another, in that direction only.
func (n *internet) cut(t *testing.T, from, to netip.Addr) {
	t.Helper()
	n.cuts = append(n.cuts, drop(from, to))
	if err := n.setCuts(t.Context(), n.cuts...); err != nil {
		t.Fatal(err)
	}
}

// dropUDP drops every UDP packet between two addresses.
func (n *internet) dropUDP(t *testing.T, a, b netip.Addr) {
	t.Helper()
	for _, rule := range []string{drop(a, b), drop(b, a)} {
		n.cuts = append(n.cuts, "meta l4proto udp "+rule)
	}
	if err := n.setCuts(t.Context(), n.cuts...); err != nil {
		t.Fatal(err)
	}
}

// heal undoes every cut.
func (n *internet) heal(t *testing.T) {
	t.Helper()
	n.cuts = nil
	if err := n.setCuts(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// setCuts makes rules all that the router drops.
func (n *internet) setCuts(ctx context.Context, rules ...string) error {
	_, err := n.router.sys.System.Run(ctx, host.Command{
		Name: "nft", Args: []string{"-f", "-"},
		Stdin: []byte("table ip cuts\ndelete table ip cuts\ntable ip cuts {\nchain forward {\ntype filter hook forward priority 0;\n" +
			strings.Join(rules, "") + "}\n}\n"),
	})
	return err
}
