package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/atollhq/terraform-provider-atoll/internal/platform/volume"
)

// The labels of seed volumes, and the names of the files that may hold the payload.
const (
	// LabelAtoll is the label of a volume that is for Atoll alone.
	LabelAtoll = "ATOLL"
	// LabelNoCloud is the label of a volume of cloud-init's NoCloud data source, which takes it in capitals or not.
	LabelNoCloud = "CIDATA"
	// SeedFile is the payload's name on a volume.
	SeedFile = "atoll.json"
	// SeedUserData is cloud-init's file, which may hold the payload among its own things.
	SeedUserData = "user-data"
)

// Seed is a volume with a label: a stick, a disk, a partition or a disc.
type Seed struct {
	// Label is LabelAtoll or LabelNoCloud, or LabelESP for the volume that ESP reads.
	Label string
	// Root is put before /sys and /dev; empty means "/".
	Root string
}

var _ Source = Seed{}

// Name implements Source.
func (s Seed) Name() string { return "seed volume " + s.Label }

// TwoSeedsError says that two volumes with the same label hold different payloads. Which of them is meant is nothing to
// guess: it decides who this machine is.
type TwoSeedsError struct {
	// First and Second say where the payloads are and for which node.
	First, Second string
}

// Error names both.
func (e *TwoSeedsError) Error() string {
	return fmt.Sprintf("two seeds with different data: %s, and %s; neither is used: take one of them out", e.First, e.Second)
}

// UsedError says that the ticket of a seed was blotted out after its use.
type UsedError struct {
	// Place is the volume, Node the name that was joined with it.
	Place, Node string
}

// Error says what to do.
func (e *UsedError) Error() string {
	return fmt.Sprintf("%s: its ticket for node %q is used and was deleted; make a new seed with atoll seed", e.Place, e.Node)
}

// busyPatience is how long forgetting waits for a volume that is mounted.
const busyPatience = 5 * time.Second

// seedFile is a payload that was found on a volume.
type seedFile struct {
	// device is the path of the device, name the file's.
	device, name string
	file         *volume.File
	raw, data    []byte
}

func (f seedFile) place() string { return f.name + " on " + f.device }

// String says where the payload is and for whom.
func (f seedFile) String() string {
	var p struct{ Cluster, Node string }
	if json.Unmarshal(f.data, &p) != nil || p.Node == "" {
		return f.place()
	}
	return fmt.Sprintf("%s (node %q of cluster %q)", f.place(), p.Node, p.Cluster)
}

// Fetch implements Source. Several volumes with the same payload are as good as one, such as a hybrid image that shows as a
// disk and as its partition.
func (s Seed) Fetch(context.Context) (data []byte, found bool, err error) {
	var files []seedFile
	var used *UsedError
	err = s.each(func(f seedFile, _ *os.File) error {
		if node, isUsed := usedUp(f.data); isUsed {
			used = &UsedError{Place: f.place(), Node: node}
		} else {
			files = append(files, f)
		}
		return nil
	})
	switch {
	case len(files) == 0 && used != nil:
		return nil, false, errors.Join(used, err)
	case len(files) == 0:
		return nil, false, err
	}
	for _, f := range files[1:] {
		if !bytes.Equal(f.data, files[0].data) {
			return nil, false, &TwoSeedsError{First: files[0].String(), Second: f.String()}
		}
	}
	return files[0].data, true, nil
}

// Forget implements Source: it writes over the ticket's key where it is on the device, without a change to anything else of
// the volume. The rest is kept, for whoever wants to know what the volume was.
func (s Seed) Forget(ctx context.Context, used string) error {
	var stays error
	err := s.each(func(f seedFile, device *os.File) error {
		if checksum(f.data) != used {
			return nil
		}
		if err := blot(ctx, f, device); err != nil {
			stays = &StaysError{Source: f.place(), Remedy: "take the volume out and destroy the file", Err: err}
		}
		return nil
	})
	// What else is wrong with volumes is told while they are looked at for data.
	var one *seedError
	if errors.As(err, &one) {
		err = nil
	}
	return errors.Join(err, stays)
}

// seedError is what is wrong with one volume.
type seedError struct {
	device string
	err    error
}

func (e *seedError) Error() string { return e.device + ": " + e.err.Error() }

func (e *seedError) Unwrap() error { return e.err }

// each calls f with every payload on a volume with the label.
func (s Seed) each(f func(seedFile, *os.File) error) error {
	devices, err := s.devices()
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range devices {
		if err := s.one(path, f); err != nil {
			errs = append(errs, &seedError{device: path, err: err})
		}
	}
	return errors.Join(errs...)
}

