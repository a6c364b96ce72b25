package edge

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"
)

// The vendor's zones say how it connects to endpoints. The edge does as "Full (strict)" says: over HTTPS for a client that came by
// HTTPS, to an endpoint whose certificate is one of the Origin CA for the hostname, and over HTTP otherwise.

// tlsError is a failure to agree on TLS after the connection was made.
type tlsError struct{ error }

func (e tlsError) Unwrap() error { return e.error }

// untrusted tells whether an endpoint's certificate was the reason.
func untrusted(err error) bool {
	var verification *tls.CertificateVerificationError
	return errors.As(err, &verification)
}

// secureTransport returns the transport to endpoints for requests of a hostname over HTTPS. Connections for one hostname do not serve
// another, since the endpoint may have another certificate for that.
func (e *Edge) secureTransport(host string) *http.Transport {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t, ok := e.secure[host]; ok {
		return t
	}
	t := e.transport.Clone()
	t.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := e.connect(ctx, network, address)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, e.Patience.Connect)
		defer cancel()
		client := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: e.account.Load().OriginCA.Pool(), MinVersion: tls.VersionTLS12})
		if err := client.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, tlsError{err}
		}
		return client, nil
	}
	e.secure[host] = t
	return t
}

// Authority issues the edge's certificates for clients, for any hostname, as the vendor has one for every zone. Its zero value is
// ready to use; it may be used from several goroutines.
type Authority struct {
	setup sync.Once
	err   error
	root  *x509.Certificate
	key   *ecdsa.PrivateKey

	mu     sync.Mutex
	issued map[string]*tls.Certificate
}

// authorityLife is how long the edge's certificates are valid: longer than a lab lives.
const authorityLife = 365 * 24 * time.Hour

func (a *Authority) start() error {
	a.setup.Do(func() {
		a.issued = map[string]*tls.Certificate{}
		if a.key, a.err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); a.err != nil {
			return
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Edge of the lab"}, IsCA: true, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(authorityLife), KeyUsage: x509.KeyUsageCertSign,
		}
		var der []byte
		if der, a.err = x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key); a.err == nil {
			a.root, a.err = x509.ParseCertificate(der)
		}
	})
	return a.err
}

// PEM returns the certificate that clients of the edge have to trust.
func (a *Authority) PEM() ([]byte, error) {
	if err := a.start(); err != nil {
		return nil, fmt.Errorf("make the edge's authority: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.Raw}), nil
}

// Pool returns what clients of the edge have to trust.
func (a *Authority) Pool() (*x509.CertPool, error) {
	text, err := a.PEM()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool, nil
}

// Config is how the edge speaks TLS to clients.
func (a *Authority) Config() *tls.Config {
	return &tls.Config{GetCertificate: a.certificate, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
}

var errNoName = errors.New("the client names no host")

func (a *Authority) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if err := a.start(); err != nil {
		return nil, err
	}
	if hello.ServerName == "" {
		return nil, errNoName
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.issued[hello.ServerName]; ok {
		return c, nil
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(a.issued) + 2)), Subject: pkix.Name{CommonName: hello.ServerName}, DNSNames: []string{hello.ServerName},
		NotBefore: a.root.NotBefore, NotAfter: a.root.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.root, a.key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	c := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
	a.issued[hello.ServerName] = c
	return c, nil
}
