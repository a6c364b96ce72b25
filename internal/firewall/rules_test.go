package firewall_test

import (
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/firewall"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

var update = flag.Bool("update", false, "write the golden files anew")

// filterOf returns the filter that node hk1 of a cluster has.
func filterOf(t *testing.T, wish spec.HostFirewall, addresses map[string][]string) *topology.HostFirewall {
	t.Helper()
	wish.Enforce, wish.ConfirmSeconds = true, spec.DefaultConfirmSeconds
	in := topology.Input{
		ClusterName: "web", Cluster: spec.Cluster{MeshCIDR: netip.MustParsePrefix("10.66.0.0/16"), Mesh: spec.DefaultMesh(), Ports: spec.DefaultPorts()},
		Nodes: map[string]spec.Node{}, Databases: map[string]spec.Database{
			"app": {Engine: spec.DatabaseMySQL, Port: 3306, Router: spec.DatabaseRouter{Driver: spec.RouterHAProxy, WritePort: 6446, ReadPort: 6447}},
		}, DatabaseMembers: map[string]spec.Member{},
	}
	for i, name := range []string{"hk1", "hk2", "sg1"} {
		in.Nodes[name] = spec.Node{MeshAddress: netip.AddrFrom4([4]byte{10, 66, 0, byte(i + 1)}), Addresses: addresses[name], HostFirewall: &wish, PublicPorts: spec.PublicPorts{TCP: []int{80, 443}}}
	}
	for _, name := range []string{"hk1", "sg1"} {
		in.DatabaseMembers["app."+name] = spec.Member{Database: "app", Node: name, Role: spec.MemberVoter}
	}
	f, err := topology.HostFirewallOf(in, "hk1")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestScripts holds the text that nft gets, and has nft read it where there is one.
func TestScripts(t *testing.T) {
	t.Parallel()
	four := map[string][]string{"hk1": {"192.0.2.1"}, "hk2": {"192.0.2.2"}, "sg1": {"198.51.100.3"}}
	plain := filterOf(t, spec.HostFirewall{}, four)
	operators := filterOf(t, spec.HostFirewall{Operators: []string{"203.0.113.0/24", "2001:db8:5::/48"}, Open: []spec.FirewallRule{
		{Protocol: spec.FirewallTCP, Ports: []string{"9100", "8000-8080"}, Peers: []string{"hk2", "203.0.113.9"}}, {Protocol: spec.FirewallUDP},
	}}, map[string][]string{"hk1": {"192.0.2.1", "2001:db8::1"}, "hk2": {"192.0.2.2", "2001:db8::2"}, "sg1": {"198.51.100.3"}})
	for name, script := range map[string]string{
		"plain":     firewall.Script(plain, nil, 0, 7),
		"operators": firewall.Script(operators, nil, 0, 0),
		"first":     firewall.Script(plain, nil, time.Minute, 0),
		"trial":     firewall.Script(operators, plain, 90*time.Second, 0),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden := filepath.Join("testdata", name+".nft")
			if *update {
				if err := os.WriteFile(golden, []byte(script), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), script); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if os.Geteuid() != 0 {
				t.Skip("NOT RUN: nft checks rules for root alone")
			}
			check := exec.CommandContext(t.Context(), "unshare", "--net", "nft", "--check", "-f", "-")
			check.Stdin = strings.NewReader(script)
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("nft does not take it: %v: %s", err, out)
			}
		})
	}
}
