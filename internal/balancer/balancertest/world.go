// Package balancertest holds the tests that every balancer driver passes. They run the real driver and its real software on
// machines of namespaces: two nodes with an application each, somebody outside and somebody in a node's local network.
package balancertest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// NewDriver makes a driver for a machine. It does nothing to the machine yet.
type NewDriver func(t *testing.T, m *machinetest.Machine) balancer.Driver

// The nodes, and the others: a stranger, and a user in a node's own network.
const (
	hk = "hk-1"
	sg = "sg-2"
)

// appPort is where the application listens on each node.
const appPort = 8080

// world is two nodes with an application each, and two users.
type world struct {
	hk, sg        *node
	stranger, lan *machinetest.Machine
}

type node struct {
	*machinetest.Machine
	addr netip.Addr
	app  *application
}

func newWorld(t *testing.T) *world {
	t.Helper()
	internet := machinetest.NewInternet(t)
	attach := func(name, addr string) (*machinetest.Machine, netip.Addr) {
		m, a := machinetest.New(t, name), netip.MustParseAddr(addr)
		internet.Attach(t, m, a)
		return m, a
	}
	w := &world{hk: &node{}, sg: &node{}}
	w.hk.Machine, w.hk.addr = attach(hk, "198.51.100.10")
	w.sg.Machine, w.sg.addr = attach(sg, "198.51.100.11")
	w.stranger, _ = attach("stranger", "203.0.113.9")
	w.lan, _ = attach("lan", "192.168.7.9")
	for _, n := range []*node{w.hk, w.sg} {
		n.app = &application{node: n, goOn: make(chan struct{})}
		n.app.start(t)
		t.Cleanup(n.app.stop)
	}
	return w
}

// service is the hostname as the first node serves it: by its own application, else by the other node's.
func (w *world) service(hostname string, port int) balancer.Service {
	return balancer.Service{
		Hostname: hostname, Port: port,
		Check: spec.ApplicationCheck{Type: spec.CheckHTTP, Path: "/well?a=1&b=%20#c 'd'"}.WithDefaults(),
		Servers: []balancer.Server{
			{Node: hk, Address: netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", appPort))},
			{Node: sg, Address: netip.AddrPortFrom(w.sg.addr, appPort)},
		},
	}
}

// application is what a node serves: it answers with its node's name and what it was told of the request.
type application struct {
	node *node
	// drops counts requests that were ended without an answer.
	drops atomic.Int32
	// unwell makes it fail its check, and nothing else.
	unwell atomic.Bool
	// mute makes it take every connection and say nothing, also to its check.
	mute atomic.Bool
	// waiting counts the requests that wait to be released.
	waiting atomic.Int32
	goOn    chan struct{}

	mu     sync.Mutex
	server *http.Server
}

func (a *application) start(t *testing.T) {
	t.Helper()
	listener, err := a.node.Listen(t.Context(), fmt.Sprintf(":%d", appPort))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: a, ReadHeaderTimeout: time.Minute}
	a.mu.Lock()
	a.server = server
	a.mu.Unlock()
	go func() { _ = server.Serve(listener) }() // it ends by being closed
}

// stop ends the application as a crash does: nothing under way is finished.
func (a *application) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.server.Close()
}

// release lets one request that waits go on.
func (a *application) release() { a.goOn <- struct{}{} }

// ServeHTTP implements http.Handler.
func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a.mute.Load() {
		a.waiting.Add(1)
		defer a.waiting.Add(-1)
		<-r.Context().Done() // whoever asks has gone
		panic(http.ErrAbortHandler)
	}
	switch r.URL.Path {
	case "/drop":
		a.drops.Add(1)
		panic(http.ErrAbortHandler)
	case "/slow":
		for range 20 {
			select {
			case <-r.Context().Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
		}
	case "/wait":
		a.waiting.Add(1)
		defer a.waiting.Add(-1)
		select {
		case <-r.Context().Done():
		case <-a.goOn:
			_, _ = io.WriteString(w, a.node.Name)
		}
	case "/well":
		if a.unwell.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	default:
		w.Header().Set("Seen-Forwarded-For", r.Header.Get("X-Forwarded-For"))
		w.Header().Set("Seen-Forwarded-Proto", r.Header.Get("X-Forwarded-Proto"))
		w.Header().Set("Seen-Host", r.Host)
		_, _ = io.WriteString(w, a.node.Name)
	}
}

// user is somebody who sends requests from a machine to one address, each on a connection of its own unless it is kept.
type user struct {
	http *http.Client
	at   netip.AddrPort
	tls  bool
}

func from(m *machinetest.Machine, at netip.Addr, port int) *user {
	u := &user{at: netip.AddrPortFrom(at, uint16(port))} //nolint:gosec // a port of this file
	u.http = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return m.Dial(ctx, network, u.at.String())
		},
		DisableKeepAlives: true,
	}}
	return u
}

// keeping makes the user keep its connection.
func (u *user) keeping() *user {
	u.transport().DisableKeepAlives = false
	return u
}

// trusting makes the user speak TLS and believe one authority.
func (u *user) trusting(roots *x509.CertPool) *user {
	u.tls = true
	u.transport().TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return u
}

func (u *user) transport() *http.Transport {
	t, ok := u.http.Transport.(*http.Transport)
	if !ok {
		panic("it is made by from")
	}
	return t
}

type answer struct {
	status int
	body   string
	header http.Header
	tls    *tls.ConnectionState
}

func (u *user) ask(ctx context.Context, method, hostname, path string) (answer, error) {
	scheme := "http"
	if u.tls {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, method, scheme+"://"+hostname+path, nil)
	if err != nil {
		return answer{}, err
	}
	resp, err := u.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(body), resp.Header, resp.TLS}, err
}

// get asks for the first page and fails the test when that does not succeed.
func (u *user) get(t *testing.T, hostname string) answer {
	t.Helper()
	a, err := u.ask(t.Context(), http.MethodGet, hostname, "/")
	if err != nil || a.status != http.StatusOK {
		t.Fatalf("ask %s for %s: %+v, %v", u.at, hostname, a, err)
	}
	return a
}

// load asks for hostname again and again until stop is called, which returns how many answers came from each node and all failures.
func (u *user) load(t *testing.T) (stop func() (map[string]int, []string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	answers, failures := map[string]int{}, []string(nil)
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			a, err := u.ask(context.WithoutCancel(ctx), http.MethodGet, hostname, "/")
			switch {
			case err != nil:
				failures = append(failures, err.Error())
			case a.status != http.StatusOK:
				failures = append(failures, fmt.Sprint(a.status))
			default:
				answers[a.body]++
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	return func() (map[string]int, []string) {
		cancel()
		done.Wait()
		return answers, failures
	}
}
