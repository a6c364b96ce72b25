package edge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract/contracttest"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/edge"
)

const (
	hostname = "www.example.com"
	// second is how long one of the account's seconds lasts in the tests: a monitor that checks every 10 s does so every
	// 200 ms.
	second = 20 * time.Millisecond
	// patience is how long a test waits for what has to happen.
	patience = 10 * time.Second
)

type object = map[string]any

// world is an account, its edge, and endpoints on loopback addresses.
type world struct {
	t        *testing.T
	server   *cloudflare.Server
	contract http.Handler // the server behind the vendor's contract
	edge     *edge.Edge
	url      string // of the edge
	port     int    // of every endpoint

	mu     sync.Mutex
	cut    map[string]bool // addresses that swallow packets
	closed map[string]bool // addresses that refuse connections, and keep those that there are
}

// newWorld starts an account and its edge.
func newWorld(t *testing.T, adjust ...func(*edge.Edge)) *world {
	t.Helper()
	w := &world{t: t, server: &cloudflare.Server{Quotas: cloudflare.Enterprise(), Limits: cloudflare.Unlimited()}, cut: map[string]bool{}, closed: map[string]bool{}}
	w.edge = &edge.Edge{Account: w.server.Account, Second: second, Dial: w.dial, Patience: edge.Patience{Answer: patience}}
	for _, f := range adjust {
		f(w.edge)
	}
	w.contract = contracttest.Watched(t, contracttest.Cloudflare)(w.server)
	w.server.Health, w.server.OnChange = w.edge, w.edge.Reload
	web := httptest.NewServer(w.edge)
	w.url = web.URL
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
		w.edge.Close()
	})
	// All endpoints listen on one port, because a monitor has one.
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := l.Addr().(*net.TCPAddr)
	w.port = addr.Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

