package wireguard

import (
	"context"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh/keyfile"
)

// keys are the files of the node's keys.
func (d *Driver) keys() keyfile.Keys {
	return keyfile.Keys{System: d.sys, File: keyPath, Next: nextKeyPath, Public: d.publicOf, Make: d.makeKey}
}

// Keys implements mesh.Rotator.
func (d *Driver) Keys(context.Context) (current, prepared string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keys().Both()
}

// PrepareKey implements mesh.Rotator.
func (d *Driver) PrepareKey(ctx context.Context) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keys().Prepare(ctx)
}

// SwitchKey implements mesh.Rotator.
func (d *Driver) SwitchKey(_ context.Context, prepared string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keys().Switch(prepared)
}
