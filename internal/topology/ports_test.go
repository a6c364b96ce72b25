package topology_test

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// line writes a port down: where, for what, to whom it is open, and who connects.
func line(p topology.Port) string {
	who := slices.Clone(p.Nodes)
	if p.Operator {
		who = append(who, "OPERATOR")
	}
	if p.Anybody {
		who = append(who, "ANYBODY")
	}
	var refs []string
	for _, ref := range p.Objects {
		refs = append(refs, ref.String())
	}
	return strings.TrimSpace(fmt.Sprintf("%s %d/%s %s %s <- %s %s", p.Node, p.Number, p.Protocol, p.Service, p.OpenTo, strings.Join(who, ","), strings.Join(refs, ",")))
}

func lines(ports []topology.Port) []string {
	var out []string
	for _, p := range ports {
		out = append(out, line(p))
	}
	return out
}

// full is a cluster of five nodes with everything that has ports.
func full() topology.Input {
	d := app()
	d.Router.Driver = spec.RouterHAProxy
	in := stored(map[string]spec.Database{"app": d},
		part("app", "a", spec.MemberVoter), part("app", "b", spec.MemberVoter), part("app", "c", spec.MemberVoter), part("app", "d", spec.MemberClient),
		part("gone", "a", spec.MemberVoter), part("app", "gone", spec.MemberVoter))
	www := serves(8080, &spec.Proxy{Driver: spec.ProxyHAProxy, Port: 80, TLSPort: 443}, "a", "b", "gone")
	www.Check = &spec.ApplicationCheck{Type: spec.CheckHTTP, Port: 8090}
	www.Removal = &spec.QuickRemoval{}
	asked := serves(7070, nil, "c")
	asked.Check = &spec.ApplicationCheck{Type: spec.CheckTCP}
	in.LoadBalancers = map[string]spec.LoadBalancer{
		"www.example.com": www,
		// It is before www and has its port of HTTPS for plain HTTP: www's proxy runs on b only.
		"api.example.com":    serves(9090, &spec.Proxy{Driver: spec.ProxyHAProxy, Port: 443}, "a"),
		"admin.example.com":  asked,
		"plain.example.com":  serves(8443, nil, "e"),
		"second.example.com": serves(8081, &spec.Proxy{Driver: spec.ProxyHAProxy, Port: 80}, "a"),
	}
	opens := func(name string, ports spec.PublicPorts) {
		n := in.Nodes[name]
		n.PublicPorts = ports
		in.Nodes[name] = n
	}
	opens("a", spec.PublicPorts{TCP: []int{25, 80}, UDP: []int{53}})
	opens("e", spec.PublicPorts{TCP: []int{8443}})
	in.Cluster.Ports.Map = 7470
	return in
}