// one looks at one device.
func (s Seed) one(path string, f func(seedFile, *os.File) error) (err error) {
	device, err := openDevice(path)
	if err != nil || device == nil {
		return err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	v, err := volume.Open(device)
	if err != nil {
		// Devices without a volume that is known, and those that cannot be read (an empty drive, a broken disk), are no
		// seeds. A damaged one says so only where its label could still be read.
		return nil //nolint:nilerr // see above
	}
	if !strings.EqualFold(v.Label, s.Label) {
		return nil
	}
	found, err := s.read(v, path)
	if err != nil || found == nil {
		return err
	}
	return f(*found, device)
}

// read returns the payload on a volume, nil when there is none.
func (s Seed) read(v *volume.Volume, device string) (*seedFile, error) {
	names := []string{SeedFile}
	if s.Label == LabelNoCloud {
		names = append(names, SeedUserData)
	}
	for _, name := range names {
		file, err := v.Find(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		raw, err := file.Read()
		if err != nil {
			return nil, err
		}
		data, found, err := Extract(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if found {
			return &seedFile{device: device, name: name, file: file, raw: raw, data: data}, nil
		}
		if name == SeedFile {
			return nil, fmt.Errorf("%s holds no Atoll payload: write the seed again", name)
		}
	}
	if s.Label == LabelAtoll {
		return nil, fmt.Errorf("the volume has Atoll's label but no %s: write the seed again", SeedFile)
	}
	return nil, nil
}

// seedDrivers begin the names of block devices that seeds come on: SCSI, SATA and USB disks, discs, virtio and Xen disks,
// NVMe, and cards. The agent's unit allows those and no others.
func seedDrivers() []string { return []string{"sd", "sr", "vd", "xvd", "nvme", "mmcblk"} }

// devices returns the block devices that may be seeds, whole disks and partitions.
func (s Seed) devices() ([]string, error) {
	dir := filepath.Join("/", s.Root, "sys/class/block")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the block devices: %w", err)
	}
	var out []string
	for _, e := range entries {
		if !slices.ContainsFunc(seedDrivers(), func(p string) bool { return strings.HasPrefix(e.Name(), p) }) {
			continue
		}
		if size, err := os.ReadFile(filepath.Join(dir, e.Name(), "size")); err != nil || strings.TrimSpace(string(size)) == "0" {
			continue
		}
		out = append(out, filepath.Join("/", s.Root, "dev", e.Name()))
	}
	return out, nil
}

// usedKey is what a ticket's key of n characters is overwritten with. It is valid base64, so the JSON stays what it was.
func usedKey(n int) string { return strings.Repeat("used", n/4+1)[:n] }

// ticketKey returns the ticket's key as a payload writes it, and the payload's node.
func ticketKey(data []byte) (key, node string) {
	var p struct {
		Key  string `json:"ticket_key"`
		Node string `json:"node"`
	}
	if json.Unmarshal(data, &p) != nil {
		return "", ""
	}
	return p.Key, p.Node
}

func usedUp(data []byte) (node string, used bool) {
	key, node := ticketKey(data)
	return node, key != "" && key == usedKey(len(key))
}

// blot overwrites the ticket's key wherever the file has it.
func blot(ctx context.Context, f seedFile, device *os.File) (err error) {
	key, _ := ticketKey(f.data)
	at := bytes.Index(f.raw, []byte(key))
	switch {
	case key == usedKey(len(key)):
		return nil
	case at < 0:
		return errors.New("the file is compressed or quotes the key, so it cannot be overwritten in place")
	}
	// O_EXCL fails while the volume is mounted, when writing to the device behind the file system's back would be wrong.
	// cloud-init mounts it for a moment.
	w, err := backoff.Retry(ctx, func() (*os.File, error) {
		w, err := os.OpenFile(device.Name(), os.O_WRONLY|exclusive(device), 0)
		if err != nil && !errors.Is(err, syscall.EBUSY) {
			err = backoff.Permanent(err)
		}
		return w, err
	}, backoff.WithBackOff(backoff.NewConstantBackOff(200*time.Millisecond)), backoff.WithMaxElapsedTime(busyPatience))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for ; at >= 0; at = bytes.Index(f.raw, []byte(key)) {
		for _, r := range f.file.Locate(int64(at), int64(len(key))) {
			if _, err := io.WriteString(io.NewOffsetWriter(w, r.Offset), usedKey(len(key))[:r.Length]); err != nil {
				return err
			}
		}
		copy(f.raw[at:], usedKey(len(key)))
	}
	return w.Sync()
}

// exclusive returns O_EXCL for a device; an image file in a test would have to be new for it.
func exclusive(f *os.File) int {
	if info, err := f.Stat(); err == nil && info.Mode()&os.ModeDevice != 0 {
		return os.O_EXCL
	}
	return 0
}
