package agent_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/api"
	contract "github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// fakeProxy is a proxy driver without a proxy.
type fakeProxy struct {
	mu     sync.Mutex
	config *contract.Config
	down   bool
	// unwell makes it find no application well.
	unwell bool
	fails  error
	// hanging are the nodes whose applications hang; those of all others are well then.
	hanging []string
	// released are the nodes whose requests were ended, and busy how often they will not be.
	released []string
	busy     int
}

func (f *fakeProxy) Release(_ context.Context, host, node string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy > 0 {
		f.busy--
		return errors.New("the proxy is busy")
	}
	f.released = append(f.released, host+" "+node)
	return nil
}

func (f *fakeProxy) Apply(_ context.Context, c *contract.Config) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails != nil {
		return f.fails
	}
	f.config = c
	return nil
}

func (f *fakeProxy) Status(context.Context) (contract.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := contract.Status{Services: map[string]map[string]bool{}}
	if f.config == nil || f.down {
		return out, nil
	}
	out.Running = true
	for _, s := range f.config.Services {
		out.Services[s.Hostname] = map[string]bool{s.Servers[0].Node: !f.unwell}
		if len(f.hanging) > 0 {
			for _, server := range s.Servers {
				out.Services[s.Hostname][server.Node] = !slices.Contains(f.hanging, server.Node)
			}
			out.Hanging = map[string][]string{s.Hostname: f.hanging}
		}
	}
	return out, nil
}

func (f *fakeProxy) set(edit func(*fakeProxy)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit(f)
}

func (f *fakeProxy) service() (contract.Service, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.config == nil || len(f.config.Services) != 1 {
		return contract.Service{}, fmt.Errorf("the proxy is told %+v", f.config)
	}
	return f.config.Services[0], nil
}

// gate is the kernel's table of a machine, as text.
type gate struct {
	mu    sync.Mutex
	rules string
}

var gateScript = regexp.MustCompile(`(?s)^table inet atoll_proxy\ndelete table inet atoll_proxy\n(.*)`)

// watchGate gives the machine a kernel that keeps the gate's table.
func (m *machine) watchGate() *gate {
	g := &gate{}
	none := &host.CommandError{Command: "nft", ExitCode: 1, Err: errors.New("no such table")}
	m.host.Handle("nft", func(c host.Command) (host.Output, error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		switch made := gateScript.FindStringSubmatch(string(c.Stdin)); {
		case made != nil:
			g.rules = made[1]
		case string(c.Stdin) == "delete table inet atoll_proxy\n":
			g.rules = ""
		case c.String() == "nft list table inet atoll_proxy" && g.rules != "":
			return host.Output{Stdout: []byte(g.rules)}, nil
		default:
			return host.Output{}, none
		}
		return host.Output{}, nil
	})
	return g
}

// refuses waits until the machine refuses strangers at port 80, or does not.
func (m *machine) refuses(g *gate, want bool) {
	m.w.t.Helper()
	m.w.wait(fmt.Sprintf("%s refuses strangers: %t", m.name, want), func() error {
		g.mu.Lock()
		defer g.mu.Unlock()
		if got := strings.Contains(g.rules, "80 timeout"); got != want {
			return fmt.Errorf("the gate is %q", g.rules)
		}
		return nil
	})
}

// sign makes a certificate for a signing request, as a vendor does.
func sign(t *testing.T, request string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(request))
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		t.Fatalf("no request: %s", request)
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || csr.CheckSignature() != nil {
		t.Fatalf("the request cannot be used: %v, %v", err, csr.CheckSignature())
	}
	if diff := cmp.Diff([]string{hostname, "*.example.com"}, csr.DNSNames); diff != "" {
		t.Errorf("hostnames of the request (-want +got):\n%s", diff)
	}
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: csr.DNSNames}
	der, err := x509.CreateCertificate(rand.Reader, template, template, csr.PublicKey, ca)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func (m *machine) certificateRequest() string {
	m.w.t.Helper()
	client := m.operator()
	defer client.Close()
	answer, err := client.CertificateRequest(m.w.t.Context(), api.CertificateRequest{LoadBalancer: hostname, Hostnames: []string{hostname, "*.example.com"}})
	if err != nil {
		m.w.t.Fatal(err)
	}
	return answer.Request
}

