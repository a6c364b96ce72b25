//go:build linux

package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// seedDevice is the second disk as QEMU knows it.
const seedDevice = "seed"

// Insert puts a seed, a disk image, into the place of the second disk, or takes the one there out when path is "". A running
// machine notices, as it would with a USB stick. The image is copied: the caller's file may change or go.
func (v *VM) Insert(ctx context.Context, path string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.seed
	if v.run != nil && old != "" {
		if err := v.unplug(ctx, v.run.monitor, filepath.Base(old)); err != nil {
			return fmt.Errorf("take the seed out of %s: %w", v.config.Name, err)
		}
	}
	v.seed = ""
	if old != "" {
		if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("take the seed out of %s: %w", v.config.Name, err)
		}
	}
	if path == "" {
		return nil
	}
	if err := v.keepSeed(ctx, path); err != nil {
		return err
	}
	if v.run == nil {
		return nil
	}
	if err := v.plug(ctx, v.run.monitor, v.seed); err != nil {
		return fmt.Errorf("put a seed into %s: %w", v.config.Name, err)
	}
	return nil
}

// keepSeed copies a seed to where the machine keeps its own, under a name that no earlier one had.
func (v *VM) keepSeed(ctx context.Context, path string) error {
	v.seeds++
	own := filepath.Join(v.places.dir, fmt.Sprintf("seed%d", v.seeds))
	if err := run(ctx, "cp", "--sparse=always", "--no-preserve=mode", "--", path, own); err != nil {
		return fmt.Errorf("keep the seed of %s: %w", v.config.Name, err)
	}
	if err := os.Chmod(own, 0o600); err != nil {
		return fmt.Errorf("keep the seed of %s: %w", v.config.Name, err)
	}
	v.seed = own
	return nil
}

func (v *VM) plug(ctx context.Context, m *monitor, path string) error {
	if err := m.run(ctx, "blockdev-add", map[string]any{
		"driver": "raw", "node-name": filepath.Base(path), "cache": map[string]any{"no-flush": true},
		"file": map[string]any{"driver": "file", "filename": path},
	}); err != nil {
		return err
	}
	return m.run(ctx, "device_add", map[string]any{
		"driver": "scsi-hd", "id": seedDevice, "drive": filepath.Base(path), "bus": "scsi.0", "lun": 1,
	})
}

// unplug takes a disk away. QEMU lets go of its file a moment after that.
func (v *VM) unplug(ctx context.Context, m *monitor, node string) error {
	if err := m.run(ctx, "device_del", map[string]any{"id": seedDevice}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := m.run(ctx, "blockdev-del", map[string]any{"node-name": node})
		refused := (*CommandError)(nil)
		if err == nil || !errors.As(err, &refused) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
