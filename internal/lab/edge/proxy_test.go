package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/edge"
)

func TestWhatEndpointsSee(t *testing.T) {
	w := newWorld(t)
	n := w.node(1)
	seen := make(chan *http.Request, 1)
	n.behave(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Clone(t.Context())
		w.Header().Set("Server", "mine")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "short and stout")
	})
	w.balance(nil, w.pool("one", "", n))
	v := w.visitor()
	v.header.Set(edge.RegionHeader, "weu")
	v.header.Set("X-Forwarded-For", "192.0.2.99")
	got := v.see(http.StatusTeapot, "short and stout")
	if got.header.Get("Server") != "cloudflare" || got.header.Get("Cf-Ray") == "" || got.cookie != nil {
		t.Errorf("answer %v", got.header)
	}
	r := <-seen
	headers := map[string]string{}
	for _, name := range []string{"Cf-Connecting-Ip", "X-Forwarded-For", "X-Forwarded-Proto", edge.RegionHeader, "Cf-Ipcountry"} {
		headers[name] = r.Header.Get(name)
	}
	want := map[string]string{
		"Cf-Connecting-Ip": "127.0.0.1", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", edge.RegionHeader: "", "Cf-Ipcountry": "SG",
	}
	if diff := cmp.Diff(want, headers); diff != "" || r.Host != hostname {
		t.Errorf("host %s, headers (-want +got)\n%s", r.Host, diff)
	}
}

func TestHostHeaderOfEndpoint(t *testing.T) {
	w := newWorld(t)
	n := w.node(1)
	n.behave(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) })
	origins := w.origins(n)
	origins[0]["header"] = object{"Host": []string{"origin.example.com"}}
	w.balance(nil, w.api(http.MethodPost, pools, object{"name": "one", "origins": origins}))
	w.visitor().see(http.StatusOK, "origin.example.com")
}

// TestFailures: what the vendor answers when its only endpoint fails in one way or another.
func TestFailures(t *testing.T) {
	w := newWorld(t, func(e *edge.Edge) {
		e.Patience = edge.Patience{Connect: 500 * time.Millisecond, Answer: time.Second}
	})
	n := w.node(1)
	w.balance(nil, w.pool("one", "", n))
	w.visitor().see(http.StatusOK, n.address)
	n.behave(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	w.visitor().see(520, "error code: 520")
	n.behave(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	w.visitor().see(524, "error code: 524")
	n.kill()
	w.visitor().see(521, "error code: 521")
	w.isolate(n.address, true)
	w.visitor().see(522, "error code: 522")
}

func TestUnreachable(t *testing.T) {
	w := newWorld(t)
	n := w.node(1)
	origins := w.origins(n)
	origins[0]["address"] = "255.255.255.255" // the kernel says at once that there is no way
	w.balance(nil, w.api(http.MethodPost, pools, object{"name": "one", "origins": origins}))
	w.visitor().see(523, "error code: 523")
	origins[0]["address"] = "nowhere.example.com"
	w.api(http.MethodPost, balancers(), object{
		"name": "x.example.com", "proxied": true, "fallback_pool": w.api(http.MethodPost, pools, object{"name": "two", "origins": origins}),
		"default_pools": []string{w.server.Account().Pools[1].ID},
	})
	v := w.visitor()
	v.header.Set("Host", "x.example.com")
	v.see(530, "error code: 1016")
}

// TestConnectionErrorsAreRetried on another endpoint, once, whatever the request; nothing else is.
func TestConnectionErrorsAreRetried(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			w := newWorld(t, func(e *edge.Edge) { e.Patience.Connect = 200 * time.Millisecond })
			dead, alive := w.node(1), w.node(2)
			for _, n := range []*node{dead, alive} {
				n.behave(func(w http.ResponseWriter, r *http.Request) {
					body, err := io.ReadAll(r.Body)
					if err != nil {
						t.Error(err)
					}
					_, _ = fmt.Fprintf(w, "%s %s", n.address, body)
				})
			}
			w.balance(nil, w.pool("both", "", dead, alive))
			ask := func() {
				t.Helper()
				for range 20 {
					got, err := w.visitor().ask(method, "/", "the body")
					if err != nil || got.status != http.StatusOK || got.body != alive.address+" the body" {
						t.Fatalf("%+v, error %v", got, err)
					}
				}
			}
			dead.kill()
			ask()
			w.isolate(dead.address, true)
			ask()
			// Both dead: one retry, then the error.
			alive.kill()
			if got := w.visitor().get(); got.status != 521 && got.status != 522 {
				t.Errorf("status %d", got.status)
			}
		})
	}
}

