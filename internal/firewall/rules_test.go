package firewall_test

import (
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/firewall"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

var update = flag.Bool("update", false, "write the golden files anew")

func from(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// filterOf returns a filter of these openings, at public addresses and over the mesh.
func filterOf(public, mesh []topology.Opening) *topology.HostFirewall {
	f := &topology.HostFirewall{Openings: slices.Clone(public)}
	for _, o := range mesh {
		o.Mesh = true
		f.Openings = append(f.Openings, o)
	}
	return f
}

// at is an opening of a port, or of a range of ports, to everybody of some families and to networks.
func at(protocol topology.Protocol, first, last int, service topology.Service, four, six bool, networks ...string) topology.Opening {
	return topology.Opening{Protocol: protocol, First: first, Last: last, Service: service, Anybody4: four, Anybody6: six, From: from(networks...)}
}

// TestScripts holds the text that nft gets, and has nft read it where there is one.
func TestScripts(t *testing.T) {
	t.Parallel()
	plain := filterOf([]topology.Opening{
		at(topology.TCP, 22, 22, topology.ServiceSSH, true, true), at(topology.TCP, 655, 655, topology.ServiceMesh, false, false, "192.0.2.2/32", "198.51.100.3/32"),
		at(topology.UDP, 655, 655, topology.ServiceMesh, false, false, "192.0.2.2/32", "198.51.100.3/32"), at(topology.TCP, 7443, 7443, topology.ServiceAPI, true, true),
	}, []topology.Opening{
		at(topology.TCP, 22, 22, topology.ServiceSSH, true, true), at(topology.TCP, 3306, 3306, topology.ServiceDatabase, false, false, "10.66.0.3/32"),
		at(topology.UDP, 7655, 7655, topology.ServiceMesh, false, false, "fe80::/10"),
	})
	operators := filterOf([]topology.Opening{
		at(topology.UDP, 1, 65535, topology.ServiceApplication, true, true),
		at(topology.TCP, 22, 22, topology.ServiceSSH, false, false, "203.0.113.0/24", "2001:db8:5::/48"), at(topology.TCP, 655, 655, topology.ServiceMesh, false, true, "192.0.2.2/32"),
		at(topology.TCP, 7443, 7443, topology.ServiceAPI, true, false, "2001:db8::2/128"), at(topology.TCP, 8000, 8080, topology.ServiceApplication, false, false, "192.0.2.2/32", "2001:db8::2/128"),
	}, nil)
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
