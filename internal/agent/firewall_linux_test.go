package agent_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/images"
	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// namespace is a machine with a kernel firewall of its own.
type namespace struct {
	t    *testing.T
	name string
	host *hosttest.Host
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: needs root, for network namespaces")
	}
	n := &namespace{t: t, name: fmt.Sprintf("atoll-fw-%d-%s", os.Getpid(), t.Name()), host: hosttest.New()}
	command(t, "ip", "netns", "add", n.name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", n.name).Run() }) //nolint:noctx // the test's context is over by then
	n.host.Handle("nft", func(c host.Command) (host.Output, error) {
		cmd := n.command("", append([]string{"nft"}, c.Args...)...)
		cmd.Stdin = strings.NewReader(string(c.Stdin))
		out, err := cmd.Output()
		if err != nil {
			return host.Output{}, &host.CommandError{Command: c.String(), ExitCode: 1, Err: err}
		}
		return host.Output{Stdout: out}, nil
	})
	return n
}

func (n *namespace) command(stdin string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(n.t.Context(), "ip", append([]string{"netns", "exec", n.name}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	return cmd
}

func (n *namespace) run(stdin string, args ...string) string {
	n.t.Helper()
	out, err := n.command(stdin, args...).CombinedOutput()
	if err != nil {
		n.t.Fatalf("%s: %v: %s", args, err, out)
	}
	return string(out)
}

// elements returns what a set of the image's table holds, in one line.
func (n *namespace) elements(set string) string {
	n.t.Helper()
	_, text, found := strings.Cut(n.run("", "nft", "list", "set", "inet", "atoll_base", set), "elements = {")
	if !found {
		return ""
	}
	text, _, _ = strings.Cut(text, "}")
	// Versions of nft differ in how they print neighbours.
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "80-82", "80, 81, 82")
}

// baseRules are those of the image itself.
func baseRules(t *testing.T) string {
	t.Helper()
	rules, err := fs.ReadFile(images.Description(), "rootfs/etc/nftables.conf")
	if err != nil {
		t.Fatal(err)
	}
	return string(rules)
}

// TestFirewallOpensWhatTheModelNames loads the image's firewall into a real kernel and lets the agent open its ports.
func TestFirewallOpensWhatTheModelNames(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	cluster := &spec.Cluster{Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()}
	n.run(baseRules(t), "nft", "-f", "-")
	none := &topology.View{}
	opens := func(tcp, udp []int) *topology.View {
		return &topology.View{PublicPorts: spec.PublicPorts{TCP: tcp, UDP: udp}}
	}
	web := opens([]int{80, 443}, []int{443})
	steps := []struct {
		name     string
		before   string
		cluster  *spec.Cluster
		view     *topology.View
		tcp, udp string
		changes  int
	}{
		{"waiting", "", nil, nil, "7480", "", 1},
		{"waiting still", "", nil, nil, "7480", "", 0},
		{"a member", "", cluster, none, "655, 7443, 7480", "655", 1},
		{"a member still", "", cluster, none, "655, 7443, 7480", "655", 0},
		{"somebody opened more", "add element inet atoll_base open_tcp { 3306, 8000-8100 }", cluster, none, "655, 7443, 7480", "655", 1},
		{"somebody closed one", "delete element inet atoll_base open_udp { 655 }", cluster, none, "655, 7443, 7480", "655", 1},
		{"the firewall was loaded again", baseRules(t), cluster, none, "655, 7443, 7480", "655", 1},
		{"an application", "", cluster, web, "80, 443, 655, 7443, 7480", "443, 655", 1},
		{"an application still", "", cluster, web, "80, 443, 655, 7443, 7480", "443, 655", 0},
		{"the application's node starts again", baseRules(t), cluster, web, "80, 443, 655, 7443, 7480", "443, 655", 1},
		{"the objects are lost", "", cluster, nil, "80, 443, 655, 7443, 7480", "443, 655", 0},
		{"a port is closed while they are", "delete element inet atoll_base open_tcp { 7443 }", cluster, nil, "80, 443, 655, 7443, 7480", "443, 655", 1},
		{"neighbours, and the cluster's own", "", cluster, opens([]int{80, 81, 82, 655, 7443, 65535}, []int{1, 2}), "80, 81, 82, 655, 7443, 7480, 65535", "1, 2, 655", 1},
		{"neighbours still", "", cluster, opens([]int{80, 81, 82, 655, 7443, 65535}, []int{1, 2}), "80, 81, 82, 655, 7443, 7480, 65535", "1, 2, 655", 0},
		{
			"written as a range", "delete element inet atoll_base open_tcp { 80, 81, 82 }; add element inet atoll_base open_tcp { 80-82 }",
			cluster, opens([]int{80, 81, 82, 655, 7443, 65535}, []int{1, 2}), "80, 81, 82, 655, 7443, 7480, 65535", "1, 2, 655", 0,
		},
		{"no application any more", "", cluster, none, "655, 7443, 7480", "655", 1},
		{"what the node's own filter opens beside", "", cluster, filtering(10, 8000, 8100), "10, 655, 7443, 7480, 8000-8100", "655", 1},
		{"what it opens still", "", cluster, filtering(10, 8000, 8100), "10, 655, 7443, 7480, 8000-8100", "655", 0},
		{"other ports", "", &spec.Cluster{Mesh: spec.Mesh{Driver: spec.MeshTinc, Port: 656}, Ports: spec.Ports{API: 443, Health: 80}}, none, "80, 443, 656", "656", 1},
	}
	for _, tt := range steps {
		if tt.before != "" {
			n.run(tt.before, "nft", "-f", "-")
		}
		done := strings.Count(n.host.Text(), "run nft -f -")
		if err := agent.ReconcileFirewall(t.Context(), n.host, tt.cluster, tt.view); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := strings.Count(n.host.Text(), "run nft -f -") - done; got != tt.changes {
			t.Errorf("%s: %d changes, want %d", tt.name, got, tt.changes)
		}
		if diff := cmp.Diff([]string{tt.tcp, tt.udp}, []string{n.elements("open_tcp"), n.elements("open_udp")}); diff != "" {
			t.Errorf("%s: open ports (-want +got):\n%s", tt.name, diff)
		}
	}
}

// filtering is the view of a node whose own packet filter opens a port and a range of ports for an application.
func filtering(port, first, last int) *topology.View {
	opening := func(first, last int, mesh bool) topology.Opening {
		return topology.Opening{Protocol: topology.TCP, First: first, Last: last, Service: topology.ServiceApplication, Anybody4: true, Mesh: mesh}
	}
	ssh := topology.Opening{Protocol: topology.TCP, First: 22, Last: 22, Service: topology.ServiceSSH}
	return &topology.View{HostFirewall: &topology.HostFirewall{Openings: []topology.Opening{ssh, opening(port, port, false), opening(first, last, false), opening(9999, 9999, true)}}}
}

// TestFirewallLeavesOthersAlone has machines that were adopted with a firewall of their own, or with none.
func TestFirewallLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	cluster := &spec.Cluster{Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()}
	for name, rules := range map[string]string{
		"none":         "flush ruleset",
		"another one":  "flush ruleset\ntable inet filter {\n chain input {\n type filter hook input priority filter; policy drop;\n tcp dport 22 accept\n }\n}\n",
		"without sets": "flush ruleset\ntable inet atoll_base {\n set open_other {\n type inet_service\n }\n}\n",
	} {
		n.run(rules, "nft", "-f", "-")
		before := n.run("", "nft", "list", "ruleset")
		if err := agent.ReconcileFirewall(t.Context(), n.host, cluster, &topology.View{PublicPorts: spec.PublicPorts{TCP: []int{80}}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(before, n.run("", "nft", "list", "ruleset")); diff != "" {
			t.Errorf("%s: the firewall changed (-before +after):\n%s", name, diff)
		}
	}
	h := hosttest.New()
	h.Handle("nft", func(host.Command) (host.Output, error) {
		return host.Output{}, &host.CommandError{Command: "nft", ExitCode: -1, Err: errors.New("not found")}
	})
	if err := agent.ReconcileFirewall(t.Context(), h, cluster, nil); err != nil || h.Text() != "" {
		t.Errorf("without nft: %v, %q", err, h.Text())
	}
}
