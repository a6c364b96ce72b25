package seed

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/platform/volume"
)

// Inspect looks at a block device. It fails with *InUseError, with the description, for one that is in use.
func Inspect(path string) (Device, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Device{}, fmt.Errorf("look at %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return Device{}, fmt.Errorf("%s is no disk or partition; devices are listed by lsblk", path)
	}
	sys, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)))
	if err != nil {
		return Device{}, fmt.Errorf("look at %s: %w", path, err)
	}
	d := Device{Path: path, Size: 512 * readInt(filepath.Join(sys, "size"))}
	for _, name := range []string{"device/vendor", "device/model", "device/name"} {
		if text := readText(filepath.Join(sys, name)); text != "" {
			d.Model = strings.TrimSpace(d.Model + " " + text)
		}
	}
	if err := d.look(path, sys, ""); err != nil {
		return d, err
	}
	parts, err := filepath.Glob(filepath.Join(sys, "*", "partition"))
	if err != nil {
		return d, err
	}
	for _, part := range parts {
		dir := filepath.Dir(part)
		node := filepath.Join("/dev", filepath.Base(dir))
		if err := d.look(node, dir, fmt.Sprintf("partition %s of %s", readText(part), size(512*readInt(filepath.Join(dir, "size"))))); err != nil {
			return d, err
		}
	}
	if len(d.InUse) > 0 {
		return d, &InUseError{Device: d}
	}
	return d, nil
}

// look notes what is on a disk or partition and by what it is used.
func (d *Device) look(path, sys, what string) error {
	if content := contentOf(path); content != "" {
		what = strings.TrimSpace(what + " " + content)
	}
	if what != "" {
		d.Holds = append(d.Holds, what)
	}
	number := readText(filepath.Join(sys, "dev"))
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("find out what is mounted: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 4 && f[2] == number {
			d.InUse = append(d.InUse, fmt.Sprintf("%s is mounted at %s", path, f[4]))
		}
	}
	holders, err := os.ReadDir(filepath.Join(sys, "holders"))
	if err == nil && len(holders) > 0 {
		d.InUse = append(d.InUse, fmt.Sprintf("%s is part of %s", path, holders[0].Name()))
	}
	swaps, err := os.ReadFile("/proc/swaps")
	if err == nil {
		for line := range strings.Lines(string(swaps)) {
			if f := strings.Fields(line); len(f) > 0 && f[0] == path {
				d.InUse = append(d.InUse, path+" is swap space")
			}
		}
	}
	return nil
}

// contentOf describes what begins on a device, "" when that is nothing but zeros or cannot be read.
func contentOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // only read from
	if v, err := volume.Open(f); err == nil {
		return fmt.Sprintf("a %s file system labelled %q", v.Kind, v.Label)
	}
	r := bufio.NewReader(io.LimitReader(f, 128<<10))
	for {
		b, err := r.ReadByte()
		if err != nil {
			return ""
		}
		if b != 0 {
			return "some data"
		}
	}
}

func readText(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func readInt(path string) int64 {
	n, err := strconv.ParseInt(readText(path), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// WriteDevice writes a volume to the beginning of a device that is not in use. What was on it is lost.
func WriteDevice(path string, image []byte) (err error) {
	// The kernel refuses O_EXCL for a device that is in use, also one that came into use since somebody looked.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_EXCL, 0)
	if err != nil {
		return fmt.Errorf("write the seed: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("write the seed: %w", err)
	}
	if end < int64(len(image)) {
		return fmt.Errorf("write the seed: %s has %s, a seed needs %s", path, size(end), size(int64(len(image))))
	}
	if _, err := f.WriteAt(image, 0); err != nil {
		return fmt.Errorf("write the seed: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write the seed: %w", err)
	}
	return nil
}
