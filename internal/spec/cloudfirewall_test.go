package spec_test

import (
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func TestCloudFirewallProblems(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		variant spec.MachineVariant
		give    spec.CloudFirewall
		want    string
	}{
		{"everybody administers", spec.MachineLinode, spec.CloudFirewall{}, ""},
		{"addresses and a rule", spec.MachineLinode, spec.CloudFirewall{
			Operators: []string{"203.0.113.7", "2001:db8::/32"}, Open: []spec.FirewallRule{{Protocol: "tcp", Ports: []string{"9100"}, Peers: []string{"hk1"}}},
		}, ""},
		{"nobody administers", spec.MachineLinode, spec.CloudFirewall{Operators: []string{}}, "cloud_firewall.operators: is empty"},
		{"host bits", spec.MachineLinode, spec.CloudFirewall{Operators: []string{"203.0.113.7/24"}}, "write 203.0.113.0/24"},
		{"a rule's port", spec.MachineLinode, spec.CloudFirewall{Open: []spec.FirewallRule{{Protocol: "tcp", Ports: []string{"x"}}}}, `cloud_firewall.open.ports: "x" is no port`},
		{"an adopted machine", spec.MachineSSH, spec.CloudFirewall{}, "cloud_firewall: is for machines that Atoll makes"},
	}
	for _, tt := range tests {
		n := firewalled(nil)
		n.Machine.Variant, n.CloudFirewall = tt.variant, &tt.give
		ps := n.Validate()
		if tt.want == "" && len(ps) != 0 || tt.want != "" && (len(ps) != 1 || !strings.Contains(ps[0].Error(), tt.want)) {
			t.Errorf("%s: got %v, want one with %q", tt.name, ps, tt.want)
		}
	}
}