// keys returns the names and modes of the machine's keys for HTTPS.
func (m *machine) keys() []string {
	names, _ := filepath.Glob(filepath.Join(m.state, "keys*", "*"))
	var out []string
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			out = append(out, fmt.Sprintf("%s %04o", filepath.Base(name), info.Mode().Perm()))
		}
	}
	return out
}

func TestProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines, apps := w.serving("hk1", "sg1")
	hk, sg := machines[0], machines[1]
	gate := hk.watchGate()
	lb := proxied(80, machines...)

	// The certificate is asked for before the node has heard of the load balancer; a restart keeps the key.
	request := hk.certificateRequest()
	if diff := cmp.Diff([]string{hostname + ".key 0600"}, hk.keys()); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	hk.restart()
	hk.waitHealth("is back", healthy)
	lb.Proxy.TLSPort = 443
	lb.Proxy.Certificates = map[string]string{"hk1": sign(t, request), "sg1": sign(t, sg.certificateRequest())}
	hk.push(w.sign(hostname, lb))
	hk.waitServing("serves", http.StatusOK, "proxy", "ok")
	sg.waitServing("serves", http.StatusOK, "proxy", "ok")
	s, err := hk.proxy.service()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(s.Certificate, "BEGIN CERTIFICATE") || !strings.Contains(s.Certificate, "BEGIN PRIVATE KEY") || s.TLSPort != 443 {
		t.Errorf("the proxy has port %d and a certificate of %d bytes", s.TLSPort, len(s.Certificate))
	}
	if len(s.Servers) != 2 || s.Servers[0].Node != "hk1" || s.Servers[1].Address.String() != fmt.Sprintf("10.66.0.2:%d", applicationPort) {
		t.Errorf("servers are %+v", s.Servers)
	}

	hk.proxy.set(func(f *fakeProxy) { f.down = true })
	hk.waitServing("its proxy is dead", http.StatusServiceUnavailable, "proxy", "not running")
	hk.proxy.set(func(f *fakeProxy) { f.down = false })
	hk.waitServing("its proxy is back", http.StatusOK, "proxy", "ok")

	apps[0].kill()
	hk.refuses(gate, true)
	// Whoever else could take what comes is away: then there is no use in refusing.
	apps[1].kill()
	hk.refuses(gate, false)
	apps[1].start()
	hk.refuses(gate, true)
	apps[0].start()
	hk.refuses(gate, false)

	hk.push(w.tombstoneOf(spec.KindLoadBalancer, hostname))
	w.wait("nothing of the proxy is left", func() error {
		if s, err := hk.proxy.service(); err == nil {
			return fmt.Errorf("it serves %+v", s)
		}
		if keys := hk.keys(); len(keys) > 0 {
			return fmt.Errorf("keys %v", keys)
		}
		return nil
	})
	if again := hk.certificateRequest(); again == request || len(hk.keys()) != 1 {
		t.Error("the old key is still there")
	}
}

// proxied is a load balancer of machines that run a proxy.
func proxied(port int, machines ...*machine) spec.LoadBalancer {
	lb := balancer(httpCheck(), 0, machines...)
	lb.Proxy = &spec.Proxy{Driver: spec.ProxyHAProxy, Port: port}
	return lb
}

// TestProxyLeaves takes a node that refuses strangers out of its cluster.
func TestProxyLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines, apps := w.serving("hk1", "sg1")
	hk, sg := machines[0], machines[1]
	gate := hk.watchGate()
	hk.certificateRequest()
	hk.push(w.sign(hostname, proxied(80, machines...)))
	hk.waitServing("serves", http.StatusOK, "proxy", "ok")
	sg.waitServing("serves", http.StatusOK, "proxy", "ok")
	apps[0].kill()
	hk.refuses(gate, true)
	hk.push(w.tombstone("hk1"))
	hk.waitHealth("leaves", waiting)
	hk.refuses(gate, false)
	if s, err := hk.proxy.service(); err == nil {
		t.Errorf("its proxy still serves %+v", s)
	}
	if keys := hk.keys(); len(keys) > 0 {
		t.Errorf("it still has the keys %v", keys)
	}
}

