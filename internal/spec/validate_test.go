package spec_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func cluster(change func(*spec.Cluster)) spec.Cluster {
	c := spec.Cluster{
		MeshCIDR: netip.MustParsePrefix("10.66.0.0/16"),
		Mesh:     spec.DefaultMesh(),
		Ports:    spec.DefaultPorts(),
	}
	if change != nil {
		change(&c)
	}
	return c
}

func node(change func(*spec.Node)) spec.Node {
	n := spec.Node{
		Provider:    "linode",
		Site:        "singapore",
		MeshAddress: netip.MustParseAddr("10.66.0.5"),
		Addresses:   []string{"203.0.113.5"},
		Machine:     spec.Machine{Variant: spec.MachineLinode, ID: "12"},
	}
	if change != nil {
		change(&n)
	}
	return n
}

func link(change func(*spec.Link)) spec.Link {
	l := spec.Link{From: "hk1", To: "sg1"}
	if change != nil {
		change(&l)
	}
	return l
}

func balancer(change func(*spec.LoadBalancer)) spec.LoadBalancer {
	b := spec.LoadBalancer{
		Nodes: map[string]spec.ServingNode{"hk1": {Enabled: true, Port: 8080}, "sg1": {Enabled: true, Port: 8080}},
		Check: &spec.ApplicationCheck{Type: spec.CheckHTTP, Path: "/health?deep=1", HostHeader: "app.example.com", Status: 204},
	}
	if change != nil {
		change(&b)
	}
	return b
}

// checked returns a load balancer with that check.
func checked(c spec.ApplicationCheck) spec.LoadBalancer {
	return balancer(func(b *spec.LoadBalancer) { b.Check = &c })
}

func maintenance(reason string) spec.Maintenance {
	return spec.Maintenance{Reason: reason, Since: time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)}
}

func upgrading(change func(*spec.Upgrade)) spec.Maintenance {
	m := maintenance("upgrade")
	m.Upgrade = &spec.Upgrade{ID: "u20261121-080000-abcd", Node: "hk1", Pairs: []string{"uploads"}, Step: spec.UpgradeChange, At: m.Since}
	change(m.Upgrade)
	return m
}

