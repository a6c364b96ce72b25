package topology_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// opening writes an opening down: where, what, and from whom.
func opening(o topology.Opening) string {
	at, who := "public", []string{}
	if o.Mesh {
		at = "mesh"
	}
	if o.Anybody4 {
		who = append(who, "ANY4")
	}
	if o.Anybody6 {
		who = append(who, "ANY6")
	}
	for _, p := range o.From {
		who = append(who, p.String())
	}
	return fmt.Sprintf("%s %s/%s %s <- %s", at, o.PortText(), o.Protocol, o.Service, strings.Join(who, ","))
}

func openings(t *testing.T, in topology.Input, node string) []string {
	t.Helper()
	f, err := topology.HostFirewallOf(in, node)
	if err != nil {
		t.Fatal(err)
	}
	if f == nil {
		return nil
	}
	var out []string
	for _, o := range f.Openings {
		out = append(out, opening(o))
	}
	return out
}

// enforcing returns a cluster of nodes a, b and c that enforce the filter, with a database on a and b.
func enforcing(wish spec.HostFirewall) topology.Input {
	wish.Enforce, wish.ConfirmSeconds = true, spec.DefaultConfirmSeconds
	in := topology.Input{
		ClusterName: "web", Cluster: testCluster("10.66.0.0/16"), Nodes: map[string]spec.Node{}, Databases: map[string]spec.Database{"app": app()},
		DatabaseMembers: map[string]spec.Member{},
	}
	for i, name := range []string{"a", "b", "c"} {
		n := testNode(netip.AddrFrom4([4]byte{10, 66, 0, byte(i + 1)}).String())
		n.Addresses = []string{netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}).String()}
		n.HostFirewall = &wish
		in.Nodes[name] = n
	}
	for _, name := range []string{"a", "b"} {
		m := part("app", name, spec.MemberVoter)
		in.DatabaseMembers[m.Name()] = m
	}
	return in
}

func addresses(in topology.Input, node string, addresses ...string) {
	n := in.Nodes[node]
	n.Addresses = addresses
	in.Nodes[node] = n
}

