package edge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/edge"
)

// certified returns a certificate of the account's Origin CA for a hostname.
func (w *world) certified(name string) tls.Certificate {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		w.t.Fatal(err)
	}
	csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	answer := w.call(http.MethodPost, "/certificates", object{
		"csr": string(csr), "hostnames": []string{name}, "request_type": "origin-ecc", "requested_validity": 7,
	})
	text, _ := answer["certificate"].(string)
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		w.t.Fatalf("no certificate in %v", answer)
	}
	return tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
}

// TestSecureEndpoints visits by HTTPS: the edge goes on to endpoints by HTTPS too, trusts the Origin CA alone, and tries another
// endpoint when one cannot be trusted.
func TestSecureEndpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var authority edge.Authority
	front := httptest.NewUnstartedServer(w.edge)
	front.TLS = authority.Config()
	front.StartTLS()
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
	})
	secure := func(address string, c tls.Certificate) {
		t.Helper()
		var lc net.ListenConfig
		l, err := lc.Listen(t.Context(), "tcp", net.JoinHostPort(address, "0"))
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{
			ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12}, ReadHeaderTimeout: time.Minute,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, r.Host+" "+r.Header.Get("X-Forwarded-Proto"))
			}),
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = s.ServeTLS(l, "", "") // ends with Close
		}()
		t.Cleanup(func() {
			_ = s.Close()
			<-done
		})
		addr, _ := l.Addr().(*net.TCPAddr)
		w.api(http.MethodPost, pools, object{"name": "pool-" + address[len(address)-1:], "origins": []object{{"name": address, "address": address, "port": addr.Port}}})
	}
	pool, err := authority.Pool()
	if err != nil {
		t.Fatal(err)
	}
	visit := func() (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, front.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = hostname
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: hostname, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
		answer, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	secure("127.0.0.1", w.certified("other.example.com"))
	secure("127.0.0.2", w.certified(hostname))
	id := func(n int) string { return w.server.Account().Pools[n].ID }
	lb := w.api(http.MethodPost, balancers(), object{
		"name": hostname, "proxied": true, "default_pools": []string{id(0)}, "fallback_pool": id(0), "steering_policy": "off",
	})
	if status, text := visit(); status != 526 || text != "error code: 526" {
		t.Errorf("a certificate for another name: %d %q", status, text)
	}
	w.api(http.MethodPatch, balancers()+"/"+lb, object{
		"default_pools": []string{id(0), id(1)}, "adaptive_routing": object{"failover_across_pools": true},
	})
	if status, text := visit(); status != http.StatusOK || text != hostname+" https" {
		t.Errorf("the other endpoint: %d %q", status, text)
	}
	// A visitor by HTTP comes to the endpoint by HTTP.
	if got := w.visitor().get(); got.status != http.StatusBadRequest {
		t.Errorf("HTTP at a port of HTTPS: %d %q", got.status, got.body)
	}
}
