package tinc

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// EnsureKey implements mesh.Driver. The key is made here rather than by tincd, which would ask where to put it.
func (d *Driver) EnsureKey(ctx context.Context) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keys().Ensure(ctx)
}

// makeKey makes a private key in a file and returns the public half.
func (d *Driver) makeKey(file string) (string, error) {
	key, err := rsa.GenerateKey(rand.Reader, d.keyBits)
	if err != nil {
		return "", fmt.Errorf("make the mesh key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if _, err := d.sys.WriteFile(file, text, 0o600); err != nil {
		return "", fmt.Errorf("keep the mesh key: %w", err)
	}
	return encodePublic(&key.PublicKey), nil
}

// publicKey returns the public half of the key on the node, or an error that is fs.ErrNotExist. A key that cannot be read
// is never replaced: the node's peers know it, and the operator has to decide.
func (d *Driver) publicKey() (string, error) { return d.publicOf(keyPath) }

// publicOf returns the public half of the key in a file.
func (d *Driver) publicOf(file string) (string, error) {
	text, err := d.sys.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the mesh key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "RSA PRIVATE KEY" {
		return "", fmt.Errorf("read the mesh key: %s holds no RSA key; restore it, or remove the file and let the node join again", file)
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("read the mesh key %s: %w; restore it, or remove the file and let the node join again", file, err)
	}
	return encodePublic(&key.PublicKey), nil
}
