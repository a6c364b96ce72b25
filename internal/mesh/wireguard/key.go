package wireguard

import (
	"context"
	"fmt"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// EnsureKey implements mesh.Driver.
func (d *Driver) EnsureKey(ctx context.Context) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keys().Ensure(ctx)
}

// makeKey makes a private key in a file and returns the public half.
func (d *Driver) makeKey(file string) (string, error) {
	key, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return "", fmt.Errorf("make the mesh key: %w", err)
	}
	if _, err := d.sys.WriteFile(file, []byte(key.String()+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep the mesh key: %w", err)
	}
	return key.PublicKey().String(), nil
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
	key, err := wgtypes.ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		return "", fmt.Errorf("read the mesh key: %s holds no WireGuard key; restore it, or remove the file and let the node join again", file)
	}
	return key.PublicKey().String(), nil
}
