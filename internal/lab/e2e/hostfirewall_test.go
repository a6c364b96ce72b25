//go:build linux

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// hole is a TCP port that no object of the cluster names.
const hole = 9999

// filteredSite is a site whose nodes keep packet filters of their own.
type filteredSite struct {
	*site
	env []string
}

// TestHostFirewall has three nodes with a packet filter: the cluster works, what it does not need is closed, and whoever locks the
// operator out is let in again by the kernel.
func TestHostFirewall(t *testing.T) {
	t.Parallel()
	onceForAllEngines(t)
	s := newSite(t)
	f := filteredSite{site: s, env: append(slices.Clone(s.Work.Env), rig.WithPair("hk1", "sg1"))}
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"the cluster works", f.works},
		{"what is not in the model is closed", f.closed},
		{"what is opened is open to whom it names", f.opened},
		{"a wrong list of operators is taken back", f.takenBack},
		{"the agent is killed while a filter is on trial", f.agentKilled},
		{"a boot begins with what was confirmed", f.boots},
		{"goes", f.goes},
	} {
		if !t.Run(step.name, step.run) {
			t.FailNow()
		}
	}
}

// want writes down what the nodes' packet filters are to be, as the stack's variable.
func (f filteredSite) want(filter string) {
	f.Work.Env = append(slices.Clone(f.env), "TF_VAR_host_firewall="+filter)
}

const filtered = `{operators=["` + network.OperatorAddress + `"], confirm_within=120}`

func (f filteredSite) works(t *testing.T) {
	f.want(filtered)
	f.apply(t)
	f.wantHealthy(t, time.Minute, everyNode...)
	f.inForce(t, everyNode...)
	f.eventually(t, "the pair's files are the same", 2*time.Minute, f.Pair("hk1", "sg1").Synced)
	f.wantNoChange(t)
}

// inForce waits until the filters of nodes hold.
func (f filteredSite) inForce(t *testing.T, nodes ...string) {
	t.Helper()
	for _, node := range nodes {
		f.eventually(t, "the filter of "+node+" holds", 2*time.Minute, func(ctx context.Context) error {
			report, err := f.Report(ctx, "web", node)
			if err != nil {
				return err
			}
			if c, found := report.Condition(spec.ConditionFirewallReady); !found || c.Status != spec.ConditionTrue {
				return errNot("%+v", c)
			}
			return nil
		})
	}
}

// address returns the public address of a machine.
func (f filteredSite) address(t *testing.T, machine string) string {
	t.Helper()
	for _, n := range f.Nodes() {
		if n.Name == machine {
			return fmt.Sprint(n.IPv4)
		}
	}
	t.Fatalf("there is no machine %s", machine)
	return ""
}

// knock is a command that connects to a TCP port.
func knock(address string, port int) []string {
	return []string{"timeout", "5", "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", address, port)}
}

// operatorGetsIn tells whether the operator's workstation gets a connection.
func (f filteredSite) operatorGetsIn(ctx context.Context, address string, port int) bool {
	argv := knock(address, port)
	return f.Operator(ctx, argv[0], argv[1:]...).Run() == nil
}

// nodeGetsIn tells whether a node gets a connection.
func (f filteredSite) nodeGetsIn(ctx context.Context, from, address string, port int) bool {
	_, err := f.Exec(ctx, from, knock(address, port)...)
	return err == nil
}

