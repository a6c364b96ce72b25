//go:build linux

package network_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

// internet is a network with three hosts: a and b at one site, c in a cloud's region.
type internet struct {
	*network.Network
	t          *testing.T
	addresses  map[string]network.Addresses
	namespaces map[string]network.Namespace
}

func newInternet(t *testing.T, lab string) *internet {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: network namespaces need root")
	}
	for _, tool := range []string{"ip", "nft", "nsenter", "ping"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT RUN: %v", err)
		}
	}
	lab = fmt.Sprintf("n%d-%s", os.Getpid(), lab)
	n, err := network.New(t.Context(), lab, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	i := &internet{Network: n, t: t, addresses: map[string]network.Addresses{}, namespaces: map[string]network.Namespace{}}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		if err := n.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("remove the network: %v", err)
		}
	})
	for name, site := range map[string]string{"a": network.SiteColo, "b": network.SiteColo, "c": "ap-south"} {
		if i.addresses[name], err = n.Reserve(name, site); err != nil {
			t.Fatal(err)
		}
		i.plug(name)
	}
	return i
}

func (i *internet) plug(name string) {
	i.t.Helper()
	ns, err := i.Plug(i.t.Context(), name)
	if err != nil {
		i.t.Fatal(err)
	}
	i.namespaces[name] = ns
}

var received = regexp.MustCompile(`(\d+) received`)

// ping sends echo requests and returns how many were answered.
func (i *internet) ping(from network.Namespace, to string, count int) int {
	i.t.Helper()
	out, _ := from.Command(i.t.Context(), "ping", "-n", "-q", "-c", strconv.Itoa(count), "-i", "0.002", "-W", "0.3", to).Output()
	m := received.FindSubmatch(out)
	if m == nil {
		i.t.Fatalf("ping %s: %s", to, out)
	}
	got, _ := strconv.Atoi(string(m[1]))
	return got
}

// patience is how long echoes that must come back may take. A busy machine may answer late; one that answers although it must
// not does so at once.
const patience = 10 * time.Second

// want checks whether echoes between hosts come back, over IPv4 and IPv6.
func (i *internet) want(from, to string, reachable bool) {
	i.t.Helper()
	for _, address := range []string{i.addresses[to].IPv4.String(), i.addresses[to].IPv6.String()} {
		begin := time.Now()
		got := i.ping(i.namespaces[from], address, 3)
		for reachable && got == 0 && time.Since(begin) < patience {
			got = i.ping(i.namespaces[from], address, 3)
		}
		if got > 0 != reachable {
			i.t.Errorf("ping %s -> %s (%s): %d of 3 answered, want reachable %v", from, to, address, got, reachable)
		}
	}
}

// heard returns how many echo requests a host's kernel has received over IPv4.
func (i *internet) heard(host string) int {
	i.t.Helper()
	out, err := i.namespaces[host].Command(i.t.Context(), "cat", "/proc/self/net/snmp").Output()
	if err != nil {
		i.t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); f[0] == "Icmp:" {
			if names == nil {
				names = f
				continue
			}
			n, _ := strconv.Atoi(f[slices.Index(names, "InEchos")])
			return n
		}
	}
	i.t.Fatal("the kernel counts no echo requests")
	return 0
}

func (i *internet) must(err error) {
	i.t.Helper()
	if err != nil {
		i.t.Fatal(err)
	}
}

func TestHostsReachEachOtherAndTheOperator(t *testing.T) {
	i := newInternet(t, "reach")
	i.want("a", "b", true)
	i.want("a", "c", true)
	i.want("c", "a", true)
	for _, address := range []string{
		network.OperatorAddress, network.EdgeAddress, network.RouterAddress, network.CloudflareAddress, network.MetadataAddress, network.MetadataAddress6,
	} {
		if i.ping(i.namespaces["a"], address, 2) == 0 {
			t.Errorf("a host does not reach %s", address)
		}
	}
	for name, from := range map[string]network.Namespace{"operator": i.OperatorNamespace(), "edge": i.EdgeNamespace()} {
		if i.ping(from, i.addresses["c"].IPv4.String(), 2) == 0 {
			t.Errorf("the %s does not reach a host", name)
		}
	}
}

func TestThisMachineHasNoPlaceInTheLab(t *testing.T) {
	i := newInternet(t, "apart")
	addresses, err := net.InterfaceAddrs()
	i.must(err)
	for _, a := range addresses {
		p, err := netip.ParsePrefix(a.String())
		i.must(err)
		for name, lab := range i.addresses {
			if p.Contains(lab.IPv4) || p.Contains(lab.IPv6) {
				t.Errorf("this machine's address %v is in the network of %s", p, name)
			}
		}
	}
}

func TestCutAndHeal(t *testing.T) {
	i := newInternet(t, "cut")
	i.must(i.Impair(t.Context(), "a", "c", 100, false))
	i.want("a", "c", false)
	i.want("c", "a", false)
	i.want("a", "b", true)
	i.want("b", "c", true)
	i.must(i.Heal(t.Context(), "c", "a"))
	i.want("a", "c", true)
}

