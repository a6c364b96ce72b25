//go:build linux

package e2e_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// detourIsDrawn demands that the operator sees, on the map and of each end, that a link has no direct path, while its nodes reach
// each other all the same: what works until the third node goes down.
func detourIsDrawn(t *testing.T, s *site, from, to, via string) {
	t.Helper()
	svg, err := s.Atoll(t.Context(), "map")
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal([]byte(svg), new(struct{})); err != nil {
		t.Errorf("the map is no XML: %v", err)
	}
	if want := fmt.Sprintf("%s to %s: via %s", from, to, via); !strings.Contains(svg, want) {
		t.Errorf("the map does not say %q:\n%s", want, svg)
	}
	text, err := s.Atoll(t.Context(), "status", "--explain", to)
	if err == nil {
		t.Errorf("the exit code says that nothing is wrong with %s", to)
	}
	ports := "655/tcp and 655/udp"
	if slices.Contains(s.Work.Env, meshOfWireGuard) {
		ports = "655/udp"
	}
	for _, want := range []string{fmt.Sprintf("no direct path between %s and %s: traffic goes by %s", to, from, via), "Open " + ports + " at both"} {
		if !strings.Contains(text, want) {
			t.Errorf("what is said of %s lacks %q:\n%s", to, want, text)
		}
	}
}

// portsAreOpen compares the table of ports with what the firewall of a machine of Atoll's image lets in, and with where its programs
// listen.
func portsAreOpen(t *testing.T, s *site) {
	const node = "sg1"
	out, err := s.Atoll(t.Context(), "ports", node, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Nodes map[string]struct{ Opens []topology.Port }
	}
	if err := json.Unmarshal([]byte(out), &table); err != nil {
		t.Fatal(err)
	}
	ports := table.Nodes[node].Opens
	outside := topology.OutsidePorts(ports)
	for set, want := range map[string][]int{"open_tcp": outside.TCP, "open_udp": outside.UDP} {
		text, err := s.Exec(t.Context(), node, "nft", "-j", "list", "set", "inet", "atoll_base", set)
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if diff := cmp.Diff(want, elementsOf(t, text)); diff != "" {
			t.Errorf("%s of %s (-table +firewall):\n%s", set, node, diff)
		}
	}
	listening, err := s.Exec(t.Context(), node, "ss", "-H", "-l", "-n", "-t", "-u")
	if err != nil {
		t.Fatalf("%v: %s", err, listening)
	}
	for _, p := range ports {
		if !slices.ContainsFunc(strings.Split(string(listening), "\n"), func(line string) bool {
			fields := strings.Fields(line)
			return len(fields) > 4 && fields[0] == string(p.Protocol) && strings.HasSuffix(fields[4], fmt.Sprintf(":%d", p.Number))
		}) {
			t.Errorf("nothing listens at %d/%s of %s (%s):\n%s", p.Number, p.Protocol, node, p.Service, listening)
		}
	}
}

// elementsOf returns the ports in a set of nft's, in ascending order. It prints neighbours as a range or one by one.
func elementsOf(t *testing.T, text []byte) []int {
	t.Helper()
	var list struct {
		Objects []struct {
			Set *struct {
				Elements []json.RawMessage `json:"elem"`
			} `json:"set"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, o := range list.Objects {
		if o.Set == nil {
			continue
		}
		for _, raw := range o.Set.Elements {
			var port int
			if json.Unmarshal(raw, &port) == nil {
				out = append(out, port)
				continue
			}
			var r struct{ Range [2]int }
			if err := json.Unmarshal(raw, &r); err != nil {
				t.Fatalf("%s: %v", raw, err)
			}
			for p := r.Range[0]; p <= r.Range[1]; p++ {
				out = append(out, p)
			}
		}
	}
	slices.Sort(out)
	return out
}