func TestBodiesNameTheFieldThatIsWrong(t *testing.T) {
	tests := []struct {
		name string
		body spec.Body
		want []string // "field: part of the message"
	}{
		{"a cluster with defaults", cluster(nil), nil},
		{"a node", node(nil), nil},
		{"a link", link(nil), nil},
		{"no mesh network", cluster(func(c *spec.Cluster) { c.MeshCIDR = netip.Prefix{} }), []string{"mesh_cidr: is not a network"}},
		{"IPv6 mesh network", cluster(func(c *spec.Cluster) { c.MeshCIDR = netip.MustParsePrefix("fd00::/64") }), []string{"mesh_cidr: fd00::/64 is not IPv4"}},
		{"host bits", cluster(func(c *spec.Cluster) { c.MeshCIDR = netip.MustParsePrefix("10.66.0.1/16") }), []string{"mesh_cidr: 10.66.0.1/16 has host bits set"}},
		{"public mesh network", cluster(func(c *spec.Cluster) { c.MeshCIDR = netip.MustParsePrefix("8.8.0.0/16") }), []string{"mesh_cidr: 8.8.0.0/16 overlaps public addresses"}},
		{"network wider than its private range", cluster(func(c *spec.Cluster) { c.MeshCIDR = netip.MustParsePrefix("172.0.0.0/8") }), []string{"mesh_cidr: 172.0.0.0/8 overlaps public addresses"}},
		{"network too small", cluster(func(c *spec.Cluster) { c.MeshCIDR = netip.MustParsePrefix("10.66.0.0/30") }), []string{"mesh_cidr: /30 is not between /8 and /29"}},
		{"WireGuard with timers of tinc", cluster(func(c *spec.Cluster) {
			c.Mesh = spec.Mesh{Driver: spec.MeshWireGuard, Port: 655, Tinc: &spec.Tinc{PingInterval: 9, PingTimeout: 3, MaxTimeout: 20}}
		}), []string{`mesh.tinc: the settings are those of driver "tinc"`}},
		{"unknown driver", cluster(func(c *spec.Cluster) { c.Mesh.Driver = "pigeon" }), []string{`mesh.driver: "pigeon" is unknown`}},
		{"timeout above interval", cluster(func(c *spec.Cluster) { c.Mesh.Tinc = &spec.Tinc{PingInterval: 1, PingTimeout: 5, MaxTimeout: 5} }), []string{"mesh.tinc.ping_timeout: 5 s"}},
		{"port of the live map", cluster(func(c *spec.Cluster) { c.Ports.Map = 7470 }), nil},
		{"port of the live map taken", cluster(func(c *spec.Cluster) { c.Ports.Map = c.Ports.Health }), []string{"ports.map: 7480 is also ports.health"}},
		{"no port of the live map", cluster(func(c *spec.Cluster) { c.Ports.Map = -1 }), []string{"ports.map: -1 is not a port"}},
		{"one port twice", cluster(func(c *spec.Cluster) { c.Ports.Health = c.Ports.API }), []string{"ports.health: 7443 is also ports.api"}},
		{"port out of range", cluster(func(c *spec.Cluster) { c.Mesh.Port = 70000 }), []string{"mesh.port: 70000 is not a port"}},
		{"seed without a port", cluster(func(c *spec.Cluster) { c.Seeds = []string{"203.0.113.5"} }), []string{`seeds: "203.0.113.5" is not host:port`}},
		{"node without a failure domain", node(func(n *spec.Node) { n.Provider, n.Site = " ", "" }), []string{"provider: is empty", "site: is empty"}},
		{"node without a mesh address", node(func(n *spec.Node) { n.MeshAddress = netip.Addr{} }), []string{"mesh_address: is not an IPv4 address"}},
		{"node with a strange address", node(func(n *spec.Node) { n.Addresses = []string{"a b"} }), []string{`addresses: "a b" is neither`}},
		{"node of an unknown variant", node(func(n *spec.Node) { n.Machine.Variant = "toaster" }), []string{`machine.variant: "toaster" is unknown`}},
		{"node with public ports", node(func(n *spec.Node) { n.PublicPorts = spec.PublicPorts{TCP: []int{1, 7443, 65535}, UDP: []int{1}} }), nil},
		{"node with strange public ports", node(func(n *spec.Node) {
			n.PublicPorts = spec.PublicPorts{TCP: []int{80, 0, 80}, UDP: []int{65536}}
		}), []string{"public_ports.tcp: 0 is not a port", "public_ports.tcp: 80 is there twice", "public_ports.udp: 65536 is not a port"}},
		{"a load balancer", balancer(nil), nil},
		{"load balancer without nodes", balancer(func(b *spec.LoadBalancer) { b.Nodes = nil }), []string{"nodes: is empty"}},
		{"load balancer with a strange node", balancer(func(b *spec.LoadBalancer) {
			b.Nodes["1"] = spec.ServingNode{Port: 70000}
		}), []string{`nodes: "1" is not a name`, "nodes.1.port: 70000 is not a port"}},
		{"floor above the nodes", balancer(func(b *spec.LoadBalancer) { b.MinimumNodes = 3 }), []string{"minimum_nodes: 3 of 2 nodes"}},
		{"negative floor", balancer(func(b *spec.LoadBalancer) { b.MinimumNodes = -1 }), []string{"minimum_nodes: -1 of 2 nodes"}},
		{"a command check", checked(spec.ApplicationCheck{Type: spec.CheckCommand, Command: []string{"/usr/bin/check", "--all"}}), nil},
		{"check of no type", checked(spec.ApplicationCheck{}), []string{`check.type: "" is unknown`}},
		{"check of a strange port", checked(spec.ApplicationCheck{Type: spec.CheckTCP, Port: -1}), []string{"check.port: -1 is not a port"}},
		{"HTTP's arguments for TCP", checked(spec.ApplicationCheck{Type: spec.CheckTCP, Path: "/", HostHeader: "a", Status: 200}), []string{
			`check.path: is there, but the type is "tcp"`, "check.host_header: is there", "check.status: is there",
		}},
		{"check of a strange page", checked(spec.ApplicationCheck{Type: spec.CheckHTTP, Path: "health", HostHeader: "a b", Status: 100}), []string{
			`check.path: "health" is not a path; begin with a slash`, "check.host_header: ", "check.status: 100 is not a status",
		}},
		{"check of a page with a line break", checked(spec.ApplicationCheck{Type: spec.CheckHTTP, Path: "/ HTTP/1.1\r\nX: y"}), []string{"check.path: "}},
		{"check of a URL", checked(spec.ApplicationCheck{Type: spec.CheckHTTP, Path: "http://elsewhere/"}), []string{"check.path: "}},
		{"command by its name", checked(spec.ApplicationCheck{Type: spec.CheckCommand, Command: []string{"check"}}), []string{`check.command: ["check"] is not a command; give the program's absolute path`}},
		{"no command", checked(spec.ApplicationCheck{Type: spec.CheckCommand}), []string{"check.command: [] is not a command"}},
		{"command with a zero byte", checked(spec.ApplicationCheck{Type: spec.CheckCommand, Command: []string{"/bin/a\x00b"}}), []string{"check.command: \"/bin/a\\x00b\" holds a zero byte"}},
		{"a command too long", checked(spec.ApplicationCheck{Type: spec.CheckCommand, Command: []string{"/bin/sh", "-c", strings.Repeat("x", 5000)}}), []string{"check.command: has 5009 bytes"}},
		{"command for HTTP", checked(spec.ApplicationCheck{Type: spec.CheckHTTP, Command: []string{"/bin/true"}}), []string{"check.command: is there, but the type"}},
		{"check with strange numbers", checked(spec.ApplicationCheck{Type: spec.CheckTCP, Interval: -1, Timeout: 301, Fall: 11, Rise: -2}), []string{
			"check.interval: -1", "check.timeout: 301 is not between 1 and 300", "check.fall: 11 is not between 1 and 10", "check.rise: -2",
		}},
		{"maintenance", maintenance("neue Platte, größer"), nil},
		{"maintenance since nobody knows when", spec.Maintenance{}, []string{"since: is missing"}},
		{"maintenance with a novel", maintenance(strings.Repeat("a", 201)), []string{"reason: has 201 bytes"}},
		{"maintenance that paints the terminal", maintenance("\x1b[2J"), []string{"reason: \"\\x1b[2J\" holds characters that cannot be shown"}},
		{"an upgrade", upgrading(func(*spec.Upgrade) {}), nil},
		{"an upgrade of a later program", upgrading(func(u *spec.Upgrade) { u.Step = "rest" }), []string{`upgrade.step: "rest" is no step`}},
		{"an upgrade without anything", upgrading(func(u *spec.Upgrade) { *u = spec.Upgrade{Step: spec.UpgradeVerify, Pairs: []string{"../x"}} }), []string{
			"upgrade.id: is empty", "upgrade.node: is empty", `upgrade.pairs: "../x" is not a name`, "upgrade.at: is missing",
		}},
		{"link to itself", link(func(l *spec.Link) { l.To = l.From }), []string{"to: is the same node"}},
		{"link with a tiny MTU", link(func(l *spec.Link) { l.Settings.MTU = 100 }), []string{"settings.mtu: 100"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := test.body.Validate()
			if len(got) != len(test.want) {
				t.Fatalf("got problems %v, want %v", got, test.want)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(got[i].Error(), want) {
					t.Errorf("problem %d is %q, want it to begin with %q", i, got[i], want)
				}
			}
		})
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "hk1", "hk-colo-1", strings.Repeat("a", spec.MaxNameLength)} {
		if ps := spec.ValidateName("name", name); len(ps) != 0 {
			t.Errorf("%q is refused: %v", name, ps)
		}
	}
	for _, name := range []string{"", "1a", "-a", "a-", "A", "a.b", "a_b", "ä", "a/b", strings.Repeat("a", spec.MaxNameLength+1)} {
		if ps := spec.ValidateName("name", name); len(ps) != 1 {
			t.Errorf("%q has problems %v, want one", name, ps)
		}
	}
}

