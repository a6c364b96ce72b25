package spec_test

import (
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func TestHostFirewallProblems(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		give spec.HostFirewall
		want string
	}{
		{"everybody administers", spec.HostFirewall{ConfirmSeconds: 60}, ""},
		{"addresses and networks", spec.HostFirewall{ConfirmSeconds: 15, Operators: []string{"203.0.113.7", "2001:db8::/32", "0.0.0.0/0"}}, ""},
		{"a rule", spec.HostFirewall{ConfirmSeconds: 600, Open: []spec.FirewallRule{{Protocol: "udp", Ports: []string{"514"}, Peers: []string{"hk1"}}}}, ""},
		{"too short", spec.HostFirewall{ConfirmSeconds: 14}, "host_firewall.confirm_seconds: 14 is out of bounds"},
		{"too long", spec.HostFirewall{ConfirmSeconds: 601}, "601 is out of bounds"},
		{"nobody administers", spec.HostFirewall{ConfirmSeconds: 60, Operators: []string{}}, "host_firewall.operators: is empty"},
		{"host bits", spec.HostFirewall{ConfirmSeconds: 60, Operators: []string{"203.0.113.7/24"}}, "write 203.0.113.0/24"},
		{"a name", spec.HostFirewall{ConfirmSeconds: 60, Operators: []string{"office.example.com"}}, `host_firewall.operators: "office.example.com" is neither`},
		{"IPv4 inside IPv6", spec.HostFirewall{ConfirmSeconds: 60, Operators: []string{"::ffff:192.0.2.0/120"}}, "is neither"},
		{"a rule's port", spec.HostFirewall{ConfirmSeconds: 60, Open: []spec.FirewallRule{{Protocol: "tcp", Ports: []string{"x"}}}}, `host_firewall.open.ports: "x" is no port`},
	}
	for _, tt := range tests {
		n := firewalled(nil)
		n.HostFirewall = &tt.give
		ps := n.Validate()
		if tt.want == "" {
			if len(ps) != 0 {
				t.Errorf("%s: %v", tt.name, ps)
			}
			continue
		}
		if len(ps) != 1 || !strings.Contains(ps[0].Error(), tt.want) {
			t.Errorf("%s: got %v, want one with %q", tt.name, ps, tt.want)
		}
	}
}

func TestParseNetwork(t *testing.T) {
	t.Parallel()
	for give, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "fe80::1%eth0": "fe80::1/128", "2001:db8::/32": "2001:db8::/32", "192.0.2.1/24": "", "hk1": "",
	} {
		got, ok := spec.ParseNetwork(give)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%s: got %v, %t, want %q", give, got, ok, want)
		}
	}
}
