package upstream_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/upstream"
)

var update = flag.Bool("update", false, "write the texts that are wanted anew")

// three are nodes as most have them, not in order.
func three() []upstream.Node {
	return []upstream.Node{
		{Name: "sg1", Host: "2001:DB8::3", Port: 8080, Weight: 1},
		{Name: "hk1", Host: "192.0.2.1", Port: 8080, Weight: 2},
		{Name: "hk2", Host: "hk2.example.com", Port: 8081, Weight: 1},
	}
}

// in returns the nodes with the state of one changed.
func in(state upstream.State, name string) []upstream.Node {
	nodes := three()
	for i := range nodes {
		if nodes[i].Name == name {
			nodes[i].State = state
		}
	}
	return nodes
}

func nginx(change func(*upstream.Nginx)) upstream.Nginx {
	c := upstream.Nginx{Name: "web", Nodes: three(), Method: upstream.IPHash, Keepalive: 100}
	change(&c)
	return c
}

func apache(change func(*upstream.Apache)) upstream.Apache {
	c := upstream.Apache{Name: "web", Nodes: three(), Method: upstream.ByRequests, Paths: []string{"/"}}
	change(&c)
	return c
}

// nginxCases are configurations of nginx that are all good.
func nginxCases() map[string]upstream.Nginx {
	return map[string]upstream.Nginx{
		"plain":    nginx(func(*upstream.Nginx) {}),
		"disabled": nginx(func(c *upstream.Nginx) { c.Nodes = in(upstream.Disabled, "hk1") }),
		"backup": nginx(func(c *upstream.Nginx) {
			c.Method, c.Nodes = upstream.LeastConn, in(upstream.Spare, "sg1")
		}),
		"sticky": nginx(func(c *upstream.Nginx) {
			c.Name, c.Method, c.Nodes, c.Sticky.Cookie, c.Keepalive = "shop-front", upstream.RoundRobin, in(upstream.Draining, "hk2"), "JSESSIONID", 16
		}),
		"client": nginx(func(c *upstream.Nginx) {
			c.Client = upstream.Client{Header: "CF-Connecting-IP", From: []string{"198.51.100.7/24", "2001:db8:1::/48", "203.0.113.9"}}
		}),
		// Names are as long as they can be, and a visitor's node is the only one.
		"long": nginx(func(c *upstream.Nginx) {
			c.Name, c.Sticky.Cookie = strings.Repeat("w", 40), strings.Repeat("C", 64)
			c.Nodes = []upstream.Node{{Name: strings.Repeat("n", 40), Host: "192.0.2.1", Port: 65535, Weight: 100}}
		}),
	}
}

// apacheCases are configurations of Apache that are all good.
func apacheCases() map[string]upstream.Apache {
	return map[string]upstream.Apache{
		"plain": apache(func(*upstream.Apache) {}),
		"states": apache(func(c *upstream.Apache) {
			c.Nodes, c.Sticky.Cookie, c.SetCookie = in(upstream.Draining, "hk1"), "ROUTEID", true
			c.Nodes = append(c.Nodes, upstream.Node{Name: "sg2", Host: "192.0.2.4", Port: 80, Weight: 1, State: upstream.Disabled},
				upstream.Node{Name: "sg3", Host: "192.0.2.5", Port: 80, Weight: 100, State: upstream.Spare})
		}),
		"paths": apache(func(c *upstream.Apache) {
			c.Method, c.Sticky = upstream.ByBusyness, upstream.Sticky{Cookie: "JSESSIONID", Parameter: "jsessionid"}
			c.Paths, c.Except = []string{"/", "/rpc/public"}, []string{"/server-status", "/rpc"}
		}),
		"rpc": apache(func(c *upstream.Apache) {
			c.Name, c.Sticky, c.Paths, c.NoCanon = "rpc", upstream.Sticky{Cookie: "rpcid"}, []string{"/rpc"}, true
		}),
		"long": apache(func(c *upstream.Apache) {
			c.Name, c.Sticky = strings.Repeat("w", 40), upstream.Sticky{Cookie: strings.Repeat("C", 31), Parameter: strings.Repeat("p", 31)}
			c.Nodes = []upstream.Node{{Name: strings.Repeat("n", 40), Host: "192.0.2.1", Port: 65535, Weight: 100}}
		}),
	}
}

