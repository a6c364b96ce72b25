package analysis_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology/analysis"
)

// line is a finding in short.
func line(f analysis.Finding) string {
	text := fmt.Sprintf("%s %s", f.Severity, f.Problem)
	for _, l := range f.Losses {
		text += " " + l.String()
	}
	for _, ref := range f.Affected {
		text += " > " + ref.String()
	}
	if f.Told != nil {
		text += fmt.Sprintf(" %s>%s %s of %s: %s", f.Told.From, f.Told.To, f.Told.Side, f.Told.Node(), analysis.Ports(f.Told.Ports))
	}
	if f.Accepted {
		text += " (accepted)"
	}
	return text
}

func lines(r analysis.Result) []string {
	out := []string{}
	for _, f := range r.Findings {
		out = append(out, line(f))
	}
	return out
}

func TestFindings(t *testing.T) {
	t.Parallel()
	const ports = "TCP 655 (mesh), UDP 655 (mesh), TCP 7443 (api)"
	tests := []struct {
		name  string
		build func() analysis.Input
		want  []string
	}{
		{"three sites of three providers", func() analysis.Input {
			in := cluster("p1/s1", "p2/s2", "p3/s3")
			database(in, "app", 3, "a", "b", "c")
			pair(in, "files", "/srv/files", "a", "b")
			return in
		}, []string{}},
		{"the trap of a one-sided firewall", func() analysis.Input {
			// C and B see A, A can reach C and B: it works until C is away from B's side of things.
			in := cluster("p1/s1", "p2/s2", "p3/s3")
			letsIn(in, "a", "c")
			return in
		}, []string{"error blocked > link/a.b b>a inbound of a: " + ports}},
		{"two that only a third joins", func() analysis.Input {
			in := cluster("p1/s1", "p2/s2", "p3/s3")
			letsIn(in, "a", "c")
			letsIn(in, "b", "c")
			return in
		}, []string{
			"error blocked > link/a.b b>a inbound of a: " + ports, "error blocked > link/a.b a>b inbound of b: " + ports,
			"warning apart node/c site/s3 provider/p3 > cluster/web", "warning apart link/a.c > cluster/web", "warning apart link/b.c > cluster/web",
		}},
		{"accepted where it is", func() analysis.Input {
			in := cluster("p1/s1", "p2/s2", "p3/s3")
			letsIn(in, "a", "c")
			change(in, "a", func(n *spec.Node) { n.Firewall.Accept.Blocked = []string{"b"} })
			return in
		}, []string{"error blocked > link/a.b b>a inbound of a: " + ports + " (accepted)"}},
		{"nobody let out", func() analysis.Input {
			in := cluster("p1/s1", "p2/s2")
			change(in, "a", func(n *spec.Node) { n.Firewall = &spec.Firewall{Outbound: []spec.FirewallRule{}} })
			return in
		}, []string{"error blocked > link/a.b a>b outbound of a: " + ports, "warning apart link/a.b > cluster/web"}},
		{"no UDP", func() analysis.Input {
			in := cluster("p1/s1", "p2/s2", "p3/s3")
			change(in, "a", func(n *spec.Node) { n.Firewall = &spec.Firewall{Inbound: []spec.FirewallRule{{Protocol: "tcp"}}} })
			in.Links["a.b"] = spec.Link{From: "b", To: "a", Settings: spec.LinkSettings{TCPOnly: true}}
			return in
		}, []string{"warning blocked > link/a.c c>a inbound of a: UDP 655 (mesh)"}},
		{"the database is not reached over the mesh", func() analysis.Input {
			in := cluster("p1/s1", "p2/s2", "p3/s3")
			database(in, "app", 3, "a", "b", "c")
			change(in, "c", func(n *spec.Node) {
				n.Firewall = &spec.Firewall{Mesh: []spec.FirewallRule{
					{Protocol: "tcp", Ports: []string{"7000-8000"}}, {Protocol: "udp"}, {Protocol: "tcp", Peers: []string{"10.66.0.1"}},
				}}
			})
			return in
		}, []string{"error blocked > link/b.c b>c mesh of c: TCP 3306 (database)"}},
		{"addresses that are not known yet", func() analysis.Input {
			in := cluster("p1/s1", "p2/s2", "p3/s3")
			letsIn(in, "a", "192.0.2.3", "198.51.100.0/24")
			in.Unsure = map[string]bool{"b": true}
			change(in, "b", func(n *spec.Node) { n.Addresses = nil })
			return in
		}, []string{}},
		{"addresses that are known by now", func() analysis.Input {
			in := cluster("p1/s1", "p2/s2", "p3/s3")
			letsIn(in, "a", "192.0.2.3", "198.51.100.0/24")
			return in
		}, []string{"error blocked > link/a.b b>a inbound of a: " + ports}},
		{"a rule for nobody that is there", func() analysis.Input {
			in := cluster("p1/s1", "p2/s2", "p3/s3")
			letsIn(in, "a", "b", "c", "d")
			return in
		}, []string{"warning unknown-peer > node/a"}},
		{"two without an address", func() analysis.Input {
			in := cluster("p1/s1", "p2/s2", "p3/s3")
			for _, name := range []string{"a", "b"} {
				change(in, name, func(n *spec.Node) { n.Addresses = nil })
			}
			return in
		}, []string{
			"warning no-link > cluster/web",
			"warning apart node/c site/s3 provider/p3 > cluster/web", "warning apart link/a.c > cluster/web", "warning apart link/b.c > cluster/web",
		}},
		{"a mesh in two parts", func() analysis.Input {
			in := cluster("p1/s1", "p2/s2", "p3/s3")
			database(in, "app", 3, "a", "b", "c")
			for _, name := range []string{"a", "b", "c"} {
				change(in, name, func(n *spec.Node) { n.Addresses = nil })
			}
			return in
		}, []string{"error apart > cluster/web", "error no-quorum > database/app", "warning no-link > cluster/web"}},
		{"a database of one site and one provider", func() analysis.Input {
			in := cluster("p1/s1", "p2/s1", "p1/s2", "p3/s3", "p4/s4")
			database(in, "app", 3, "a", "b", "d")
			database(in, "shop", 3, "a", "c", "d")
			d := in.Databases["shop"]
			d.Accept.Providers = []string{"p1"}
			in.Databases["shop"] = d
			return in
		}, []string{"warning no-quorum site/s1 > database/app", "warning no-quorum provider/p1 > database/shop (accepted)"}},
		{"a database that is not whole yet", func() analysis.Input {
			in := cluster("p1/s1", "p2/s2", "p3/s3")
			database(in, "app", 3, "a", "b")
			database(in, "shop", 3, "c")
			return in
		}, []string{
			"warning no-quorum > database/shop",
			"warning no-quorum node/a site/s1 provider/p1 > database/app", "warning no-quorum node/b site/s2 provider/p2 > database/app",
		}},
		{"votes that are not known yet", func() analysis.Input {
			in := cluster("p1/s1", "p2/s2", "p3/s3")
			database(in, "app", 0, "a")
			return in
		}, []string{}},
		{"all at one provider", func() analysis.Input {
			in := cluster("p1/s1", "p1/s2", "p1/s3")
			database(in, "app", 3, "a", "b", "c")
			return in
		}, []string{"warning no-node provider/p1 > cluster/web"}},
		{"a domain that is not known yet", func() analysis.Input { return cluster("/", "/", "/") }, []string{}},
		{"files and hostnames of one site", func() analysis.Input {
			in := cluster("p1/s1", "p2/s1", "p3/s3")
			pair(in, "files", "/srv/files", "a", "b")
			balancer(in, "www.example.com", "a", "b")
			in.Accept = map[string][]string{
				"edge/cloudflare": {"loadbalancer/www.example.com"}, "site/s1": {"pair/files", "database/app"}, "node/x": {"cluster/web"},
			}
			return in
		}, []string{
			"warning no-copy site/s1 > pair/files (accepted)", "warning no-server site/s1 > loadbalancer/www.example.com",
			"warning no-edge edge/cloudflare > loadbalancer/www.example.com (accepted)",
		}},
		{"a star of pairs", func() analysis.Input {
			in := cluster("p1/s1", "p2/s2", "p3/s3", "p4/s4")
			pair(in, "ab", "/srv/files", "a", "b")
			pair(in, "cd", "/srv/files", "c", "d")
			pair(in, "bc", "/srv/files", "b", "c")
			pair(in, "other", "/srv/other", "a", "c")
			return in
		}, []string{
			"warning no-way node/b site/s2 provider/p2 > pair/ab > pair/bc > pair/cd",
			"warning no-way node/c site/s3 provider/p3 > pair/ab > pair/bc > pair/cd",
		}},
		{"nothing", func() analysis.Input { return cluster() }, []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := analysis.Analyze(tt.build())
			if diff := cmp.Diff(tt.want, lines(r)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			for _, f := range r.Findings {
				if f.Message == "" || f.Remedy == "" || strings.Contains(f.Message+f.Remedy, "%!") || strings.HasSuffix(f.Remedy, ".") {
					t.Errorf("got message %q and remedy %q", f.Message, f.Remedy)
				}
			}
		})
	}
}

