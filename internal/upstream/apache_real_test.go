package upstream_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/upstream"
)

// apacheFile is a whole configuration around the texts of one virtual host.
func apacheFile(t *testing.T, dir, address string, texts ...string) string {
	t.Helper()
	const modules = "/usr/lib/apache2/modules"
	if _, err := os.Stat(modules); err != nil {
		t.Skipf("NOT TESTED WITH THE REAL Apache: its modules are not in %s, where Debian has them", modules)
	}
	var b strings.Builder
	for _, name := range []string{
		"mpm_event", "authz_core", "proxy", "proxy_http", "proxy_balancer", "slotmem_shm", "lbmethod_byrequests", "lbmethod_bytraffic", "lbmethod_bybusyness", "headers",
	} {
		fmt.Fprintf(&b, "LoadModule %s_module %s/mod_%s.so\n", name, modules, name)
	}
	if os.Getuid() == 0 {
		b.WriteString("User www-data\nGroup www-data\n")
	}
	// Processes of Apache know of dead nodes each for itself.
	fmt.Fprintf(&b, "ServerName localhost\nDefaultRuntimeDir %[1]s\nPidFile %[1]s/pid\nErrorLog %[1]s/log\nStartServers 1\nServerLimit 1\nThreadsPerChild 8\nMaxRequestWorkers 8\n", dir)
	fmt.Fprintf(&b, "Listen %s\n<VirtualHost *>\n%s</VirtualHost>\n", address, strings.Join(texts, ""))
	return b.String()
}

func TestApacheTakesEveryText(t *testing.T) {
	t.Parallel()
	apache := program(t, "apache2")
	for name, c := range apacheCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			check(t, apache, "-t", "-d", dir, "-f", write(t, dir, apacheFile(t, dir, free(t), apacheText(t, c))))
		})
	}
}

// goesOn waits for a good answer after a node's death: the first request may meet the end of a connection to it that was kept.
func (v visitor) goesOn(path string, header ...string) (got answer) {
	v.t.Helper()
	await.True(v.t, "visitors are served", time.Minute, func() bool {
		got = v.get(path, header...)
		return got.code == http.StatusOK
	})
	return got
}

func startApache(t *testing.T, configs ...upstream.Apache) visitor {
	t.Helper()
	apache, dir, address := program(t, "apache2"), t.TempDir(), free(t)
	var texts []string
	for _, c := range configs {
		texts = append(texts, apacheText(t, c))
	}
	serve(t, address, filepath.Join(dir, "log"), apache, "-DFOREGROUND", "-d", dir, "-f", write(t, dir, apacheFile(t, dir, address, texts...)))
	return visitor{t, address}
}

// TestApacheSendsVisitorsToTheirRoute follows cookies and path parameters, also past a dead node.
func TestApacheSendsVisitorsToTheirRoute(t *testing.T) {
	t.Parallel()
	apps, nodes := backends(t, "a", "b", "b-a")
	v := startApache(t, upstream.Apache{
		Name: "web", Nodes: nodes, Method: upstream.ByRequests, Paths: []string{"/"}, Sticky: upstream.Sticky{Cookie: "JSESSIONID", Parameter: "jsessionid"},
	})
	for name := range apps {
		v.stays(name, "/", "Cookie", "other=x; JSESSIONID=5f3."+name)
		v.stays(name, "/p;jsessionid=5f3."+name+";more=1?q=1")
	}
	if got := v.spread("/"); len(got) != 3 {
		t.Errorf("visitors without a route get %v, not all nodes", got)
	}
	got := v.get("/p?q=1")
	for header, want := range map[string]string{"Host-Asked": "www.example.com", "Path": "/p?q=1", "For": "127.0.0.1", "Proto": "http"} {
		if got.header.Get(header) != want {
			t.Errorf("%s is %q, want %q", header, got.header.Get(header), want)
		}
	}
	apps["b"].Close()
	v.goesOn("/", "Cookie", "JSESSIONID=1.b")
	if got := v.spread("/", "Cookie", "JSESSIONID=1.b"); got["b"] != 0 || got["a"]+got["b-a"] != 20 {
		t.Errorf("visitors of a dead node get %v", got)
	}
}

