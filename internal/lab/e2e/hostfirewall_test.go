//go:build linux

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
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

// TestHostFirewall has three nodes with a packet filter: the cluster works, what it does not need is closed, and what is opened is open
// to whom it names.
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