func TestPorts(t *testing.T) {
	t.Parallel()
	const balancer = "loadbalancer/"
	want := map[string][]string{
		"a": {
			"a 25/tcp application public <- ANYBODY node/a",
			"a 53/udp application public <- ANYBODY node/a",
			"a 80/tcp proxy public <- ANYBODY " + balancer + "second.example.com",
			"a 443/tcp proxy public <- ANYBODY " + balancer + "api.example.com",
			"a 655/tcp mesh public <- b,c,d,e",
			"a 655/udp mesh public <- b,c,d,e",
			"a 7443/tcp api public <- b,c,d,e,OPERATOR",
			"a 7480/tcp health public <- b,ANYBODY",
			"a 22/tcp ssh operator <- OPERATOR",
			"a 655/udp probe mesh <- b,c,d,e",
			"a 3306/tcp database mesh <- b,c,d database/app",
			"a 7470/tcp map mesh <- b,c,d,e",
			"a 7481/tcp role-check mesh <- b,c,d database/app",
			"a 7946/tcp gossip mesh <- b,c,d,e",
			"a 7946/udp gossip mesh <- b,c,d,e",
			"a 8080/tcp application mesh <- b " + balancer + "www.example.com",
			"a 8090/tcp application mesh <- b " + balancer + "www.example.com",
			"a 6446/tcp router node <-  database/app",
			"a 6447/tcp router node <-  database/app",
			"a 8081/tcp application node <-  " + balancer + "second.example.com",
			"a 9090/tcp application node <-  " + balancer + "api.example.com",
		},
		"c": {
			"c 655/tcp mesh public <- a,b,d,e",
			"c 655/udp mesh public <- a,b,d,e",
			"c 7443/tcp api public <- a,b,d,e,OPERATOR",
			"c 7480/tcp health public <- ANYBODY",
			"c 22/tcp ssh operator <- OPERATOR",
			"c 655/udp probe mesh <- a,b,d,e",
			"c 3306/tcp database mesh <- a,b,d database/app",
			"c 7470/tcp map mesh <- a,b,d,e",
			"c 7481/tcp role-check mesh <- a,b,d database/app",
			"c 7946/tcp gossip mesh <- a,b,d,e",
			"c 7946/udp gossip mesh <- a,b,d,e",
			"c 6446/tcp router node <-  database/app",
			"c 6447/tcp router node <-  database/app",
			"c 7070/tcp application node <-  " + balancer + "admin.example.com",
		},
		"d": {
			"d 655/tcp mesh public <- a,b,c,e",
			"d 655/udp mesh public <- a,b,c,e",
			"d 7443/tcp api public <- a,b,c,e,OPERATOR",
			"d 7480/tcp health public <- ANYBODY",
			"d 22/tcp ssh operator <- OPERATOR",
			"d 655/udp probe mesh <- a,b,c,e",
			"d 7470/tcp map mesh <- a,b,c,e",
			"d 7946/tcp gossip mesh <- a,b,c,e",
			"d 7946/udp gossip mesh <- a,b,c,e",
			"d 6446/tcp router node <-  database/app",
			"d 6447/tcp router node <-  database/app",
		},
		"e": {
			"e 655/tcp mesh public <- a,b,c,d",
			"e 655/udp mesh public <- a,b,c,d",
			"e 7443/tcp api public <- a,b,c,d,OPERATOR",
			"e 7480/tcp health public <- ANYBODY",
			"e 8443/tcp application public <- ANYBODY node/e," + balancer + "plain.example.com",
			"e 22/tcp ssh operator <- OPERATOR",
			"e 655/udp probe mesh <- a,b,c,d",
			"e 7470/tcp map mesh <- a,b,c,d",
			"e 7946/tcp gossip mesh <- a,b,c,d",
			"e 7946/udp gossip mesh <- a,b,c,d",
		},
	}
	in := full()
	all := topology.Ports(in)
	for node, want := range want {
		got, err := topology.PortsOf(in, node)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, lines(got)); diff != "" {
			t.Errorf("ports of %s (-want +got):\n%s", node, diff)
		}
		if diff := cmp.Diff(got, all[node]); diff != "" {
			t.Errorf("ports of %s, and of %s among all (-want +got):\n%s", node, node, diff)
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(in.Nodes)), slices.Sorted(maps.Keys(all))); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	uses := []string{
		"a 655/tcp mesh public <- b,c,d,e", "a 655/udp mesh public <- b,c,d,e", "a 7443/tcp api public <- b,c,d,e,OPERATOR",
		"a 655/udp probe mesh <- b,c,d,e", "a 3306/tcp database mesh <- b,c,d database/app", "a 7470/tcp map mesh <- b,c,d,e", "a 7481/tcp role-check mesh <- b,c,d database/app",
		"a 7946/tcp gossip mesh <- b,c,d,e", "a 7946/udp gossip mesh <- b,c,d,e",
	}
	got := slices.DeleteFunc(lines(topology.Uses(all, "d")), func(s string) bool { return !strings.HasPrefix(s, "a ") })
	if diff := cmp.Diff(uses, got); diff != "" {
		t.Errorf("what d connects to at a (-want +got):\n%s", diff)
	}
	outside := topology.OutsidePorts(all["a"])
	if diff := cmp.Diff(spec.PublicPorts{TCP: []int{25, 80, 443, 655, 7443, 7480}, UDP: []int{53, 655}}, outside); diff != "" {
		t.Errorf("ports of a that everybody reaches (-want +got):\n%s", diff)
	}
}

func TestPortsOfNobody(t *testing.T) {
	t.Parallel()
	if _, err := topology.PortsOf(full(), "gone"); !errors.Is(err, topology.ErrUnknownNode) {
		t.Errorf("got %v, want ErrUnknownNode", err)
	}
}