// TestApacheSetsTheCookie is for applications that do not know on which node they are.
func TestApacheSetsTheCookie(t *testing.T) {
	t.Parallel()
	apps, nodes := backends(t, "a", "b")
	v := startApache(t, upstream.Apache{
		Name: "web", Nodes: nodes, Method: upstream.ByBusyness, Paths: []string{"/"}, Sticky: upstream.Sticky{Cookie: "ROUTEID"}, SetCookie: true,
	})
	cookie := func(a answer) string {
		value, _, _ := strings.Cut(strings.TrimPrefix(a.header.Get("Set-Cookie"), "ROUTEID="), ";")
		return value
	}
	first := v.get("/")
	node := first.node()
	if cookie(first) != "."+node {
		t.Fatalf("%s answered, and the cookie is %q", node, cookie(first))
	}
	v.stays(node, "/", "Cookie", "ROUTEID=."+node)
	if again := cookie(v.get("/", "Cookie", "ROUTEID=."+node)); again != "" {
		t.Errorf("the cookie is set again: %q", again)
	}
	apps[node].Close()
	moved := v.goesOn("/", "Cookie", "ROUTEID=."+node)
	if other := moved.node(); moved.code != http.StatusOK || other == node || cookie(moved) != "."+other {
		t.Errorf("after the node's death: %s from %q, cookie %q", moved.status, other, cookie(moved))
	}
}

// TestApacheStates has a node in each state that is not serving.
func TestApacheStates(t *testing.T) {
	t.Parallel()
	apps, nodes := backends(t, "disabled", "drained", "serving", "spare")
	nodes[0].State, nodes[1].State, nodes[3].State = upstream.Disabled, upstream.Draining, upstream.Spare
	v := startApache(t, upstream.Apache{Name: "web", Nodes: nodes, Method: upstream.ByTraffic, Paths: []string{"/"}, Sticky: upstream.Sticky{Cookie: "SID"}})
	v.stays("serving", "/")
	v.stays("drained", "/", "Cookie", "SID=1.drained")
	v.stays("serving", "/", "Cookie", "SID=1.disabled")
	apps["serving"].Close()
	v.goesOn("/")
	v.stays("spare", "/")
	if n := apps["disabled"].connections.Load(); n != 0 {
		t.Errorf("the disabled node got %d connections", n)
	}
}

// TestApachePaths has two balancers in one virtual host, and paths that are nobody's.
func TestApachePaths(t *testing.T) {
	t.Parallel()
	_, nodes := backends(t, "app", "rpc")
	v := startApache(
		t,
		upstream.Apache{
			Name: "rpc", Nodes: nodes[1:], Method: upstream.ByRequests, Paths: []string{"/rpc"}, NoCanon: true, Sticky: upstream.Sticky{Cookie: "rpcid"},
		},
		upstream.Apache{Name: "web", Nodes: nodes[:1], Method: upstream.ByRequests, Paths: []string{"/", "/own/app"}, Except: []string{"/own"}},
	)
	v.stays("app", "/")
	v.stays("app", "/rpcs")
	v.stays("app", "/own/app/x")
	v.stays("rpc", "/rpc")
	if got := v.get("/own/x"); got.code != http.StatusNotFound || got.node() != "" {
		t.Errorf("/own/x: %s from %q, want Apache's own 404", got.status, got.node())
	}
	if got := v.get("/rpc/a%2Fb%2Dc;d"); got.header.Get("Path") != "/rpc/a%2Fb%2Dc;d" {
		t.Errorf("/rpc/a%%2Fb%%2Dc;d arrives as %q", got.header.Get("Path"))
	}
}