func TestOtherErrorsAreNotRetried(t *testing.T) {
	w := newWorld(t)
	a, b := w.node(1), w.node(2)
	w.balance(nil, w.pool("both", "", a, b))
	for _, n := range []*node{a, b} {
		n.behave(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	}
	got, err := w.visitor().ask(http.MethodPost, "/", "x")
	_, first := a.counts()
	_, second := b.counts()
	if err != nil || got.status != 520 || first+second != 1 {
		t.Errorf("status %d after %d requests, error %v", got.status, first+second, err)
	}
	for _, n := range []*node{a, b} {
		n.behave(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	}
	if got := w.visitor().get(); got.status != http.StatusBadGateway {
		t.Errorf("status %d: an endpoint's own error is its answer", got.status)
	}
}

// TestRetryNeedsAHealthyEndpoint of the same pool, unless other pools may help out.
func TestRetryNeedsAHealthyEndpoint(t *testing.T) {
	w := newWorld(t)
	dying, other := w.node(1), w.node(2)
	first, second := w.pool("first", "", dying), w.pool("second", "", other)
	id := w.balance(nil, first, second)
	dying.kill()
	w.visitor().see(521, "error code: 521")
	w.api(http.MethodPatch, balancers()+"/"+id, object{"adaptive_routing": object{"failover_across_pools": true}})
	w.visitor().see(http.StatusOK, other.address)
}

// TestNodeDiesUnderLoad: with a second healthy endpoint in the pool nobody sees an error, though the monitor needs a while.
func TestNodeDiesUnderLoad(t *testing.T) {
	w := newWorld(t)
	dying, other := w.node(1), w.node(2)
	pool := w.pool("both", w.monitor(nil), dying, other)
	w.balance(nil, pool)
	w.awaitHealth(pool, dying, "healthy")
	w.awaitHealth(pool, other, "healthy")
	var good, bad, byOther atomic.Int64
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 8 {
		load.Go(func() {
			for v := w.visitor(); ; {
				select {
				case <-stop:
					return
				default:
				}
				got, err := v.ask(http.MethodGet, "/", "")
				switch {
				case err != nil || got.status != http.StatusOK:
					bad.Add(1)
					t.Logf("failed: %+v, %v", got, err)
				case got.body == other.address:
					byOther.Add(1)
					good.Add(1)
				default:
					good.Add(1)
				}
			}
		})
	}
	w.await("both serve", func() bool { return byOther.Load() > 20 && good.Load()-byOther.Load() > 20 })
	// New requests find nobody there; those under way are answered.
	w.refuse(dying.address)
	dying.server.SetKeepAlivesEnabled(false)
	w.awaitHealth(pool, dying, cloudflare.TCPFailed)
	reached := good.Load()
	w.await("a hundred more", func() bool { return good.Load() > reached+100 })
	close(stop)
	load.Wait()
	if bad.Load() != 0 {
		t.Errorf("%d of %d requests failed", bad.Load(), bad.Load()+good.Load())
	}
}

// TestDeadUntilTheMonitorSees: a power cut swallows packets, so a request that meets the node waits as long as the edge
// does for a connection; once the monitor has seen it, none does.
func TestDeadUntilTheMonitorSees(t *testing.T) {
	w := newWorld(t, func(e *edge.Edge) { e.Patience.Connect = 300 * time.Millisecond })
	dying, other := w.node(1), w.node(2)
	pool := w.pool("both", w.monitor(object{"timeout": 1}), dying, other)
	w.balance(nil, pool)
	w.awaitHealth(pool, dying, "healthy")
	w.awaitHealth(pool, other, "healthy")
	w.isolate(dying.address, true)
	w.awaitHealth(pool, dying, cloudflare.TCPTimeout)
	if diff := cmp.Diff(map[string]int{other.address: 30}, w.tally(30)); diff != "" {
		t.Errorf("answers (-want +got)\n%s", diff)
	}
	w.isolate(dying.address, false)
	w.awaitHealth(pool, dying, "healthy")
	w.await("it serves again", func() bool { return w.visitor().get().body == dying.address })
}

func TestAllUnhealthy(t *testing.T) {
	w := newWorld(t)
	a, b, last := w.node(1), w.node(2), w.node(3)
	monitor := w.monitor(nil)
	pool, spare := w.pool("both", monitor, a, b), w.pool("spare", monitor, last)
	w.balance(object{"fallback_pool": spare}, pool)
	w.awaitHealth(pool, a, "healthy")
	w.awaitHealth(pool, b, "healthy")
	for _, n := range []*node{a, b, last} {
		n.behave(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/healthz" {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_, _ = io.WriteString(w, n.address)
		})
	}
	for _, n := range []*node{a, b} {
		w.awaitHealth(pool, n, cloudflare.CodeMismatch)
	}
	w.awaitHealth(spare, last, cloudflare.CodeMismatch)
	// The health of the fallback pool does not count.
	w.visitor().see(http.StatusOK, last.address)
	w.api(http.MethodPatch, pools+"/"+spare, object{"enabled": false})
	w.visitor().see(530, "error code: 1016")
	w.api(http.MethodPatch, pools+"/"+spare, object{"enabled": true})
	w.visitor().see(http.StatusOK, last.address)
	a.behave(nil)
	w.awaitHealth(pool, a, "healthy")
	w.visitor().see(http.StatusOK, a.address)
}

// TestUnknownIsDown: an endpoint that has a monitor gets nothing before its first good check.
func TestUnknownIsDown(t *testing.T) {
	w := newWorld(t)
	n, last := w.node(1), w.node(2)
	hold := make(chan struct{})
	n.behave(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			<-hold
		}
		_, _ = io.WriteString(w, n.address)
	})
	pool := w.pool("one", w.monitor(object{"timeout": 10, "interval": 3600}), n)
	w.balance(object{"fallback_pool": w.pool("spare", "", last)}, pool)
	w.await("the check has begun", func() bool { probes, _ := n.counts(); return probes == 1 })
	if w.health(pool) == nil { // unless the check is over already
		w.visitor().see(http.StatusOK, last.address)
	}
	close(hold)
	w.awaitHealth(pool, n, "healthy")
	w.visitor().see(http.StatusOK, n.address)
}