// TestProxyTrouble has a proxy that cannot be made.
func TestProxyTrouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines, _ := w.serving("hk1")
	hk := machines[0]
	lb := proxied(80, hk)
	lb.Proxy.TLSPort = 443
	hk.push(w.sign(hostname, lb))
	hk.waitServing("has no certificate", http.StatusServiceUnavailable, "proxy", "no certificate")
	// The apply that brings it waits for nodes that are made again to be as described.
	hk.waitCondition(spec.ConditionApplied, spec.ConditionTrue, "Applied")
	hk.proxy.set(func(f *fakeProxy) { f.fails = &contract.PortsTakenError{At: map[int]string{80: "0.0.0.0:80"}} })
	hk.push(w.sign(hostname, proxied(80, hk)))
	hk.waitServing("has no port", http.StatusServiceUnavailable, "proxy", "port in use")
	w.wait("the condition says why", func() error {
		c, err := hk.condition(spec.ConditionApplied)
		if err == nil && !strings.Contains(c.Message, "port 80 is in use") {
			err = errors.New(c.Message)
		}
		return err
	})
}

func TestServerKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Now()
	keys := agent.OpenServerKeys(dir, func() time.Time { return now })
	request := func(loadBalancer string) string {
		t.Helper()
		r, err := keys.Request(loadBalancer, []string{loadBalancer})
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode([]byte(r))
		csr, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(csr.PublicKey)
	}
	sweep := func(wanted ...string) {
		t.Helper()
		set := map[string]bool{}
		for _, name := range wanted {
			set[name] = true
		}
		if err := keys.Sweep(set); err != nil {
			t.Fatal(err)
		}
	}
	sweep()
	first := request("a.example")
	if request("a.example") != first {
		t.Error("the key changes from request to request")
	}
	if request("b.example") == first {
		t.Error("two load balancers have one key")
	}
	sweep("b.example")
	if request("a.example") != first {
		t.Error("a key that waits for its load balancer was removed")
	}
	sweep()
	if request("a.example") != first {
		t.Error("with another load balancer its key went, too")
	}
	now = now.Add(25 * time.Hour)
	sweep()
	if _, err := os.Stat(filepath.Join(dir, "keys")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("keys that nobody came for are left: %v", err)
	}
	if _, err := keys.PEM("a.example"); err == nil || !strings.Contains(err.Error(), "next apply") {
		t.Errorf("a missing key: %v", err)
	}
	request("c.example")
	if err := os.WriteFile(filepath.Join(dir, "keys/c.example.key"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	request("c.example") // asking for a certificate makes a new one
}

func TestRefusedPorts(t *testing.T) {
	t.Parallel()
	now := time.Now()
	lb := func(hostname string, port, tls int) topology.LoadBalancer {
		return topology.LoadBalancer{
			Hostname: hostname, Proxy: &spec.Proxy{Port: port, TLSPort: tls},
			Peers: []topology.ServingPeer{{Peer: topology.Peer{Name: "sg1"}, ServingNode: spec.ServingNode{Enabled: true}}},
		}
	}
	fit := map[string]spec.ServingStatus{"a": {}, "b": {}, "fit": {Fit: true}}
	report := func(fit bool) map[string]spec.Status {
		s := spec.ServingStatus{Fit: fit}
		return map[string]spec.Status{"sg1": {Serving: map[string]spec.ServingStatus{"a": s, "b": s, "fit": s}}}
	}
	reachable := map[string]spec.PeerStatus{"sg1": {Reachable: true}, "us1": {Reachable: true}}
	silent := map[string]spec.PeerStatus{"sg1": {}, "us1": {Reachable: true}}
	hidden := map[string]spec.PeerStatus{"sg1": {Reachable: true, Public: &spec.PublicStatus{}}, "us1": {Reachable: true}}
	public := map[string]spec.PeerStatus{"sg1": {Reachable: true, Public: &spec.PublicStatus{Answers: true}}}
	disabled := lb("a", 80, 0)
	disabled.Peers[0].Enabled = false
	tests := []struct {
		name      string
		balancers []topology.LoadBalancer
		statuses  map[string]spec.Status
		age       time.Duration
		peers     map[string]spec.PeerStatus
		before    []int
		want      []int
		out       []string
	}{
		{"unfit, another serves", []topology.LoadBalancer{lb("a", 80, 443)}, report(true), 0, reachable, nil, []int{80, 443}, nil},
		{"fit", []topology.LoadBalancer{lb("fit", 80, 0)}, report(true), 0, reachable, []int{80}, nil, nil},
		{"unfit, and so is the other", []topology.LoadBalancer{lb("a", 80, 0)}, report(false), 0, reachable, []int{80}, nil, nil},
		{"the other has said nothing for long", []topology.LoadBalancer{lb("a", 80, 0)}, report(true), 2 * time.Minute, reachable, nil, nil, nil},
		{"the other has fallen silent", []topology.LoadBalancer{lb("a", 80, 0)}, report(true), 0, silent, nil, nil, nil},
		{"cut off from everybody's mesh, but not from their reports", []topology.LoadBalancer{lb("a", 80, 0)}, report(true), 0, map[string]spec.PeerStatus{"sg1": {}}, nil, []int{80}, nil},
		{"the other is drained", []topology.LoadBalancer{disabled}, report(true), 0, reachable, nil, nil, nil},
		{"a shared port, one fit", []topology.LoadBalancer{lb("a", 80, 0), lb("fit", 80, 443)}, report(true), 0, reachable, nil, nil, nil},
		{"a shared port, both unfit", []topology.LoadBalancer{lb("a", 80, 0), lb("b", 80, 0)}, report(true), 0, reachable, nil, []int{80}, nil},
		{"nothing known yet", []topology.LoadBalancer{lb("unknown", 80, 443)}, report(true), 0, reachable, []int{80}, []int{80}, nil},
		{"no proxy", []topology.LoadBalancer{{Hostname: "a"}}, report(true), 0, reachable, []int{80}, nil, nil},
		{"the other answers in public, too", []topology.LoadBalancer{lb("a", 80, 0)}, report(true), 0, public, nil, []int{80}, nil},
		{"the other is silent in public", []topology.LoadBalancer{lb("a", 80, 0)}, report(true), 0, hidden, []int{80}, nil, nil},
		{"the other is removed at the vendor", []topology.LoadBalancer{lb("a", 80, 0)}, report(true), 0, reachable, []int{80}, nil, []string{"sg1"}},
		{"a third one is", []topology.LoadBalancer{lb("a", 80, 0)}, report(true), 0, reachable, nil, []int{80}, []string{"us1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := agent.RefusedPorts(tt.balancers, fit, tt.statuses, map[string]time.Time{"sg1": now.Add(-tt.age)}, tt.peers, tt.out, now, tt.before)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("refused ports (-want +got):\n%s", diff)
			}
		})
	}
}

