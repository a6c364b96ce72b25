package upstream_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/upstream"
)

// nginxFile is a whole configuration around the texts.
func nginxFile(dir, address string, texts ...upstream.NginxText) string {
	var b strings.Builder
	if os.Getuid() == 0 {
		b.WriteString("user root;\n")
	}
	fmt.Fprintf(&b, "daemon off;\nworker_processes 1;\npid %[1]s/pid;\nerror_log %[1]s/log;\nevents {}\nhttp {\naccess_log off;\n", dir)
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&b, "%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	for _, t := range texts {
		b.WriteString(t.HTTP)
	}
	fmt.Fprintf(&b, "server {\nlisten %s;\n", address)
	for i, t := range texts {
		if i == 0 {
			b.WriteString(t.Server)
		}
		fmt.Fprintf(&b, "location /%s {\n%s}\n", strings.Repeat("x", i), t.Location)
	}
	b.WriteString("}\n}\n")
	return b.String()
}

// resolvable puts an address in the place of a host name that the tests' machine cannot look up.
func resolvable(text string) string { return strings.ReplaceAll(text, "hk2.example.com", "192.0.2.2") }

func TestNginxTakesEveryText(t *testing.T) {
	t.Parallel()
	nginx := program(t, "nginx")
	for name, c := range nginxCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			other := nginxText(t, upstream.Nginx{Name: "other", Nodes: three(), Method: upstream.RoundRobin, Keepalive: 1, Sticky: upstream.Sticky{Cookie: "C"}})
			check(t, nginx, "-t", "-q", "-p", dir, "-e", filepath.Join(dir, "log"), "-c", write(t, dir, resolvable(nginxFile(dir, free(t), nginxText(t, c), other))))
		})
	}
}

func startNginx(t *testing.T, c upstream.Nginx) visitor {
	t.Helper()
	nginx, dir, address := program(t, "nginx"), t.TempDir(), free(t)
	log := filepath.Join(dir, "log")
	serve(t, address, log, nginx, "-p", dir, "-e", log, "-c", write(t, dir, nginxFile(dir, address, nginxText(t, c))))
	return visitor{t, address}
}

// TestNginxSendsVisitorsToTheirRoute follows cookies, whatever the session before the route, also past a dead node.
func TestNginxSendsVisitorsToTheirRoute(t *testing.T) {
	t.Parallel()
	apps, nodes := backends(t, "a", "b", "b-a")
	v := startNginx(t, upstream.Nginx{Name: "web-front", Nodes: nodes, Method: upstream.RoundRobin, Keepalive: 100, Sticky: upstream.Sticky{Cookie: "SID"}})
	for name := range apps {
		v.stays(name, "/", "Cookie", "other=x; SID=5f3.a.b."+name+"; more=.a")
	}
	if got := v.spread("/", "Cookie", "SID=5f3.nobody"); len(got) != 3 {
		t.Errorf("a route that nobody has leads to %v, not to all", got)
	}
	got := v.get("/p?q=1")
	for header, want := range map[string]string{"Host-Asked": "www.example.com", "Path": "/p?q=1", "For": "127.0.0.1", "Proto": "http"} {
		if got.header.Get(header) != want {
			t.Errorf("%s is %q, want %q", header, got.header.Get(header), want)
		}
	}
	for name, app := range apps {
		if app.closing.Load() != 0 || app.connections.Load() > 2 {
			t.Errorf("%s: connections are not kept: %d made, %d requests that close", name, app.connections.Load(), app.closing.Load())
		}
	}
	apps["b"].Close()
	if got := v.spread("/", "Cookie", "SID=1.b"); got["a"] == 0 || got["b-a"] == 0 || got["b"] != 0 {
		t.Errorf("visitors of a dead node get %v", got)
	}
	if got := v.spread("/"); got["b"] != 0 || len(got) != 2 {
		t.Errorf("visitors without a route get %v", got)
	}
}

// TestNginxKeepsVisitorsByAddress is about ip_hash, with another proxy in front that tells visitors' addresses, and without.
func TestNginxKeepsVisitorsByAddress(t *testing.T) {
	t.Parallel()
	apps, nodes := backends(t, "a", "b")
	c := upstream.Nginx{Name: "web", Nodes: nodes, Method: upstream.IPHash, Keepalive: 100}
	blind := startNginx(t, c)
	c.Client = upstream.Client{Header: "CF-Connecting-IP", From: []string{"127.0.0.1"}}
	seeing := startNginx(t, c)
	said, where := map[string]int{}, map[string]string{}
	for i := range 16 {
		address := fmt.Sprintf("198.51.%d.1", 100+i)
		said[blind.get("/", "CF-Connecting-IP", address).node()]++
		where[address] = seeing.get("/", "CF-Connecting-IP", address).node()
	}
	if len(said) != 1 {
		t.Errorf("without client_address a header decides: %v", said)
	}
	found := map[string]bool{}
	for address, node := range where {
		found[node] = true
		seeing.stays(node, "/", "CF-Connecting-IP", address)
	}
	if !found["a"] || !found["b"] {
		t.Errorf("all visitors are on one node: %v", where)
	}
	if got := seeing.get("/", "CF-Connecting-IP", "198.51.100.1").header.Get("For"); got != "198.51.100.1" {
		t.Errorf("the node is told of the visitor %q", got)
	}
	apps["a"].Close()
	for address := range where {
		seeing.stays("b", "/", "CF-Connecting-IP", address)
	}
}

// TestNginxBelievesProxiesAlone has two proxies in front, and a visitor who claims another address.
func TestNginxBelievesProxiesAlone(t *testing.T) {
	t.Parallel()
	_, nodes := backends(t, "a")
	v := startNginx(t, upstream.Nginx{
		Name: "web", Nodes: nodes, Method: upstream.IPHash, Keepalive: 100, Client: upstream.Client{Header: "X-Forwarded-For", From: []string{"127.0.0.0/8", "192.0.2.1"}},
	})
	const claims = "203.0.113.66, 198.51.100.1, 192.0.2.1"
	if got, want := v.get("/", "X-Forwarded-For", claims).header.Get("For"), claims+", 198.51.100.1"; got != want {
		t.Errorf("the node is told of %q, want %q", got, want)
	}
}

// TestNginxStates has a node in each state that is not serving.
func TestNginxStates(t *testing.T) {
	t.Parallel()
	apps, nodes := backends(t, "disabled", "drained", "serving", "spare")
	nodes[0].State, nodes[1].State, nodes[3].State = upstream.Disabled, upstream.Draining, upstream.Spare
	v := startNginx(t, upstream.Nginx{Name: "web", Nodes: nodes, Method: upstream.LeastConn, Keepalive: 100, Sticky: upstream.Sticky{Cookie: "SID"}})
	v.stays("serving", "/")
	v.stays("drained", "/", "Cookie", "SID=1.drained")
	v.stays("serving", "/", "Cookie", "SID=1.disabled")
	apps["serving"].Close()
	v.stays("spare", "/")
	v.stays("spare", "/", "Cookie", "SID=1.serving")
	if n := apps["disabled"].connections.Load(); n != 0 {
		t.Errorf("the disabled node got %d connections", n)
	}
}
