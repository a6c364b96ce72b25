//go:build linux

package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
)

// makeDisk makes the machine's own disk.
func (c Config) makeDisk(ctx context.Context, p places) error {
	if c.DirectKernel {
		return c.copyRaw(ctx, p.disk(true))
	}
	info, err := inspect(ctx, c.Image)
	if err != nil {
		return err
	}
	size := max(info.VirtualSize, int64(c.Disk)<<20)
	return run(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-F", info.Format, "-b", c.Image, p.disk(false), strconv.FormatInt(size, 10))
}

// copyRaw copies a raw image, holes left out, and makes room behind it: a boot loader of this machine's, and whoever wants
// an image of the disk, read the file as it is.
func (c Config) copyRaw(ctx context.Context, to string) error {
	if err := run(ctx, "cp", "--sparse=always", "--reflink=auto", "--no-preserve=mode", "--", c.Image, to); err != nil {
		return err
	}
	info, err := os.Stat(to)
	if err != nil {
		return fmt.Errorf("make the disk: %w", err)
	}
	if size := int64(c.Disk) << 20; size > info.Size() {
		if err := os.Truncate(to, size); err != nil {
			return fmt.Errorf("make the disk: %w", err)
		}
	}
	return nil
}

// imageInfo is what qemu-img knows of a disk.
type imageInfo struct {
	Format      string `json:"format"`
	VirtualSize int64  `json:"virtual-size"`
}

func inspect(ctx context.Context, image string) (imageInfo, error) {
	var info imageInfo
	out, err := output(exec.CommandContext(ctx, "qemu-img", "info", "--output=json", image))
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return info, fmt.Errorf("understand qemu-img about %s: %w", image, err)
	}
	return info, nil
}

// writeCredentials puts credentials where QEMU reads them; on its command line everybody could.
func (c Config) writeCredentials(p places) error {
	for name, value := range c.Credentials {
		if err := renameio.WriteFile(p.credential(name), credential(name, value), 0o600); err != nil {
			return fmt.Errorf("write credential %s: %w", name, err)
		}
	}
	return nil
}

func run(ctx context.Context, name string, args ...string) error {
	_, err := output(exec.CommandContext(ctx, name, args...))
	return err
}

// output runs a command; what it complains of is in the error.
func output(cmd *exec.Cmd) ([]byte, error) {
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return out, nil
}

// removeAll removes a machine's files.
func removeAll(paths ...string) error {
	var errs []error
	for _, p := range paths {
		errs = append(errs, os.RemoveAll(p))
	}
	return errors.Join(errs...)
}