func TestOneWayCutLetsTheOtherDirectionPass(t *testing.T) {
	i := newInternet(t, "oneway")
	i.must(i.Impair(t.Context(), "a", "c", 100, true))
	i.want("a", "c", false)
	if got := i.heard("c"); got != 0 {
		t.Errorf("%d echo requests came through the cut direction", got)
	}
	i.want("c", "a", false) // the answers are lost
	if got := i.heard("a"); got != 3 {
		t.Errorf("%d of 3 echo requests came through the open direction", got)
	}
}

func TestLoss(t *testing.T) {
	i := newInternet(t, "loss")
	tests := []struct {
		percent int
		oneWay  bool
		want    int // of 400; the standard deviation is 10
	}{
		{30, true, 280},
		{30, false, 196},
	}
	for _, tt := range tests {
		i.must(i.HealAll(t.Context()))
		i.must(i.Impair(t.Context(), "a", "c", tt.percent, tt.oneWay))
		got := i.ping(i.namespaces["a"], i.addresses["c"].IPv4.String(), 400)
		if got < tt.want-50 || got > tt.want+50 {
			t.Errorf("loss of %d%%, one-way %v: %d of 400 came back, want about %d", tt.percent, tt.oneWay, got, tt.want)
		}
	}
}

func TestImpairingAgainReplaces(t *testing.T) {
	i := newInternet(t, "again")
	i.must(i.Impair(t.Context(), "a", "c", 100, false))
	i.must(i.Impair(t.Context(), "a", "c", 10, true))
	want := []network.Impairment{{From: "a", To: "c", Percent: 10}, {From: "c", To: "a", Percent: 100}}
	if diff := cmp.Diff(want, i.Impairments()); diff != "" {
		t.Errorf("impairments differ (-want +got):\n%s", diff)
	}
}

func TestSitesAndEverything(t *testing.T) {
	i := newInternet(t, "sites")
	i.must(i.Impair(t.Context(), network.SiteColo, "ap-south", 100, false))
	i.want("a", "c", false)
	i.want("b", "c", false)
	i.want("a", "b", true)
	i.must(i.HealAll(t.Context()))
	i.must(i.Impair(t.Context(), "a", network.Everything, 100, false))
	i.want("a", "b", false)
	i.want("b", "c", true)
	if i.ping(i.namespaces["a"], network.MetadataAddress, 2) != 0 {
		t.Error("an unplugged host reaches the router")
	}
}

func TestBadImpairmentsChangeNothing(t *testing.T) {
	i := newInternet(t, "bad")
	i.must(i.Impair(t.Context(), "a", "c", 50, true))
	before := i.Impairments()
	tests := []struct {
		from, to string
		percent  int
	}{{"a", "nobody", 100}, {"a", "a", 100}, {"a", "c", 0}, {"a", "c", 101}, {"", "c", 100}}
	for _, tt := range tests {
		if err := i.Impair(t.Context(), tt.from, tt.to, tt.percent, false); err == nil {
			t.Errorf("impair %q %q %d%%: no error", tt.from, tt.to, tt.percent)
		}
	}
	if diff := cmp.Diff(before, i.Impairments()); diff != "" {
		t.Errorf("impairments differ (-want +got):\n%s", diff)
	}
}

func TestPowerlessHostIsSilent(t *testing.T) {
	i := newInternet(t, "silent")
	i.must(i.Silence("c"))
	i.want("a", "c", false)
	i.must(i.Unplug(t.Context(), "c"))
	out, _ := i.namespaces["a"].Command(t.Context(), "ping", "-n", "-c1", "-W", "0.3", i.addresses["c"].IPv4.String()).Output()
	if strings.Contains(string(out), "Unreachable") {
		t.Errorf("the internet answers for a host without power: %s", out)
	}
	i.plug("c")
	i.want("a", "c", true)
	i.must(i.Release(t.Context(), "c"))
	if i.namespaces["c"].Exists() {
		t.Error("a released host's namespace is still there")
	}
}

func TestBadHosts(t *testing.T) {
	i := newInternet(t, "hosts")
	for _, name := range []string{"a", network.Operator, network.Everything, "", "../x", "a b"} {
		if a, err := i.Reserve(name, network.SiteColo); err == nil {
			t.Errorf("host %q got %v", name, a.IPv4)
		}
	}
	if _, err := i.Plug(t.Context(), "nobody"); err == nil {
		t.Error("a host that is not there got a cable")
	}
}

// entered waits until a process that was just started is in its namespace.
func entered(t *testing.T, pid int, ns network.Namespace) {
	t.Helper()
	want, err := os.Stat(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if got, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil && os.SameFile(got, want) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("process %d does not enter %s", pid, ns)
		case <-tick.C:
		}
	}
}

func TestSweepEndsProcessesAndLeavesOtherLabs(t *testing.T) {
	other := newInternet(t, "sweep-2")
	i := newInternet(t, "sweep")
	cmd := i.OperatorNamespace().Command(context.WithoutCancel(t.Context()), "sleep", "600")
	i.must(cmd.Start())
	entered(t, cmd.Process.Pid, i.OperatorNamespace())
	i.must(i.Close(t.Context()))
	if err := cmd.Wait(); err == nil {
		t.Error("a process in the lab's network ended by itself")
	}
	for _, ns := range append(slices.Collect(maps.Values(i.namespaces)), i.Router(), i.OperatorNamespace()) {
		if ns.Exists() {
			t.Errorf("namespace %s is left", ns)
		}
	}
	other.want("a", "c", true)
	i.must(i.Close(t.Context()))
}
