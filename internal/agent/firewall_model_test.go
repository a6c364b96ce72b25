package agent_test

import (
	"fmt"
	"io/fs"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/atollhq/terraform-provider-atoll/images"
	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// openedIn returns what the agent opens in a firewall that is as the image has it, for this view.
func openedIn(t *testing.T, c spec.Cluster, v *topology.View) spec.PublicPorts {
	t.Helper()
	machine := hosttest.New()
	var out spec.PublicPorts
	machine.Handle("nft", func(c host.Command) (host.Output, error) {
		if len(c.Stdin) == 0 {
			return host.Output{Stdout: []byte(`{"nftables":[{"set":{"name":"open_tcp"}},{"set":{"name":"open_udp"}}]}`)}, nil
		}
		for _, m := range regexp.MustCompile(`add element inet atoll_base open_(tcp|udp) \{ ([0-9, ]+) \}`).FindAllStringSubmatch(string(c.Stdin), -1) {
			set := &out.TCP
			if m[1] == "udp" {
				set = &out.UDP
			}
			for _, text := range strings.Split(m[2], ", ") {
				port, err := strconv.Atoi(text)
				if err != nil {
					return host.Output{}, err
				}
				*set = append(*set, port)
			}
		}
		return host.Output{}, nil
	})
	if err := agent.ReconcileFirewall(t.Context(), machine, &c, v); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestFirewallAgreesWithTheModel opens the firewall of every node of several clusters, and compares with the table of ports that
// the model gives to the operator.
func TestFirewallAgreesWithTheModel(t *testing.T) {
	t.Parallel()
	nodes := func(public map[string]spec.PublicPorts) map[string]spec.Node {
		out := map[string]spec.Node{}
		for i, name := range []string{"hk1", "hk2", "sg1"} {
			out[name] = spec.Node{MeshAddress: netip.AddrFrom4([4]byte{10, 66, 0, byte(i + 1)}), PublicPorts: public[name]}
		}
		return out
	}
	cluster := spec.Cluster{MeshCIDR: netip.MustParsePrefix("10.66.0.0/16"), Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()}
	other := cluster
	other.Mesh.Port, other.Ports = 1655, spec.Ports{API: 443, Health: 81, Gossip: 946}
	serving := func(proxy *spec.Proxy, port int, names ...string) spec.LoadBalancer {
		lb := spec.LoadBalancer{Nodes: map[string]spec.ServingNode{}, Proxy: proxy}
		for _, name := range names {
			lb.Nodes[name] = spec.ServingNode{Enabled: true, Port: port}
		}
		return lb
	}
	proxy := func(plain, tls int) *spec.Proxy {
		return &spec.Proxy{Driver: spec.ProxyHAProxy, Port: plain, TLSPort: tls}
	}
	tests := map[string]topology.Input{
		"one node":          {Cluster: cluster, Nodes: map[string]spec.Node{"hk1": {MeshAddress: netip.MustParseAddr("10.66.0.1")}}},
		"nothing but nodes": {Cluster: cluster, Nodes: nodes(nil)},
		"other ports":       {Cluster: other, Nodes: nodes(nil)},
		"applications": {Cluster: cluster, Nodes: nodes(map[string]spec.PublicPorts{
			"hk1": {TCP: []int{80, 443}, UDP: []int{443}}, "hk2": {TCP: []int{7443, 22, 65535}, UDP: []int{655}},
		})},
		"proxies": {Cluster: cluster, Nodes: nodes(map[string]spec.PublicPorts{"sg1": {TCP: []int{80}}}), LoadBalancers: map[string]spec.LoadBalancer{
			"www.example.com": serving(proxy(80, 443), 8080, "hk1", "sg1"), "api.example.com": serving(proxy(80, 0), 8081, "sg1"), "bare.example.com": serving(nil, 9090, "hk2"),
		}},
		"proxies that do not get on": {Cluster: other, Nodes: nodes(nil), LoadBalancers: map[string]spec.LoadBalancer{
			"a.example.com": serving(proxy(80, 8443), 8080, "hk1", "hk2"), "b.example.com": serving(proxy(8443, 0), 8081, "hk1", "sg1"),
			"c.example.com": serving(proxy(443, 0), 8082, "hk2"), "d.example.com": serving(proxy(8081, 0), 8080, "sg1"),
		}},
		"a database": {Cluster: cluster, Nodes: nodes(nil), Databases: map[string]spec.Database{
			"app": {Engine: spec.DatabaseMySQL, Port: 3306, Router: spec.DatabaseRouter{Driver: spec.RouterHAProxy, WritePort: 6446, ReadPort: 6447}},
		}, DatabaseMembers: map[string]spec.Member{
			"app.hk1": {Database: "app", Node: "hk1", Role: spec.MemberVoter}, "app.sg1": {Database: "app", Node: "sg1", Role: spec.MemberClient},
		}},
		"pairs": {Cluster: cluster, Nodes: nodes(nil), Pairs: map[string]spec.Pair{"files": {Leader: "hk1", Ends: map[string]spec.PairEnd{"hk1": {Path: "/a"}, "sg1": {Path: "/a"}}}}},
	}
	for name, in := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for node, ports := range topology.Ports(in) {
				v, err := topology.Derive(in, node)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(topology.OutsidePorts(ports), openedIn(t, in.Cluster, v), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s: open ports (-model +agent):\n%s", node, diff)
				}
			}
		})
	}
}

// TestImageAgreesWithTheModel looks at the image's rules for what the model takes for granted: SSH and the whole mesh are let in.
func TestImageAgreesWithTheModel(t *testing.T) {
	t.Parallel()
	rules, err := fs.ReadFile(images.Description(), "rootfs/etc/nftables.conf")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.FieldsFunc(string(rules), func(r rune) bool { return r == '\n' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	for _, want := range []string{fmt.Sprintf("tcp dport %d accept", topology.SSHPort), `iifname "atoll0" accept`} {
		if !slices.Contains(lines, want) {
			t.Errorf("the image's rules lack %q: the table of ports says that it is open", want)
		}
	}
}