// TestPortsNotKnownYet has a plan in which hardly anything is known.
func TestPortsNotKnownYet(t *testing.T) {
	t.Parallel()
	in := topology.Input{Nodes: map[string]spec.Node{"a": {}, "b": {}}, LoadBalancers: map[string]spec.LoadBalancer{"w": serves(0, &spec.Proxy{}, "a", "b")}}
	got, err := topology.PortsOf(in, "a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a 22/tcp ssh operator <- OPERATOR"}, lines(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPortsHold draws clusters and looks at what is true of the ports of each: the lists are sorted and name nodes of the cluster
// other than the node itself, every pair of nodes reaches mesh, API and gossip of each other, every router reaches every member,
// and nothing of a database or of gossip is open to the public.
func TestPortsHold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawCluster(t)
		all := topology.Ports(in)
		reaches := func(from, to string, service topology.Service) bool {
			return slices.ContainsFunc(all[to], func(p topology.Port) bool { return p.Service == service && slices.Contains(p.Nodes, from) })
		}
		for node, ports := range all {
			seen := map[string]bool{}
			for _, p := range ports {
				if !slices.IsSorted(p.Nodes) || slices.Contains(p.Nodes, node) || p.Node != node || p.Number < 1 || p.Purpose == "" {
					t.Fatalf("bad port %+v of %s", p, node)
				}
				for _, other := range p.Nodes {
					if _, there := in.Nodes[other]; !there {
						t.Fatalf("%s is open to %s, which is not in the cluster", line(p), other)
					}
				}
				key := fmt.Sprint(p.Number, p.Protocol, p.Service, p.OpenTo)
				if seen[key] {
					t.Fatalf("%s is there twice", line(p))
				}
				seen[key] = true
				inside := []topology.Service{topology.ServiceProbe, topology.ServiceGossip, topology.ServiceDatabase, topology.ServiceRoleCheck}
				if slices.Contains(inside, p.Service) && p.OpenTo != topology.OpenToMesh || p.Service == topology.ServiceRouter && p.OpenTo != topology.OpenToNode {
					t.Fatalf("%s is open too wide", line(p))
				}
			}
			for other := range in.Nodes {
				for _, service := range []topology.Service{topology.ServiceMesh, topology.ServiceAPI, topology.ServiceGossip} {
					if other != node && !reaches(other, node, service) {
						t.Fatalf("%s does not reach %s of %s", other, service, node)
					}
				}
			}
		}
		for _, member := range in.DatabaseMembers {
			for _, other := range in.DatabaseMembers {
				_, there := in.Nodes[member.Node]
				_, too := in.Nodes[other.Node]
				if member.Role == spec.MemberVoter && member.Node != other.Node && there && too && !reaches(other.Node, member.Node, topology.ServiceDatabase) {
					t.Fatalf("the router of %s does not reach the member on %s", other.Node, member.Node)
				}
			}
		}
	})
}

func drawCluster(t *rapid.T) topology.Input {
	in := topology.Input{ClusterName: "web", Cluster: testCluster("10.66.0.0/16"), Nodes: map[string]spec.Node{}, DatabaseMembers: map[string]spec.Member{}, LoadBalancers: map[string]spec.LoadBalancer{}}
	port := rapid.SampledFrom([]int{80, 443, 3306, 8080, 8090, 655, 7443})
	for i := range rapid.IntRange(1, 6).Draw(t, "nodes") {
		n := testNode(netip.AddrFrom4([4]byte{10, 66, 0, byte(i + 1)}).String())
		n.PublicPorts.TCP = rapid.SliceOfNDistinct(port, 0, 3, rapid.ID).Draw(t, "public")
		in.Nodes[fmt.Sprintf("n%d", i)] = n
	}
	name := rapid.SampledFrom([]string{"n0", "n1", "n2", "n3", "n4", "n5"})
	in.Databases = map[string]spec.Database{"app": app()}
	if rapid.Bool().Draw(t, "haproxy") {
		in.Databases["app"] = with(app(), func(d *spec.Database) { d.Router.Driver = spec.RouterHAProxy })
	}
	for _, node := range rapid.SliceOfDistinct(name, rapid.ID).Draw(t, "members") {
		m := part("app", node, rapid.SampledFrom(spec.MemberRoles()).Draw(t, "role"))
		in.DatabaseMembers[m.Name()] = m
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "balancers") {
		var proxy *spec.Proxy
		if rapid.Bool().Draw(t, "proxied") {
			proxy = &spec.Proxy{Driver: spec.ProxyHAProxy, Port: port.Draw(t, "plain")}
		}
		lb := serves(port.Draw(t, "port"), proxy, rapid.SliceOfDistinct(name, rapid.ID).Draw(t, "serving")...)
		if rapid.Bool().Draw(t, "checked") {
			lb.Check = &spec.ApplicationCheck{Type: rapid.SampledFrom(spec.CheckTypes()).Draw(t, "check"), Port: rapid.SampledFrom([]int{0, 8090}).Draw(t, "asked")}
		}
		in.LoadBalancers[fmt.Sprintf("h%d", i)] = lb
	}
	return in
}