func (f filteredSite) closed(t *testing.T) {
	for _, node := range everyNode {
		listen := fmt.Sprintf(`my $s = IO::Socket::INET->new(LocalAddr => "0.0.0.0", LocalPort => %d, Listen => 16, ReuseAddr => 1) or die; while (my $c = $s->accept) { close $c }`, hole)
		if out, err := f.Exec(t.Context(), node, "systemd-run", "--unit=hole", "perl", "-MIO::Socket::INET", "-e", listen); err != nil {
			t.Fatalf("%s: %v: %s", node, err, out)
		}
		f.eventually(t, node+" listens", time.Minute, func(ctx context.Context) error {
			if !f.nodeGetsIn(ctx, node, "127.0.0.1", hole) {
				return errNot("closed")
			}
			return nil
		})
	}
	hk1, sg1 := f.address(t, "hk1"), f.address(t, "sg1")
	mesh, err := f.MeshAddress(t.Context(), "hk1")
	if err != nil {
		t.Fatal(err)
	}
	for what, in := range map[string]bool{
		"the operator, at hk1": f.operatorGetsIn(t.Context(), hk1, hole), "the operator, at sg1": f.operatorGetsIn(t.Context(), sg1, hole),
		"hk2, at hk1": f.nodeGetsIn(t.Context(), "hk2", hk1, hole), "hk2, at hk1 over the mesh": f.nodeGetsIn(t.Context(), "hk2", mesh, hole),
		"hk2, at SSH of hk1": f.nodeGetsIn(t.Context(), "hk2", hk1, 22),
		// A machine of nobody's is not a node.
		"a stranger, at the mesh of hk1": f.nodeGetsIn(t.Context(), spare, hk1, 655), "a stranger, at the agent of hk1": f.nodeGetsIn(t.Context(), spare, hk1, 7443),
	} {
		if in {
			t.Errorf("%s, gets in", what)
		}
	}
	for what, in := range map[string]bool{
		"the operator, at SSH": f.operatorGetsIn(t.Context(), hk1, 22), "a stranger, at the health endpoint": f.nodeGetsIn(t.Context(), spare, hk1, 7480),
		"hk2, at the agent over the mesh": f.nodeGetsIn(t.Context(), "hk2", mesh, 7443),
	} {
		if !in {
			t.Errorf("%s, does not get in", what)
		}
	}
	if names := f.named(t, "hk1"); slices.Contains(names, hole) || !slices.Contains(names, 7443) {
		t.Errorf("the table of ports names %v", names)
	}
}

// named returns the ports that `atoll ports` names of a node.
func (f filteredSite) named(t *testing.T, node string) []int {
	t.Helper()
	out, err := f.Atoll(t.Context(), "ports", node, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Nodes map[string]struct{ Opens []topology.Port }
	}
	if err := json.Unmarshal([]byte(out), &table); err != nil {
		t.Fatal(err)
	}
	var names []int
	for _, p := range table.Nodes[node].Opens {
		names = append(names, p.Number)
	}
	return names
}

func (f filteredSite) opened(t *testing.T) {
	f.want(fmt.Sprintf(`{operators=["%s"], confirm_within=120, open=[{protocol="tcp", ports=["%d"], peers=["%s"]}]}`, network.OperatorAddress, hole, network.OperatorAddress))
	f.apply(t)
	f.inForce(t, everyNode...)
	for _, node := range everyNode {
		if !f.operatorGetsIn(t.Context(), f.address(t, node), hole) {
			t.Errorf("the operator does not get in at %s", node)
		}
		if !slices.Contains(f.named(t, node), hole) {
			t.Errorf("the table of ports does not name port %d of %s", hole, node)
		}
	}
	if f.nodeGetsIn(t.Context(), "hk2", f.address(t, "hk1"), hole) {
		t.Error("hk2 gets in, which nobody has named")
	}
	f.want(filtered)
	f.apply(t)
	if f.operatorGetsIn(t.Context(), f.address(t, "hk1"), hole) {
		t.Error("what is not opened any more stays open")
	}
}

func (f filteredSite) takenBack(t *testing.T) {
	f.want(`{operators=["203.0.113.77"], confirm_within=30}`)
	f.failApply(t, nil, "Packet filter is not in force", "the operator did not come through within 30s", "the one before holds")
	// A node that could not be told itself, since another one was on trial, got it from others and began later.
	for _, node := range everyNode {
		f.eventually(t, "the operator gets in at "+node, 2*time.Minute, func(ctx context.Context) error {
			if !f.operatorGetsIn(ctx, f.address(t, node), 22) {
				return errNot("closed")
			}
			return nil
		})
	}
	text, err := f.Atoll(t.Context(), "status")
	if err == nil || !strings.Contains(text, "taken back") {
		t.Errorf("atoll status does not say it: %v\n%s", err, text)
	}
	f.want(filtered)
	f.apply(t)
	f.inForce(t, everyNode...)
	f.wantHealthy(t, time.Minute, everyNode...)
}