func TestAnObjectSurvivesItsWireForm(t *testing.T) {
	open := func(n *spec.Node) { n.PublicPorts.TCP = []int{80, 443} }
	for _, body := range []spec.Body{cluster(nil), node(nil), node(open), link(func(l *spec.Link) { l.Settings.MTU = 1400 }), balancer(nil), maintenance("new disk")} {
		name := map[spec.Kind]string{
			spec.KindCluster: "web", spec.KindNode: "sg1", spec.KindLink: "hk1.sg1",
			spec.KindLoadBalancer: "www.example.com", spec.KindMaintenance: "sg1",
		}[body.Kind()]
		object, err := spec.NewObject("web", name, 7, 1700000000000, body)
		if err != nil {
			t.Fatal(err)
		}
		if ps := object.Validate(); len(ps) != 0 {
			t.Fatalf("%s is invalid: %v", object.Ref(), ps)
		}
		raw, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		var back spec.Object
		if err := json.Unmarshal(raw, &back); err != nil {
			t.Fatal(err)
		}
		got, err := back.Decode()
		if err != nil {
			t.Fatal(err)
		}
		same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
		samePrefix := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
		if diff := cmp.Diff(body, got, same, samePrefix); diff != "" {
			t.Errorf("%s changed on the wire (-sent +read):\n%s", object.Ref(), diff)
		}
	}
}

