package spec_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func firewalled(f *spec.Firewall) spec.Node {
	return spec.Node{
		Provider: "colo", Site: "hong-kong", MeshAddress: netip.MustParseAddr("10.66.0.1"),
		Machine: spec.Machine{Variant: spec.MachineSSH}, Firewall: f,
	}
}

func TestFirewallProblems(t *testing.T) {
	t.Parallel()
	rule := func(protocol, ports, peer string) []spec.FirewallRule {
		return []spec.FirewallRule{{Protocol: spec.FirewallProtocol(protocol), Ports: []string{ports}, Peers: []string{peer}}}
	}
	tests := []struct {
		name string
		give spec.Firewall
		want string
	}{
		{"nothing let in", spec.Firewall{Inbound: []spec.FirewallRule{}}, ""},
		{"a node", spec.Firewall{Inbound: rule("tcp", "655", "hk1")}, ""},
		{"an address", spec.Firewall{Outbound: rule("udp", "655", "2001:db8::1")}, ""},
		{"a network and a range", spec.Firewall{Mesh: rule("tcp", "8000-8080", "192.0.2.0/24")}, ""},
		{"protocol", spec.Firewall{Inbound: rule("icmp", "655", "hk1")}, `firewall.inbound.protocol: "icmp" is unknown`},
		{"port", spec.Firewall{Outbound: rule("tcp", "0", "hk1")}, `firewall.outbound.ports: "0" is no port`},
		{"range", spec.Firewall{Mesh: rule("tcp", "80-70", "hk1")}, `firewall.mesh.ports: "80-70" is no port`},
		{"word", spec.Firewall{Mesh: rule("tcp", "80-x", "hk1")}, `"80-x" is no port`},
		{"host bits", spec.Firewall{Inbound: rule("tcp", "80", "192.0.2.9/24")}, "write 192.0.2.0/24"},
		{"host name", spec.Firewall{Inbound: rule("tcp", "80", "a.example.com")}, "is neither"},
		{"accept", spec.Firewall{Accept: spec.FirewallAccept{Blocked: []string{"A"}}}, "firewall.accept.blocked"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := firewalled(&tt.give).Validate().Error()
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestFirewallForm holds the stored form: a node without a firewall has no field that an older agent would not know, and what is
// let through to nobody does not turn into everybody.
func TestFirewallForm(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		give *spec.Firewall
		want string
	}{
		{"none", nil, ""},
		{"no rules", &spec.Firewall{}, `"firewall":{}`},
		{"closed", &spec.Firewall{Inbound: []spec.FirewallRule{}}, `"firewall":{"inbound":[]}`},
		{"nobody", &spec.Firewall{Mesh: []spec.FirewallRule{{Protocol: "tcp", Peers: []string{}}}}, `"firewall":{"mesh":[{"protocol":"tcp","peers":[]}]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o, err := spec.NewObject("web", "hk1", 1, 1, firewalled(tt.give))
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" && strings.Contains(string(o.Body), "firewall") || !strings.Contains(string(o.Body), tt.want) {
				t.Errorf("got %s, want %s", o.Body, tt.want)
			}
			body, err := o.Decode()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(firewalled(tt.give), body, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("read again it is another (-want +got):\n%s", diff)
			}
		})
	}
}