func nginxText(t *testing.T, c upstream.Nginx) upstream.NginxText {
	t.Helper()
	text, err := c.Text()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func apacheText(t *testing.T, c upstream.Apache) string {
	t.Helper()
	text, err := c.Text()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func golden(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", name+".conf")
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s (-want +got, -update writes it anew):\n%s", file, diff)
	}
}

func TestNginxText(t *testing.T) {
	t.Parallel()
	for name, c := range nginxCases() {
		text := nginxText(t, c)
		golden(t, "nginx-"+name, text.HTTP+"# server\n"+text.Server+"# location\n"+text.Location)
		slices.Reverse(c.Nodes)
		if diff := cmp.Diff(text, nginxText(t, c)); diff != "" {
			t.Errorf("%s: the same nodes in another order give another text:\n%s", name, diff)
		}
	}
}

func TestApacheText(t *testing.T) {
	t.Parallel()
	for name, c := range apacheCases() {
		text := apacheText(t, c)
		golden(t, "apache-"+name, text)
		slices.Reverse(c.Nodes)
		if diff := cmp.Diff(text, apacheText(t, c)); diff != "" {
			t.Errorf("%s: the same nodes in another order give another text:\n%s", name, diff)
		}
	}
}

// refused demands an error on a part, which says the words.
func refused(t *testing.T, err error, part upstream.Part, words string) {
	t.Helper()
	var wrong *upstream.Error
	if !errors.As(err, &wrong) {
		t.Fatalf("%v is no *Error", err)
	}
	if wrong.Part != part || !strings.Contains(wrong.Reason, words) {
		t.Errorf("part %d: %q, want part %d: %q", wrong.Part, wrong.Reason, part, words)
	}
}

// TestRefusedNodes looks at what both programs are given alike.
func TestRefusedNodes(t *testing.T) {
	t.Parallel()
	one := func(change func(*upstream.Node)) []upstream.Node {
		nodes := three()
		change(&nodes[1])
		return nodes
	}
	cases := []struct {
		about, name string
		nodes       []upstream.Node
		part        upstream.Part
		words       string
	}{
		{"no name", "", three(), upstream.InName, "is empty"},
		{"a directive in the name", "web {}\nserver", three(), upstream.InName, "is not a name"},
		{"no node", "web", nil, upstream.InNodes, "no node gets visitors"},
		{"all disabled", "web", []upstream.Node{{Name: "a", Host: "192.0.2.1", Port: 1, Weight: 1, State: upstream.Disabled}}, upstream.InNodes, "no node gets visitors"},
		{"a route with a space", "web", one(func(n *upstream.Node) { n.Name = "a status=+D" }), upstream.InNodes, "is not a name"},
		{"two of one name", "web", one(func(n *upstream.Node) { n.Name = "sg1" }), upstream.InNodes, "two nodes are named"},
		{"two at one address", "web", one(func(n *upstream.Node) { n.Host = "2001:db8:0::3" }), upstream.InNodes, "are both at [2001:db8::3]:8080"},
		{"two at one host name", "web", one(func(n *upstream.Node) { n.Host, n.Port = "HK2.example.com", 8081 }), upstream.InNodes, "are both at"},
		{"a new line in the host", "web", one(func(n *upstream.Node) { n.Host = "a\nInclude b" }), upstream.InNodes, "neither an IP address nor a host name"},
		{"a line's end at the host's end", "web", one(func(n *upstream.Node) { n.Host = "a\n" }), upstream.InNodes, "neither an IP address nor a host name"},
		{"a quote in the host", "web", one(func(n *upstream.Node) { n.Host = `a"` }), upstream.InNodes, "neither an IP address nor a host name"},
		{"a semicolon in the host", "web", one(func(n *upstream.Node) { n.Host = "a;b" }), upstream.InNodes, "neither an IP address nor a host name"},
		{"a port in the host", "web", one(func(n *upstream.Node) { n.Host = "192.0.2.1:80" }), upstream.InNodes, "neither an IP address nor a host name"},
		{"a zone", "web", one(func(n *upstream.Node) { n.Host = "fe80::1%eth0" }), upstream.InNodes, "neither an IP address nor a host name"},
		{"a mistyped address", "web", one(func(n *upstream.Node) { n.Host = "192.0.2.300" }), upstream.InNodes, "neither an IP address nor a host name"},
		{"no port", "web", one(func(n *upstream.Node) { n.Port = 0 }), upstream.InNodes, "is no port"},
		{"a large port", "web", one(func(n *upstream.Node) { n.Port = 65536 }), upstream.InNodes, "is no port"},
		{"no weight", "web", one(func(n *upstream.Node) { n.Weight = 0 }), upstream.InNodes, "is no weight"},
		{"a large weight", "web", one(func(n *upstream.Node) { n.Weight = 101 }), upstream.InNodes, "is no weight"},
		{"drained without a route", "web", in(upstream.Draining, "hk1"), upstream.InNodes, "cannot be drained"},
	}
	for _, c := range cases {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			_, err := nginx(func(n *upstream.Nginx) { n.Name, n.Nodes = c.name, c.nodes }).Text()
			refused(t, err, c.part, c.words)
			_, err = apache(func(a *upstream.Apache) { a.Name, a.Nodes = c.name, c.nodes }).Text()
			refused(t, err, c.part, c.words)
		})
	}
}