func TestHostFirewall(t *testing.T) {
	t.Parallel()
	plain := enforcing(spec.HostFirewall{})
	operators := enforcing(spec.HostFirewall{Operators: []string{"203.0.113.0/24", "203.0.113.7", "2001:db8::/32", "198.51.100.9"}, Open: []spec.FirewallRule{
		{Protocol: "tcp", Ports: []string{"9100", "8000-8080"}, Peers: []string{"192.0.2.128/25", "c", "nobody"}}, {Protocol: "udp", Ports: []string{"514"}}, {Protocol: "tcp", Peers: []string{}},
	}})
	hidden := enforcing(spec.HostFirewall{})
	addresses(hidden, "b")
	names := enforcing(spec.HostFirewall{Operators: []string{"203.0.113.7"}, Open: []spec.FirewallRule{{Protocol: "tcp", Ports: []string{"9100"}, Peers: []string{"c"}}}})
	addresses(names, "c", "c.example.com")
	tunnel := enforcing(spec.HostFirewall{})
	tunnel.Cluster.Mesh.Driver = spec.MeshWireGuard
	dual := enforcing(spec.HostFirewall{Operators: []string{"203.0.113.7"}})
	addresses(dual, "a", "192.0.2.1", "2001:db8::1")
	addresses(dual, "b", "192.0.2.2", "2001:db8::2")
	tests := []struct {
		name string
		in   topology.Input
		node string
		want []string
	}{
		{"a member of a database", plain, "a", []string{
			"public 22/tcp ssh <- ANY4,ANY6", "public 655/tcp mesh <- 192.0.2.2/32,192.0.2.3/32", "public 655/udp mesh <- 192.0.2.2/32,192.0.2.3/32",
			"public 7443/tcp api <- ANY4,ANY6", "public 7480/tcp health <- ANY4,ANY6",
			"mesh 22/tcp ssh <- ANY4,ANY6", "mesh 655/udp probe <- 10.66.0.2/32,10.66.0.3/32", "mesh 3306/tcp database <- 10.66.0.2/32", "mesh 7443/tcp api <- ANY4,ANY6", "mesh 7480/tcp health <- ANY4,ANY6",
			"mesh 7946/tcp gossip <- 10.66.0.2/32,10.66.0.3/32", "mesh 7946/udp gossip <- 10.66.0.2/32,10.66.0.3/32",
		}},
		{"operators and others", operators, "a", []string{
			"public 22/tcp ssh <- 198.51.100.9/32,203.0.113.0/24,2001:db8::/32",
			"public 514/udp application <- ANY4,ANY6",
			"public 655/tcp mesh <- 192.0.2.2/32,192.0.2.3/32", "public 655/udp mesh <- 192.0.2.2/32,192.0.2.3/32",
			"public 7443/tcp api <- 192.0.2.2/32,192.0.2.3/32,198.51.100.9/32,203.0.113.0/24,2001:db8::/32", "public 7480/tcp health <- ANY4,ANY6",
			"public 8000-8080/tcp application <- 192.0.2.3/32,192.0.2.128/25", "public 9100/tcp application <- 192.0.2.3/32,192.0.2.128/25",
			"mesh 22/tcp ssh <- 198.51.100.9/32,203.0.113.0/24,2001:db8::/32", "mesh 514/udp application <- ANY4,ANY6", "mesh 655/udp probe <- 10.66.0.2/32,10.66.0.3/32", "mesh 3306/tcp database <- 10.66.0.2/32",
			"mesh 7443/tcp api <- ANY4,ANY6", "mesh 7480/tcp health <- ANY4,ANY6",
			"mesh 7946/tcp gossip <- 10.66.0.2/32,10.66.0.3/32", "mesh 7946/udp gossip <- 10.66.0.2/32,10.66.0.3/32",
			"mesh 8000-8080/tcp application <- 10.66.0.3/32,192.0.2.128/25", "mesh 9100/tcp application <- 10.66.0.3/32,192.0.2.128/25",
		}},
		{"no part in the database", plain, "c", []string{
			"public 22/tcp ssh <- ANY4,ANY6", "public 655/tcp mesh <- 192.0.2.1/32,192.0.2.2/32", "public 655/udp mesh <- 192.0.2.1/32,192.0.2.2/32",
			"public 7443/tcp api <- ANY4,ANY6", "public 7480/tcp health <- ANY4,ANY6",
			"mesh 22/tcp ssh <- ANY4,ANY6", "mesh 655/udp probe <- 10.66.0.1/32,10.66.0.2/32", "mesh 7443/tcp api <- ANY4,ANY6", "mesh 7480/tcp health <- ANY4,ANY6",
			"mesh 7946/tcp gossip <- 10.66.0.1/32,10.66.0.2/32", "mesh 7946/udp gossip <- 10.66.0.1/32,10.66.0.2/32",
		}},
		{"another is behind somebody's address", hidden, "a", []string{
			"public 22/tcp ssh <- ANY4,ANY6", "public 655/tcp mesh <- ANY4,ANY6", "public 655/udp mesh <- ANY4,ANY6",
		}},
		{"another has a host name", names, "a", []string{
			"public 22/tcp ssh <- 203.0.113.7/32", "public 655/tcp mesh <- ANY4,ANY6", "public 655/udp mesh <- ANY4,ANY6",
			"public 7443/tcp api <- ANY4,ANY6", "public 7480/tcp health <- ANY4,ANY6", "mesh 22/tcp ssh <- 203.0.113.7/32",
		}},
		{"a mesh of WireGuard", tunnel, "c", []string{
			"public 22/tcp ssh <- ANY4,ANY6", "public 655/udp mesh <- 192.0.2.1/32,192.0.2.2/32", "public 7443/tcp api <- ANY4,ANY6", "public 7480/tcp health <- ANY4,ANY6",
			"mesh 22/tcp ssh <- ANY4,ANY6", "mesh 655/udp probe <- 10.66.0.1/32,10.66.0.2/32", "mesh 7443/tcp api <- ANY4,ANY6", "mesh 7480/tcp health <- ANY4,ANY6", "mesh 7655/udp mesh <- fe80::/10",
		}},
		{"IPv6 that not all have", dual, "a", []string{
			"public 22/tcp ssh <- 203.0.113.7/32", "public 655/tcp mesh <- ANY6,192.0.2.2/32,192.0.2.3/32", "public 655/udp mesh <- ANY6,192.0.2.2/32,192.0.2.3/32",
			"public 7443/tcp api <- ANY6,192.0.2.2/32,192.0.2.3/32,203.0.113.7/32",
		}},
		{"IPv6 that only others have", dual, "c", []string{
			"public 22/tcp ssh <- 203.0.113.7/32", "public 655/tcp mesh <- 192.0.2.1/32,192.0.2.2/32,2001:db8::1/128,2001:db8::2/128",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := openings(t, tt.in, tt.node)
			if diff := cmp.Diff(tt.want, got[:min(len(tt.want), len(got))]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestHostFirewallNone(t *testing.T) {
	t.Parallel()
	in := enforcing(spec.HostFirewall{})
	n := in.Nodes["a"]
	n.HostFirewall = &spec.HostFirewall{ConfirmSeconds: 60}
	in.Nodes["a"] = n
	n.HostFirewall = nil
	in.Nodes["b"] = n
	for _, name := range []string{"a", "b"} {
		if got := openings(t, in, name); got != nil {
			t.Errorf("%s lets in %v, want no filter", name, got)
		}
	}
	if _, err := topology.HostFirewallOf(in, "gone"); !errors.Is(err, topology.ErrUnknownNode) {
		t.Errorf("got %v, want ErrUnknownNode", err)
	}
}

// TestHostFirewallClosure draws clusters that enforce the filter: whoever the model says connects to a port gets through from every
// address that it is known by, strangers reach what is open to everybody and nothing of what only the mesh may, and nothing is
// open that no port is behind.
func TestHostFirewallClosure(t *testing.T) {
	t.Parallel()
	stranger, operator := netip.MustParseAddr("198.51.100.77"), netip.MustParseAddr("203.0.113.9")
	rapid.Check(t, func(t *rapid.T) {
		in := drawCluster(t)
		i := 0
		for name, n := range in.Nodes {
			i++
			n.Addresses = rapid.SampledFrom([][]string{{fmt.Sprintf("192.0.2.%d", i)}, {fmt.Sprintf("192.0.2.%d", i), fmt.Sprintf("2001:db8::%d", i)}, {name + ".example.com"}, nil}).Draw(t, "addresses")
			n.HostFirewall = &spec.HostFirewall{Enforce: true, ConfirmSeconds: 60, Operators: []string{"203.0.113.0/24"}}
			in.Nodes[name] = n
		}
		for name, ports := range topology.Ports(in) {
			f, err := topology.HostFirewallOf(in, name)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.IsSortedFunc(f.Openings, func(a, b topology.Opening) int {
				if a.Mesh == b.Mesh {
					return a.First - b.First
				}
				return 0
			}) {
				t.Fatalf("not sorted: %v", f.Openings)
			}
			public := map[string]bool{}
			for _, p := range ports {
				key := fmt.Sprint(p.Protocol, p.Number)
				public[key] = public[key] || p.OpenTo == topology.OpenToPublic || p.OpenTo == topology.OpenToOperator
				if p.Anybody && p.OpenTo == topology.OpenToPublic && !f.Admits(p.Protocol, p.Number, false, stranger) {
					t.Fatalf("%s is closed to a stranger", line(p))
				}
				if p.Operator && !f.Admits(p.Protocol, p.Number, false, operator) {
					t.Fatalf("%s is closed to the operator", line(p))
				}
				for _, caller := range p.Nodes {
					if p.OpenTo == topology.OpenToMesh && !f.Admits(p.Protocol, p.Number, true, in.Nodes[caller].MeshAddress) {
						t.Fatalf("%s is closed to %s over the mesh", line(p), caller)
					}
					for _, text := range in.Nodes[caller].Addresses {
						addr, err := netip.ParseAddr(text)
						if p.OpenTo == topology.OpenToPublic && err == nil && !f.Admits(p.Protocol, p.Number, false, addr) {
							t.Fatalf("%s is closed to %s at %s", line(p), caller, text)
						}
					}
				}
			}
			for _, o := range f.Openings {
				if !o.Mesh && !public[fmt.Sprint(o.Protocol, o.First)] {
					t.Fatalf("%s of %s is open in public, and no port is there", opening(o), name)
				}
			}
		}
	})
}

func TestHostFirewallNarrower(t *testing.T) {
	t.Parallel()
	of := func(in topology.Input) *topology.HostFirewall {
		f, err := topology.HostFirewallOf(in, "a")
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	office, home := spec.HostFirewall{Operators: []string{"203.0.113.0/25"}}, spec.HostFirewall{Operators: []string{"198.51.100.7"}}
	moved, more, less, served := enforcing(office), enforcing(office), enforcing(office), enforcing(office)
	addresses(moved, "b", "192.0.2.99")
	addresses(more, "b", "192.0.2.2", "192.0.2.99")
	delete(less.Nodes, "c")
	delete(served.DatabaseMembers, "app.b")
	tests := []struct {
		name      string
		have, now *topology.HostFirewall
		want      bool
	}{
		{"the first one", nil, of(enforcing(spec.HostFirewall{})), true},
		{"none any more", of(enforcing(office)), nil, false},
		{"the same", of(enforcing(office)), of(enforcing(office)), false},
		{"operators are named", of(enforcing(spec.HostFirewall{})), of(enforcing(office)), true},
		{"other operators", of(enforcing(office)), of(enforcing(home)), true},
		{"a larger network of operators", of(enforcing(office)), of(enforcing(spec.HostFirewall{Operators: []string{"203.0.113.0/24"}})), false},
		{"everybody administers", of(enforcing(office)), of(enforcing(spec.HostFirewall{})), false},
		{"a node has another address", of(enforcing(office)), of(moved), true},
		{"a node has one address more", of(enforcing(office)), of(more), false},
		{"a node less", of(enforcing(office)), of(less), true},
		{"a node more", of(less), of(enforcing(office)), false},
		{"a member of a database less", of(enforcing(office)), of(served), false},
	}
	for _, tt := range tests {
		if got := tt.have.Narrower(tt.now); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.name, got, tt.want)
		}
	}
}

// TestPortsThatAFilterOpens has the table of ports name what a packet filter lets in beside what the cluster needs.
func TestPortsThatAFilterOpens(t *testing.T) {
	t.Parallel()
	in := enforcing(spec.HostFirewall{Open: []spec.FirewallRule{
		{Protocol: "tcp", Ports: []string{"9100-9101"}, Peers: []string{"c", "203.0.113.7"}}, {Protocol: "udp", Ports: []string{"514", "20000-30000"}},
	}})
	named := func(in topology.Input) []string {
		ports, err := topology.PortsOf(in, "a")
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(lines(ports), func(line string) bool { return !strings.Contains(line, " application ") })
	}
	want := []string{
		"a 514/udp application public <- ANYBODY node/a", "a 9100/tcp application public <- c node/a", "a 9101/tcp application public <- c node/a",
	}
	if diff := cmp.Diff(want, named(in)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	n := in.Nodes["a"]
	n.HostFirewall = &spec.HostFirewall{Open: n.HostFirewall.Open, ConfirmSeconds: 60}
	in.Nodes["a"] = n
	if got := named(in); len(got) != 0 {
		t.Errorf("without a filter it names %v", got)
	}
}
