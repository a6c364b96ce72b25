package provider_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	proxy "github.com/atollhq/terraform-provider-atoll/internal/lab/edge"
)

// webNode is a web server that stands for a node: it is well and says its name.
type webNode struct {
	at
	server *httptest.Server
}

// newWebNodes starts one at each address, all on one port, which is returned.
func newWebNodes(t *testing.T, nodes ...at) (port int, out []*webNode) {
	t.Helper()
	for _, n := range nodes {
		var lc net.ListenConfig
		l, err := lc.Listen(t.Context(), "tcp", fmt.Sprintf("%s:%d", n.address, port))
		if err != nil {
			t.Fatal(err)
		}
		if addr, ok := l.Addr().(*net.TCPAddr); ok {
			port = addr.Port
		}
		one := &webNode{at: n, server: &httptest.Server{
			Listener: l, Config: &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, n.name)
			})},
		}}
		one.server.Start()
		t.Cleanup(one.server.Close)
		out = append(out, one)
	}
	return port, out
}

// visitor is a browser of www.example.com.
type visitor struct {
	client *http.Client
}

func newVisitor(t *testing.T, edgeURL string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(edgeURL)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{client: &http.Client{Jar: jar, Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, at.Host)
		},
	}}}
}

// sees returns an error unless the node of that name answers.
func (v *visitor) sees(ctx context.Context, name string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://www.example.com/", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := v.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || string(body) != name {
		return fmt.Errorf("got %s %q from the hostname, want node %s (%w)", resp.Status, body, name, err)
	}
	return nil
}

// wellNodes is how many endpoints the monitors have found well.
func wellNodes(e *edge, front *proxy.Edge) int {
	n := 0
	for _, pool := range e.Account().Pools {
		for _, place := range front.PoolHealth(pool) {
			for _, o := range place.Origins {
				if o.Healthy {
					n++
				}
			}
		}
	}
	return n
}

// TestLoadBalancerServes sends visitors through an edge that does what the load balancer says: their sessions stay while a node
// drains, and move without an error when it dies.
func TestLoadBalancerServes(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	network := claimNetwork(t)
	hk, sg := at{"hk1", "hong-kong", fmt.Sprintf("127.%d.0.1", network)}, at{"sg1", "ap-south", fmt.Sprintf("127.%d.0.2", network)}
	port, web := newWebNodes(t, hk, sg)
	front := &proxy.Edge{Account: e.Account, Second: 50 * time.Millisecond}
	e.Health, e.OnChange = front, front.Reload
	server := httptest.NewServer(front)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		front.Close()
	})
	config := func(more string) string {
		return served(fmt.Sprintf(`
  steering = "off"
  sites    = { ap-south = { priority = 1 } }
  port     = %[1]d
  monitor  = { port = %[1]d, path = "/", interval = 15, timeout = 2, retries = 1 }
  %[2]s`, port, more), hk, sg)
	}
	old := newVisitor(t, server.URL)
	see := func(v func() *visitor, name string) statecheck.StateCheck {
		return checkState(func() error { return v().sees(t.Context(), name) })
	}
	same := func() *visitor { return old }
	fresh := func() *visitor { return newVisitor(t, server.URL) }
	healthy := func(node string, is bool) statecheck.StateCheck {
		return statecheck.ExpectKnownValue(www, tfjsonpath.New("health").AtMapKey(node).AtMapKey("healthy"), knownvalue.Bool(is))
	}
	e.test(t,
		resource.TestStep{Config: config(""), ConfigStateChecks: []statecheck.StateCheck{see(same, "hk1"), see(same, "hk1"), see(fresh, "hk1")}},
		resource.TestStep{
			PreConfig: func() {
				await.True(t, "the monitors find both nodes well", 20*time.Second, func() bool { return wellNodes(e, front) == 2 })
			},
			Config: config(""), ConfigPlanChecks: emptyPlan(), ConfigStateChecks: []statecheck.StateCheck{healthy("hk1", true), healthy("sg1", true)},
		},
		resource.TestStep{
			Config:            config("node_settings = { hk1 = { enabled = false } }"),
			ConfigStateChecks: []statecheck.StateCheck{see(same, "hk1"), see(fresh, "sg1")},
		},
		resource.TestStep{Config: config(""), ConfigStateChecks: []statecheck.StateCheck{see(same, "hk1"), see(fresh, "hk1")}},
		resource.TestStep{
			PreConfig:         func() { web[0].server.CloseClientConnections(); web[0].server.Close() },
			Config:            config(""),
			ConfigStateChecks: []statecheck.StateCheck{see(same, "sg1"), see(same, "sg1")},
		},
		resource.TestStep{
			PreConfig: func() {
				await.True(t, "the monitors find the dead node", 20*time.Second, func() bool { return wellNodes(e, front) == 1 })
			},
			Config: config(""), ConfigPlanChecks: emptyPlan(),
			ConfigStateChecks: []statecheck.StateCheck{see(fresh, "sg1"), healthy("hk1", false), healthy("sg1", true)},
		},
	)
}