func TestRefusedByNginx(t *testing.T) {
	t.Parallel()
	client := func(header string, from ...string) func(*upstream.Nginx) {
		return func(c *upstream.Nginx) { c.Client = upstream.Client{Header: header, From: from} }
	}
	cases := map[string]struct {
		change func(*upstream.Nginx)
		part   upstream.Part
		words  string
	}{
		"backup":     {func(c *upstream.Nginx) { c.Nodes = in(upstream.Spare, "hk1") }, upstream.InNodes, "no backups with ip_hash"},
		"method":     {func(c *upstream.Nginx) { c.Method = "random" }, upstream.InOptions, "is no method"},
		"keepalive":  {func(c *upstream.Nginx) { c.Keepalive = 0 }, upstream.InOptions, "is no number of connections"},
		"parameter":  {func(c *upstream.Nginx) { c.Sticky.Parameter = "jsessionid" }, upstream.InOptions, "by cookies alone"},
		"cookie":     {func(c *upstream.Nginx) { c.Sticky.Cookie = "a b" }, upstream.InOptions, "is no name of a cookie"},
		"header":     {client("X-A: b", "192.0.2.0/24"), upstream.InOptions, "is no name of a header"},
		"no header":  {client("", "192.0.2.0/24"), upstream.InOptions, "is no name of a header"},
		"nobody":     {client("X-A"), upstream.InOptions, "is believed"},
		"no network": {client("X-A", "192.0.2.0/24; deny all"), upstream.InOptions, "neither an address nor a network"},
		"everybody":  {client("X-A", "::/0"), upstream.InOptions, "is everybody"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := nginx(c.change).Text()
			refused(t, err, c.part, c.words)
		})
	}
}

func TestRefusedByApache(t *testing.T) {
	t.Parallel()
	paths := func(paths, except []string) func(*upstream.Apache) {
		return func(c *upstream.Apache) { c.Paths, c.Except = paths, except }
	}
	cases := map[string]struct {
		change func(*upstream.Apache)
		words  string
	}{
		"method":            {func(c *upstream.Apache) { c.Method = "heartbeat" }, "is no method"},
		"cookie":            {func(c *upstream.Apache) { c.Sticky.Cookie = `a"` }, "is no name of a cookie"},
		"parameter":         {func(c *upstream.Apache) { c.Sticky.Parameter = "a|b" }, "is no name of a cookie"},
		"long":              {func(c *upstream.Apache) { c.Sticky = upstream.Sticky{Cookie: strings.Repeat("a", 64)} }, "longer than Apache takes"},
		"nameless":          {func(c *upstream.Apache) { c.SetCookie = true }, "the cookie has no name"},
		"no path":           {paths(nil, nil), "there is none"},
		"empty path":        {paths([]string{""}, nil), "is no path"},
		"relative path":     {paths([]string{"a"}, nil), "is no path"},
		"path upwards":      {paths([]string{"/a/../b"}, nil), "is no path"},
		"new line":          {paths([]string{"/a\nInclude /b"}, nil), "is no path"},
		"end of line":       {paths([]string{"/a\n"}, nil), "is no path"},
		"variable":          {paths([]string{"/"}, []string{"/${A}"}), "is no path"},
		"twice":             {paths([]string{"/a", "/a"}, nil), "given twice"},
		"both":              {paths([]string{"/a"}, []string{"/a"}), "given twice"},
		"elsewhere":         {paths([]string{"/a"}, []string{"/b"}), "below none of the paths"},
		"beside by letters": {paths([]string{"/a"}, []string{"/ab"}), "below none of the paths"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := apache(c.change).Text()
			refused(t, err, upstream.InOptions, c.words)
		})
	}
}
