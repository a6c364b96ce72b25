package wireguard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// EnsureKey implements mesh.Driver.
func (d *Driver) EnsureKey(ctx context.Context) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return "", err
	}
	public, err := d.publicKey()
	if !errors.Is(err, fs.ErrNotExist) {
		return public, err
	}
	key, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return "", fmt.Errorf("make the mesh key: %w", err)
	}
	if _, err := d.sys.WriteFile(keyPath, []byte(key.String()+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep the mesh key: %w", err)
	}
	return key.PublicKey().String(), nil
}

// publicKey returns the public half of the key on the node, or an error that is fs.ErrNotExist. A key that cannot be read
// is never replaced: the node's peers know it, and the operator has to decide.
func (d *Driver) publicKey() (string, error) {
	text, err := d.sys.ReadFile(keyPath)
	if err != nil {
		return "", fmt.Errorf("read the mesh key: %w", err)
	}
	key, err := wgtypes.ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		return "", fmt.Errorf("read the mesh key: %s holds no WireGuard key; restore it, or remove the file and let the node join again", keyPath)
	}
	return key.PublicKey().String(), nil
}
