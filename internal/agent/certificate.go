package agent

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	keySuffix = ".key"
	// keyPatience is how long a key waits for the load balancer that it was made for: the operator asks for it first.
	keyPatience = 24 * time.Hour
)

// serverKeys are the private keys that this node serves HTTPS with, one for each load balancer, made here and never shown. It is
// safe for concurrent use.
type serverKeys struct {
	state state
	now   func() time.Time
	log   *slog.Logger

	mu sync.Mutex
	// used are the load balancers that this node was seen to serve HTTPS for.
	used map[string]bool
}

// request returns a signing request (PKCS#10, PEM) of the key for a load balancer, which is made when there is none.
func (k *serverKeys) request(loadBalancer string, hostnames []string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, err := k.load(loadBalancer)
	var damaged *damagedKeyError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		key, err = k.create(loadBalancer)
	case errors.As(err, &damaged):
		// Nothing depends on it but a certificate, and that is what is being asked for.
		k.log.Error("a damaged key is replaced", "error", err)
		key, err = k.create(loadBalancer)
	}
	if err != nil {
		return "", err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: hostnames[0]}, DNSNames: hostnames,
	}, key)
	if err != nil {
		return "", fmt.Errorf("make a signing request for %s: %w", loadBalancer, err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

// pem returns the key for a load balancer.
func (k *serverKeys) pem(loadBalancer string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	data, err := os.ReadFile(k.path(loadBalancer))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("this node has no key for its certificate any more; the operator's next apply brings a new one")
	}
	if err != nil {
		return nil, fmt.Errorf("read the key of %s: %w", loadBalancer, err)
	}
	return data, nil
}

// sweep removes the keys that nothing needs. Wanted tells of a load balancer whether this node serves HTTPS for it.
func (k *serverKeys) sweep(wanted map[string]bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	entries, err := os.ReadDir(k.state.path(keysDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for keys that nothing needs: %w", err)
	}
	left := 0
	for _, entry := range entries {
		name, ours := strings.CutSuffix(entry.Name(), keySuffix)
		if wanted[name] {
			if k.used == nil {
				k.used = map[string]bool{}
			}
			k.used[name] = true
		}
		info, err := entry.Info()
		if !ours || wanted[name] || err != nil || !k.used[name] && k.now().Sub(info.ModTime()) < keyPatience {
			left++
			continue
		}
		k.log.Info("the key of a load balancer that this node does not serve any more is removed", "hostname", name)
		delete(k.used, name)
		if err := k.folder().remove(entry.Name()); err != nil {
			return err
		}
	}
	if left == 0 {
		return k.state.remove(keysDir)
	}
	return nil
}

func (k *serverKeys) folder() state { return state{k.state.path(keysDir)} }

func (k *serverKeys) path(loadBalancer string) string {
	return k.folder().path(loadBalancer + keySuffix)
}

// damagedKeyError says that a file is no key.
type damagedKeyError struct {
	file string
	err  error
}

// Error names the file.
func (e *damagedKeyError) Error() string {
	return fmt.Sprintf("%s is no private key: %v", e.file, e.err)
}

// Unwrap returns why not.
func (e *damagedKeyError) Unwrap() error { return e.err }

// load returns a key that is there. The error is fs.ErrNotExist when there is none.
func (k *serverKeys) load(loadBalancer string) (crypto.Signer, error) {
	file := k.path(loadBalancer)
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the key of %s: %w", loadBalancer, err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, &damagedKeyError{file, errors.New("it is not PEM")}
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, &damagedKeyError{file, err}
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, &damagedKeyError{file, fmt.Errorf("it holds a %T", parsed)}
	}
	return key, nil
}

// create makes a key on P-256, which every client knows and a small machine signs with thousands of times a second.
func (k *serverKeys) create(loadBalancer string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of %s: %w", loadBalancer, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make the key of %s: %w", loadBalancer, err)
	}
	if err := k.folder().make(); err != nil {
		return nil, err
	}
	if err := k.folder().write(loadBalancer+keySuffix, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return nil, err
	}
	return key, k.state.sync()
}