func TestMinimumOrigins(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.node(1), w.node(2), w.node(3)
	monitor := w.monitor(nil)
	pool, spare := w.pool("two", monitor, a, b), w.pool("spare", monitor, c)
	w.api(http.MethodPatch, pools+"/"+pool, object{"minimum_origins": 2})
	w.balance(nil, pool, spare)
	for _, n := range []*node{a, b} {
		w.awaitHealth(pool, n, "healthy")
	}
	w.awaitHealth(spare, c, "healthy")
	if got := w.tally(20); got[c.address] != 0 {
		t.Errorf("answers %v", got)
	}
	a.kill()
	w.awaitHealth(pool, a, cloudflare.TCPFailed)
	if diff := cmp.Diff(map[string]int{c.address: 10}, w.tally(10)); diff != "" {
		t.Errorf("answers below the threshold (-want +got)\n%s", diff)
	}
}

func TestUpgrade(t *testing.T) {
	w := newWorld(t)
	n := w.node(1)
	n.behave(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + r.Header.Get("Upgrade") + "\r\n\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = rw.WriteString("heard " + line)
		_ = rw.Flush()
	})
	w.balance(nil, w.pool("one", "", n))
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+hostname+"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answer %v, %v", response, err)
	}
	_ = response.Body.Close()
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := reader.ReadString('\n'); err != nil || line != "heard hello\n" {
		t.Errorf("%q, %v", line, err)
	}
}
