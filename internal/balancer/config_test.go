package balancer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// testCase is what a configuration is derived from, beside a cluster of five nodes: b and d share a site with c, whose view it
// is.
type testCase struct {
	balancer    topology.LoadBalancer
	maintenance []string
	disabled    []string
	unwell      []string
	without     []string
	key         string
}

func peer(i byte, name, site string) topology.ServingPeer {
	return topology.ServingPeer{
		Peer:        topology.Peer{Name: name, Provider: "linode", Site: site, MeshAddress: netip.AddrFrom4([4]byte{10, 66, 0, i})},
		ServingNode: spec.ServingNode{Enabled: true, Port: 8080},
	}
}

func (c testCase) derive(t *testing.T) (*balancer.Config, map[string]string) {
	t.Helper()
	b := c.balancer
	b.Hostname, b.Self = "www.example.com", spec.ServingNode{Enabled: true, Port: 8081}
	v := &topology.View{Self: topology.Peer{Name: "c", Provider: "linode", Site: "hk"}, Maintenance: map[string]spec.Maintenance{}}
	in := func(list []string, name string) bool { return strings.Contains(strings.Join(list, ""), name) }
	for _, p := range []topology.ServingPeer{peer(1, "a", "sg"), peer(2, "b", "hk"), peer(4, "d", "hk"), peer(5, "e", "us")} {
		p.Enabled = !in(c.disabled, p.Name)
		b.Peers = append(b.Peers, p)
	}
	for _, name := range c.maintenance {
		v.Maintenance[name] = spec.Maintenance{}
	}
	v.LoadBalancers = []topology.LoadBalancer{b}
	return balancer.Derive(balancer.Input{
		Driver: spec.ProxyHAProxy, View: v,
		Key: func(string) ([]byte, error) {
			if c.key == "" {
				return nil, errors.New("there is no key")
			}
			return []byte(c.key), nil
		},
		Unwell:  func(_, node string) bool { return in(c.unwell, node) },
		Without: func(_, node string) bool { return in(c.without, node) },
	})
}

func plain() *spec.Proxy { return &spec.Proxy{Driver: spec.ProxyHAProxy, Port: 80} }

// TestServers looks at the order in which servers are preferred.
func TestServers(t *testing.T) {
	command := &spec.ApplicationCheck{Type: spec.CheckCommand, Command: []string{"/bin/true"}}
	tests := []struct {
		name string
		test testCase
		want string
	}{
		{"own first, own site next, each in a ring", testCase{balancer: topology.LoadBalancer{Proxy: plain()}}, "c d b e a"},
		{"in maintenance last", testCase{balancer: topology.LoadBalancer{Proxy: plain()}, maintenance: []string{"d"}}, "c b e a d"},
		{"itself in maintenance", testCase{balancer: topology.LoadBalancer{Proxy: plain()}, maintenance: []string{"c"}}, "d b e a c"},
		{"disabled last", testCase{balancer: topology.LoadBalancer{Proxy: plain()}, disabled: []string{"b", "e"}}, "c d a b e"},
		{"what the proxy can find out itself does not count", testCase{balancer: topology.LoadBalancer{Proxy: plain()}, unwell: []string{"c"}}, "c d b e a"},
		{"what it cannot does", testCase{balancer: topology.LoadBalancer{Proxy: plain(), Check: command}, unwell: []string{"c", "d"}}, "b e a c d"},
		{"without the database", testCase{balancer: topology.LoadBalancer{Proxy: plain()}, without: []string{"c", "b"}}, "d e a c b"},
		{"all without the database", testCase{balancer: topology.LoadBalancer{Proxy: plain()}, without: []string{"a", "b", "c", "d", "e"}}, "c d b e a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, problems := tt.test.derive(t)
			if len(problems) > 0 || c == nil || len(c.Services) != 1 {
				t.Fatalf("got %+v, problems %v", c, problems)
			}
			var names []string
			for _, s := range c.Services[0].Servers {
				names = append(names, s.Node)
				want := "10.66.0.1:8080"
				if s.Node == "c" {
					want = "127.0.0.1:8081"
				}
				if got := s.Address.String(); s.Node == "a" && got != want || s.Node == "c" && got != want {
					t.Errorf("%s is at %s, want %s", s.Node, got, want)
				}
			}
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// certificate returns a certificate and a key that fits it, in PEM.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// It has long expired: whether that matters is for those to say who connect.
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func TestCertificates(t *testing.T) {
	cert, key := certificate(t)
	_, otherKey := certificate(t)
	proxy := func(port int, certificates map[string]string) topology.LoadBalancer {
		return topology.LoadBalancer{Proxy: &spec.Proxy{Driver: spec.ProxyHAProxy, Port: port, TLSPort: 443, Certificates: certificates}}
	}
	tests := []struct {
		name    string
		test    testCase
		tls     int
		served  bool
		problem string
	}{
		{"key and certificate", testCase{balancer: proxy(80, map[string]string{"c": cert}), key: key}, 443, true, ""},
		{"HTTPS alone", testCase{balancer: proxy(0, map[string]string{"c": cert}), key: key}, 443, true, ""},
		{"no certificate yet", testCase{balancer: proxy(80, map[string]string{"a": cert}), key: key}, 0, true, "next apply"},
		{"no certificate and nothing else", testCase{balancer: proxy(0, nil), key: key}, 0, false, "next apply"},
		{"no key", testCase{balancer: proxy(80, map[string]string{"c": cert})}, 0, true, "there is no key"},
		{"another key's certificate", testCase{balancer: proxy(80, map[string]string{"c": cert}), key: otherKey}, 0, true, "does not fit"},
		{"no certificate at all", testCase{balancer: proxy(80, map[string]string{"c": "garbage"}), key: key}, 0, true, "does not fit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, problems := tt.test.derive(t)
			if got := problems["www.example.com"]; (got == "") != (tt.problem == "") || !strings.Contains(got, tt.problem) {
				t.Errorf("problem is %q, want %q", got, tt.problem)
			}
			if served := c != nil; served != tt.served {
				t.Fatalf("served: %t, want %t", served, tt.served)
			}
			if c == nil {
				return
			}
			s := c.Services[0]
			bundle := ""
			if tt.tls != 0 {
				bundle = cert + key
			}
			if s.TLSPort != tt.tls || s.Certificate != bundle {
				t.Errorf("port %d, certificate and key %q", s.TLSPort, s.Certificate)
			}
		})
	}
}

func TestNothingToServe(t *testing.T) {
	for name, b := range map[string]topology.LoadBalancer{
		"no proxy": {}, "another driver's": {Proxy: &spec.Proxy{Driver: "other", Port: 80}},
	} {
		if c, problems := (testCase{balancer: b}).derive(t); c != nil || len(problems) != 0 {
			t.Errorf("%s: got %+v, %v", name, c, problems)
		}
	}
}

func TestCheck(t *testing.T) {
	b := topology.LoadBalancer{Proxy: plain(), Check: &spec.ApplicationCheck{Type: spec.CheckHTTP, Interval: 5}}
	c, _ := testCase{balancer: b}.derive(t)
	if diff := cmp.Diff(b.Check.WithDefaults(), c.Services[0].Check); diff != "" {
		t.Errorf("check (-want +got):\n%s", diff)
	}
	c, _ = testCase{balancer: topology.LoadBalancer{Proxy: plain()}}.derive(t)
	if got := c.Services[0].Check; got.Type != spec.CheckTCP || got.Interval == 0 {
		t.Errorf("without a check: %+v", got)
	}
}