// newFakeProxies is what a machine's agent has for proxies.
func (m *machine) newFakeProxies() map[spec.ProxyDriver]contract.New {
	return map[spec.ProxyDriver]contract.New{spec.ProxyHAProxy: func(host.System, *slog.Logger) contract.Driver { return &m.proxy }}
}

// TestOneLookAtAProxyIsNone: a proxy that serves and does not say so once still serves; what else is wrong counts at once.
func TestOneLookAtAProxyIsNone(t *testing.T) {
	t.Parallel()
	type look struct {
		after           time.Duration
		problem, before string
		want            bool
	}
	const none, silent = "", "not running"
	for name, looks := range map[string][]look{
		"one miss":                 {{0, silent, none, false}, {time.Second, none, none, true}, {2 * time.Second, silent, none, false}},
		"two misses":               {{0, silent, none, false}, {time.Second, silent, none, true}},
		"two looks at once":        {{0, silent, none, false}, {time.Millisecond, silent, none, false}, {time.Second, silent, none, true}},
		"it has never run":         {{0, silent, "not started yet", true}},
		"it was known not to":      {{0, silent, silent, true}},
		"another trouble":          {{0, "port in use", none, true}},
		"another trouble comes in": {{0, silent, none, false}, {500 * time.Millisecond, "no certificate", none, true}},
	} {
		t.Run(name, func(t *testing.T) {
			w, now := agent.NewProxyWatch(), time.Now()
			for i, l := range looks {
				if got := w.Believes(l.problem, l.before, now.Add(l.after)); got != l.want {
					t.Errorf("look %d (%+v): got %t", i, l, got)
				}
			}
		})
	}
}