// TestText holds what people read of the trap of R24: the pair, the ports, the side and what to do.
func TestText(t *testing.T) {
	t.Parallel()
	in := cluster("p1/s1", "p2/s2", "p3/s3")
	letsIn(in, "a", "c")
	f := analysis.Analyze(in).Findings[0]
	want := `the firewall of node "a" does not let node "b" in at TCP 655 (mesh), UDP 655 (mesh), TCP 7443 (api): ` +
		`their link hangs on a connecting to b, and on other nodes while it does not`
	if f.Message != want {
		t.Errorf("got %s", f.Message)
	}
	if want := `open it there and in firewall.inbound, or say that it is meant to be so: accept = { blocked = ["b"] } in the firewall of "a"`; f.Remedy != want {
		t.Errorf("got %s", f.Remedy)
	}
	letsIn(in, "b", "c")
	r := analysis.Analyze(in)
	at := slices.IndexFunc(r.Findings, func(f analysis.Finding) bool { return f.Problem == analysis.Apart })
	if at < 0 {
		t.Fatal("removing c leaves a mesh in parts, and nothing says so")
	}
	f = r.Findings[at]
	if got, want := f.Cause(), `node "c", which is all of site "s3" and provider "p3"`; got != want {
		t.Errorf("got %s", got)
	}
	if want := "the nodes that are left do not all reach each other: a | b"; f.Message != want {
		t.Errorf("got %s", f.Message)
	}
	if want := "let a node of each part connect to one of another at port 655 of the mesh, such as a to b or the other way round"; f.Remedy != want {
		t.Errorf("got %s", f.Remedy)
	}
	if want := `accept = { "node/c" = ["cluster/web"] }`; f.Accept != want {
		t.Errorf("got %s", f.Accept)
	}
	in.Accept = map[string][]string{"site/s3": {"cluster/web"}, "node/a": {"database/app"}}
	if r := analysis.Analyze(in); !r.Findings[at].Accepted || !slices.Equal(r.Unused, []string{"node/a: database/app"}) {
		t.Errorf("got %+v, unused %q", r.Findings[at], r.Unused)
	}
}

func TestImpacts(t *testing.T) {
	t.Parallel()
	in := cluster("p1/s1", "p1/s2", "p2/s3")
	database(in, "app", 3, "a", "b", "c")
	balancer(in, "www.example.com", "a")
	var got []string
	for _, i := range analysis.Analyze(in).Impacts {
		got = append(got, fmt.Sprintf("%s %v: %v", i.Loss, i.Nodes, i.Stops))
	}
	want := []string{
		"node/a [a]: [loadbalancer/www.example.com]", "site/s1 [a]: [loadbalancer/www.example.com]",
		"provider/p1 [a b]: [database/app loadbalancer/www.example.com]", "edge/cloudflare []: [loadbalancer/www.example.com]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("impacts (-want +got):\n%s", diff)
	}
	if got := fmt.Sprint(analysis.Lose(in, "b", "c", "nobody")); got != "[database/app]" {
		t.Errorf("losing b and c stops %s", got)
	}
}
