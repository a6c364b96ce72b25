//go:build linux

package vm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// nocloudLabel is by what cloud-init knows a seed disk.
const nocloudLabel = "CIDATA"

// seedBlocks is the size of a seed disk in KiB: that of a floppy disk, which mkfs.vfat knows well.
const seedBlocks = "1440"

// WriteNoCloud makes a seed disk with the given files, such as user-data and meta-data, by name. They may be secret.
func WriteNoCloud(ctx context.Context, path string, files map[string][]byte) error {
	dir, err := os.MkdirTemp(filepath.Dir(path), "seed-")
	if err != nil {
		return fmt.Errorf("make a seed disk: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	image := filepath.Join(dir, "image")
	if err := run(ctx, "mkfs.vfat", "-C", "-n", nocloudLabel, image, seedBlocks); err != nil {
		return fmt.Errorf("make a seed disk: %w", err)
	}
	names := []string{}
	for name, data := range files {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			return fmt.Errorf("make a seed disk: %w", err)
		}
		names = append(names, file)
	}
	slices.Sort(names)
	if err := run(ctx, "mcopy", append(append([]string{"-i", image}, names...), "::")...); err != nil {
		return fmt.Errorf("make a seed disk: %w", err)
	}
	if err := os.Chmod(image, 0o600); err != nil {
		return fmt.Errorf("make a seed disk: %w", err)
	}
	if err := os.Rename(image, path); err != nil {
		return fmt.Errorf("make a seed disk: %w", err)
	}
	return nil
}
