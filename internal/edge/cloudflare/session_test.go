package cloudflare_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	api "github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/edge"
)

// visited is the world's load balancer with an edge before it and an application on each node that says the node's name. A node
// whose network is cut swallows packets, as one without power does.
type visited struct {
	w    *world
	url  string
	mu   sync.Mutex
	cut  map[string]bool
	apps map[string]*httptest.Server
}

func (w *world) visited() *visited {
	w.t.Helper()
	v := &visited{w: w, cut: map[string]bool{}, apps: map[string]*httptest.Server{}}
	for _, p := range w.Account().Pools {
		for _, o := range p.Origins {
			app := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, o.Name) }))
			w.t.Cleanup(app.Close)
			v.apps[o.Address] = app
		}
	}
	e := &edge.Edge{Account: w.Account, Dial: v.dial}
	w.OnChange = e.Reload
	front := httptest.NewServer(e)
	w.t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
		e.Close()
	})
	v.url = front.URL
	return v
}

func (v *visited) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	cut, app := v.cut[host], v.apps[host]
	v.mu.Unlock()
	if cut {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return (&net.Dialer{}).DialContext(ctx, network, app.Listener.Addr().String())
}

// isolate cuts an address off, with the connections that there are, or joins it again.
func (v *visited) isolate(address string, cut bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cut[address] = cut
	v.apps[address].CloseClientConnections()
}

// get asks as a client with cookies, and gives up after a second.
func (v *visited) get(jar http.CookieJar) (node string, status int, err error) {
	ctx, cancel := context.WithTimeout(v.w.t.Context(), time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url, http.NoBody)
	if err != nil {
		return "", 0, err
	}
	r.Host = hostname
	resp, err := (&http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), resp.StatusCode, err
}

// login makes a session at a node.
func (v *visited) login(node string) http.CookieJar {
	v.w.t.Helper()
	for range 200 {
		jar, err := cookiejar.New(nil)
		if err != nil {
			v.w.t.Fatal(err)
		}
		if at, _, err := v.get(jar); err == nil && at == node {
			if len(jar.Cookies(&url.URL{Scheme: "http", Host: hostname})) == 0 {
				v.w.t.Fatal("no cookie")
			}
			return jar
		}
	}
	v.w.t.Fatalf("nobody comes to %s", node)
	return nil
}

// TestSessionsMove has a node lose its power that clients are logged in at. While it is only disabled, its sessions would be sent
// to it for the drain's hour; as the actors do it, they move with the first request.
func TestSessionsMove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.visited()
	a, b, c := w.actor("a"), w.actor("b"), w.actor("c")
	w.run(20, a, b, c)
	atA, atB := v.login("a"), v.login("b")
	at, ok := w.Account().Pool(w.pools["left"])
	if !ok {
		t.Fatal("no pool")
	}
	v.isolate(at.Origins[1].Address, true)
	if node, status, err := v.get(atB); err == nil {
		t.Fatalf("a node without power answers: %d %s", status, node)
	}
	w.dead["b"] = true
	w.run(1, a, c)
	w.want("b is dead", "b", 0)
	began := time.Now()
	moved, status, err := v.get(atB)
	if err != nil || status != http.StatusOK || moved == "b" {
		t.Fatalf("the first request after the removal: %s, status %d, error %v", moved, status, err)
	}
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("it took %s", took)
	}
	for range 10 {
		if node, _, err := v.get(atB); err != nil || node != moved {
			t.Errorf("the session is at %s, then at %s (%v)", moved, node, err)
		}
		if node, _, err := v.get(atA); err != nil || node != "a" {
			t.Errorf("a session of another node is at %s (%v)", node, err)
		}
	}
	// It comes back: sessions stay where they are now, and new ones come to it.
	v.isolate(at.Origins[1].Address, false)
	w.dead["b"] = false
	w.run(20, a, b, c)
	w.want("b is well", "", drains)
	if node, _, err := v.get(atB); err != nil || node != moved {
		t.Errorf("the session is at %s (%v)", node, err)
	}
	v.login("b")

	// The operator's own disabling still drains.
	home := v.login("b")
	w.terraform(t.Context(), "left", func(p *api.Pool) { p.Origins[1].Enabled = false })
	w.run(20, a, b, c)
	w.want("the operator has disabled b", "b!", drains)
	if node, _, err := v.get(home); err != nil || node != "b" {
		t.Errorf("in a planned drain the session is at %s (%v)", node, err)
	}
}