// agentKilled lets an agent die right after it has put a filter on trial that locks out the operator, and keeps it dead.
func (f filteredSite) agentKilled(t *testing.T) {
	const node = "hk1"
	address := f.address(t, node)
	f.want(`{operators=["203.0.113.77"], confirm_within=60}`)
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		_, err := f.Work.Run(ctx, "apply", "-auto-approve", "-target=atoll_node.machine")
		ended <- err
	}()
	f.eventually(t, "the filter is on trial", 2*time.Minute, func(ctx context.Context) error {
		if out, err := f.Exec(ctx, node, "nft", "list", "chain", "inet", "atoll", "tried"); err != nil {
			return errNot("%s", out)
		}
		return nil
	})
	if out, err := f.Exec(t.Context(), node, "systemctl", "kill", "--signal=KILL", "atolld"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// systemd would start it again.
	if err := f.HoldDown(t.Context(), "atolld.service", node); err != nil {
		t.Fatal(err)
	}
	if f.operatorGetsIn(t.Context(), address, 22) {
		t.Error("the operator gets in while the filter is on trial")
	}
	f.eventually(t, "the kernel lets the operator in again", 3*time.Minute, func(ctx context.Context) error {
		if !f.operatorGetsIn(ctx, address, 22) {
			return errNot("closed")
		}
		return nil
	})
	if out, err := f.Exec(t.Context(), node, "systemctl", "is-active", "atolld"); err == nil {
		t.Errorf("the agent was alive: %s", out)
	}
	if err := f.LetGo(t.Context(), "atolld.service", node); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the apply succeeded")
	}
	f.eventually(t, "the agent says that it was taken back", 2*time.Minute, func(ctx context.Context) error {
		report, err := f.Report(ctx, "web", node)
		if err != nil {
			return err
		}
		if c, _ := report.Condition(spec.ConditionFirewallReady); c.Reason != "RolledBack" {
			return errNot("%+v", c)
		}
		return nil
	})
	if !f.operatorGetsIn(t.Context(), address, 22) {
		t.Error("the filter was tried again")
	}
	f.want(filtered)
	f.apply(t)
	f.inForce(t, everyNode...)
}

// boots has systemd load the filter as it does at boot, before the agent runs. The network of the lab's machines outlives a boot, and
// the kernel's rules with it.
func (f filteredSite) boots(t *testing.T) {
	const boot = `set -eu
systemctl is-enabled atoll-firewall.service
systemctl stop atolld.service
nft delete table inet atoll
systemctl start atoll-firewall.service
nft list chain inet atoll confirmed`
	out, err := f.Exec(t.Context(), "hk2", "sh", "-c", boot)
	if err != nil || !strings.Contains(string(out), network.OperatorAddress+" tcp dport 22 accept") {
		t.Errorf("%v: %s", err, out)
	}
	if err := f.LetGo(t.Context(), "atolld.service", "hk2"); err != nil {
		t.Fatal(err)
	}
	f.wantHealthy(t, time.Minute, everyNode...)
}

func (f filteredSite) goes(t *testing.T) {
	f.want("null")
	f.apply(t)
	for _, node := range everyNode {
		f.eventually(t, "the filter of "+node+" is gone", time.Minute, func(ctx context.Context) error {
			if out, err := f.Exec(ctx, node, "nft", "list", "table", "inet", "atoll"); err == nil {
				return errNot("%s", out)
			}
			return nil
		})
	}
	f.wantNoChange(t)
	f.wantHealthy(t, time.Minute, everyNode...)
}