// TestPublicPortsThatAreNoneAreLeftOut demands that a node without them has the wire form that agents know who do not know them.
func TestPublicPortsThatAreNoneAreLeftOut(t *testing.T) {
	for _, ports := range []spec.PublicPorts{{}, {TCP: []int{}, UDP: []int{}}} {
		raw, err := json.Marshal(node(func(n *spec.Node) { n.PublicPorts = ports }))
		if err != nil {
			t.Fatal(err)
		}
		want := `{"provider":"linode","site":"singapore","mesh_address":"10.66.0.5","addresses":["203.0.113.5"],"machine":{"variant":"linode","id":"12"}}`
		if string(raw) != want {
			t.Errorf("got %s, want %s", raw, want)
		}
	}
}

func TestObjectsThatMustBeRefused(t *testing.T) {
	good, err := spec.NewObject("web", "sg1", 7, 1, node(nil))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*spec.Object)
		want   string
	}{
		{"newer wire version", func(o *spec.Object) { o.Wire = spec.WireVersion + 1 }, "wire: is 2, this software knows version 1; update the agent"},
		{"unknown kind", func(o *spec.Object) { o.Kind = "volcano" }, `kind: "volcano" is unknown; update the agent`},
		{"unknown field", func(o *spec.Object) { o.Body = json.RawMessage(`{"colour":"red"}`) }, `body: decode object node/sg1: json: unknown field "colour"`},
		{"generation 0", func(o *spec.Object) { o.Generation = 0 }, "generation: is 0"},
		{"tombstone with a body", func(o *spec.Object) { o.Deleted = true }, "body: a tombstone has none"},
		{"bad cluster name", func(o *spec.Object) { o.Cluster = "W" }, `cluster: "W" is not a name`},
		{"link under another name", func(o *spec.Object) {
			*o, _ = spec.NewObject("web", "hk1.sg2", 1, 1, link(nil))
		}, `name: is "hk1.sg2", the link's ends make it "hk1.sg1"`},
		{"cluster under another name", func(o *spec.Object) {
			*o, _ = spec.NewObject("web", "shop", 1, 1, cluster(nil))
		}, `name: is "shop", a cluster object has the cluster's name "web"`},
		{"load balancer in capital letters", func(o *spec.Object) {
			*o, _ = spec.NewObject("web", "WWW.example.com", 1, 1, balancer(nil))
		}, `name: "WWW.example.com" has capital letters, which mean nothing in a hostname; write www.example.com`},
		{"load balancer of a path", func(o *spec.Object) {
			*o, _ = spec.NewObject("web", "www.example.com/x", 1, 1, balancer(nil))
		}, "name: "},
		{"maintenance of no node", func(o *spec.Object) {
			*o, _ = spec.NewObject("web", "Hk1", 1, 1, maintenance(""))
		}, `name: "Hk1" is not a name`},
		{"cluster tombstone", func(o *spec.Object) {
			*o = spec.NewTombstone("web", spec.Ref{Kind: spec.KindCluster, Name: "web"}, 1, 1)
		}, "deleted: a cluster ends when its last node is removed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			object := good
			test.change(&object)
			if got := object.Validate().Error(); !strings.Contains(got, test.want) {
				t.Errorf("got %q, want it to contain %q", got, test.want)
			}
		})
	}
}

func TestReferencesAreMapKeys(t *testing.T) {
	in := map[spec.Ref]uint64{{Kind: spec.KindNode, Name: "hk1"}: 3}
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(raw), `{"node/hk1":3}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var out map[spec.Ref]uint64
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Error(diff)
	}
	if err := json.Unmarshal([]byte(`{"node":1}`), &out); err == nil {
		t.Error("a reference without a name was accepted")
	}
}

func TestEveryKindCanBeDecoded(t *testing.T) {
	for _, kind := range spec.Kinds() {
		body, err := spec.Object{Kind: kind, Name: "x", Body: json.RawMessage(`{}`)}.Decode()
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if body.Kind() != kind {
			t.Errorf("%s decodes to a %s", kind, body.Kind())
		}
	}
}

func TestLinkNameIsTheSameInBothOrders(t *testing.T) {
	if a, b := spec.LinkName("sg1", "hk1"), spec.LinkName("hk1", "sg1"); a != b || a != "hk1.sg1" {
		t.Errorf("got %q and %q, want hk1.sg1 twice", a, b)
	}
}