// dial connects to an endpoint, unless its network is cut: then nothing comes back.
func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	cut, closed := w.cut[host], w.closed[host]
	w.mu.Unlock()
	switch {
	case cut:
		<-ctx.Done()
		return nil, ctx.Err()
	case closed:
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// isolate cuts an address off, or joins it again.
func (w *world) isolate(address string, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[address] = cut
}

// refuse makes an address refuse connections. A server that closes its port also cuts those that were made and not served
// yet, which no edge can make good.
func (w *world) refuse(address string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed[address] = true
}

// node is a real web server that says its address.
type node struct {
	w       *world
	address string
	server  *http.Server
	done    chan struct{}

	mu      sync.Mutex
	handler http.Handler
	probes  int
	served  int
}

// node starts a web server on 127.0.0.n. Its health is at /healthz.
func (w *world) node(n int) *node {
	w.t.Helper()
	one := &node{w: w, address: fmt.Sprintf("127.0.0.%d", n)}
	one.start()
	w.t.Cleanup(one.kill)
	return one
}

func (n *node) start() {
	n.w.t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(n.w.t.Context(), "tcp", net.JoinHostPort(n.address, strconv.Itoa(n.w.port)))
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.server, n.done = &http.Server{Handler: http.HandlerFunc(n.serve), ReadHeaderTimeout: time.Minute}, make(chan struct{})
	go func(server *http.Server, done chan struct{}) {
		defer close(done)
		_ = server.Serve(l) // ends with kill
	}(n.server, n.done)
}

// kill ends the server with every connection.
func (n *node) kill() {
	_ = n.server.Close() // of a server that was killed already
	<-n.done
}

func (n *node) serve(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	handler := n.handler
	if r.URL.Path == "/healthz" {
		n.probes++
	} else {
		n.served++
	}
	n.mu.Unlock()
	if handler != nil {
		handler.ServeHTTP(w, r)
		return
	}
	_, _ = io.WriteString(w, n.address)
}

// behave replaces what the node answers; nil is its address.
func (n *node) behave(handler http.HandlerFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handler = nil
	if handler != nil {
		n.handler = handler
	}
}

func (n *node) counts() (probes, served int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.probes, n.served
}

const (
	monitors = "/accounts/" + cloudflare.AccountID + "/load_balancers/monitors"
	pools    = "/accounts/" + cloudflare.AccountID + "/load_balancers/pools"
)

func balancers() string {
	return "/zones/" + cloudflare.ZoneID(cloudflare.DefaultZone) + "/load_balancers"
}

func records() string { return "/zones/" + cloudflare.ZoneID(cloudflare.DefaultZone) + "/dns_records" }

// api sends a request to the account and returns the identifier of what it made or changed.
func (w *world) api(method, path string, body object) string {
	w.t.Helper()
	id, _ := w.call(method, path, body)["id"].(string)
	return id
}

func (w *world) call(method, path string, body object) object {
	w.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(w.t.Context(), method, "/client/v4"+path, bytes.NewReader(data))
	r.Header.Set("Authorization", "Bearer token")
	r.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	w.contract.ServeHTTP(recorder, r)
	var answer struct{ Result object }
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil || recorder.Code != http.StatusOK {
		w.t.Fatalf("%s %s: status %d %s, %v", method, path, recorder.Code, recorder.Body, err)
	}
	return answer.Result
}

// monitor makes a monitor that checks every 10 s, with some fields set. Its patience is the longest that there is, since a busy machine must not look like a dead endpoint.
func (w *world) monitor(fields object) string {
	w.t.Helper()
	body := object{"type": "http", "path": "/healthz", "port": w.port, "interval": 10, "timeout": 10, "retries": 5, "expected_codes": "200"}
	for name, value := range fields {
		body[name] = value
	}
	return w.api(http.MethodPost, monitors, body)
}

// origins describes nodes as endpoints.
func (w *world) origins(nodes ...*node) []object {
	var list []object
	for _, n := range nodes {
		list = append(list, object{"name": n.address, "address": n.address, "port": w.port})
	}
	return list
}

// pool makes a pool of nodes; monitor may be "".
func (w *world) pool(name, monitor string, nodes ...*node) string {
	w.t.Helper()
	return w.api(http.MethodPost, pools, object{"name": name, "monitor": monitor, "origins": w.origins(nodes...)})
}

// balance makes the load balancer of the hostname, with some fields set. The first pool is the fallback too.
func (w *world) balance(fields object, pools ...string) string {
	w.t.Helper()
	body := object{"name": hostname, "proxied": true, "default_pools": pools, "fallback_pool": pools[0]}
	for name, value := range fields {
		body[name] = value
	}
	return w.api(http.MethodPost, balancers(), body)
}

// visitor is somebody with a browser.
type visitor struct {
	w       *world
	cookies []*http.Cookie
	header  http.Header
	http    http.Client
}

func (w *world) visitor() *visitor {
	return &visitor{w: w, header: http.Header{}, http: http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
}

// reply is what a visitor sees.
type reply struct {
	status int
	body   string
	header http.Header
	cookie *http.Cookie // a new one
}

// ask sends a request and keeps the cookie that comes back.
func (v *visitor) ask(method, path, body string) (reply, error) {
	r, err := http.NewRequestWithContext(v.w.t.Context(), method, v.w.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return reply{}, err
	}
	r.Header = v.header.Clone()
	r.Host = hostname
	if host := v.header.Get("Host"); host != "" {
		r.Host = host
	}
	for _, cookie := range v.cookies {
		r.AddCookie(cookie)
	}
	response, err := v.http.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	out := reply{status: response.StatusCode, body: string(data), header: response.Header}
	for _, cookie := range response.Cookies() {
		if cookie.Name == "__cflb" {
			out.cookie = cookie
			v.cookies = []*http.Cookie{cookie}
		}
	}
	return out, err
}

// get asks for the front page.
func (v *visitor) get() reply {
	v.w.t.Helper()
	got, err := v.ask(http.MethodGet, "/", "")
	if err != nil {
		v.w.t.Fatal(err)
	}
	return got
}

// see asks for the front page and demands what it is.
func (v *visitor) see(status int, body string) reply {
	v.w.t.Helper()
	got := v.get()
	if got.status != status || got.body != body {
		v.w.t.Fatalf("status %d %q, want %d %q", got.status, got.body, status, body)
	}
	return got
}

// await polls until a condition holds.
func (w *world) await(what string, holds func() bool) {
	w.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			w.t.Fatalf("%s did not happen within %v", what, patience)
		}
	}
}

// health is what the API says of a pool's endpoints by address: "healthy", or why not; nil while nothing is known.
func (w *world) health(pool string) map[string]string {
	w.t.Helper()
	data, ok := w.server.Account().Pool(pool)
	if !ok {
		w.t.Fatalf("no pool %s", pool)
	}
	found := w.edge.PoolHealth(data)
	var out map[string]string
	for _, pop := range found {
		out = map[string]string{}
		for _, o := range pop.Origins {
			out[o.Address] = o.FailureReason
			if o.Healthy {
				out[o.Address] = "healthy"
			}
		}
	}
	return out
}

// awaitHealth waits until the API says that of an endpoint.
func (w *world) awaitHealth(pool string, n *node, want string) {
	w.t.Helper()
	w.await(n.address+" "+want, func() bool { return w.health(pool)[n.address] == want })
}

// tally asks n times and counts the bodies.
func (w *world) tally(n int, adjust ...func(*visitor)) map[string]int {
	w.t.Helper()
	counts := map[string]int{}
	for range n {
		v := w.visitor()
		for _, f := range adjust {
			f(v)
		}
		counts[v.get().body]++
	}
	return counts
}
