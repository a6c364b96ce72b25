// Package volume reads single files out of FAT and ISO 9660 volumes without mounting them.
//
// A seed volume comes from outside: a stick that somebody plugs into a machine. Mounting it would need the right to mount
// and hand whatever is on it to the kernel; the libraries there are for it follow a damaged volume into endless chains and
// allocate what it tells them to. This reader only knows what first-boot data needs, the files of the root directory, and
// never reads or allocates more than fixed bounds, whatever the volume says. It is safe for concurrent use.
//
// Sources: Microsoft's FAT specification (fatgen103), ECMA-119 (ISO 9660), the Joliet specification (UCS-2 names in a
// supplementary descriptor), and IEEE P1282 (Rock Ridge, of which only the NM entry is read).
package volume

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// Bounds on what is read of a volume, whatever it claims to hold.
const (
	// maxDirectory is how many bytes of the root directory are looked at.
	maxDirectory = 1 << 20
	// maxFile is the largest file that is read, in bytes.
	maxFile = 2 << 20
)

// Kind is the kind of a volume's file system, in blkid's words.
type Kind string

// The kinds.
const (
	VFAT    Kind = "vfat"
	ISO9660 Kind = "iso9660"
)

// ErrUnknown is returned for a device that holds neither FAT nor ISO 9660, such as one without a volume.
var ErrUnknown = errors.New("neither a FAT nor an ISO 9660 volume")

// Range is a piece of a device.
type Range struct {
	// Offset and Length are in bytes from the beginning of the device.
	Offset, Length int64
}

// Volume is a volume that was recognised. Its label is read, nothing else is yet.
type Volume struct {
	Kind  Kind
	Label string

	r    io.ReaderAt
	root directory
}

// directory is the root directory of one kind of file system.
type directory interface {
	// walk calls f with each file until f returns false.
	walk(f func(entry) bool) error
	// ranges returns where the entry's content is.
	ranges(e entry) ([]Range, error)
}

// entry is one file.
type entry struct {
	names []string
	size  int64
	// at is the first cluster or block.
	at uint32
}

// Open recognises the volume on a device or image. It fails with ErrUnknown when there is none that it knows, and with
// another error when the volume is damaged or r cannot be read.
func Open(r io.ReaderAt) (*Volume, error) {
	for _, open := range []func(io.ReaderAt) (*Volume, error){openFAT, openISO} {
		v, err := open(r)
		if !errors.Is(err, ErrUnknown) {
			return v, err
		}
	}
	return nil, ErrUnknown
}

// File is a file in a volume's root directory.
type File struct {
	// Name is the name as it was asked for.
	Name string

	size   int64
	ranges []Range
	r      io.ReaderAt
}

// Find returns the file with this name, in any letter case, of the volume's root directory. It fails with fs.ErrNotExist
// when there is none.
func (v *Volume) Find(name string) (*File, error) {
	var found *entry
	err := v.root.walk(func(e entry) bool {
		for _, n := range e.names {
			if strings.EqualFold(n, name) {
				found = &e
				return false
			}
		}
		return true
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the directory of volume %q: %w", v.Label, err)
	case found == nil:
		return nil, fmt.Errorf("%s on volume %q: %w", name, v.Label, fs.ErrNotExist)
	case found.size > maxFile:
		return nil, fmt.Errorf("%s on volume %q has %d bytes, more than the %d that are read", name, v.Label, found.size, maxFile)
	}
	ranges, err := v.root.ranges(*found)
	if err != nil {
		return nil, fmt.Errorf("find the content of %s on volume %q: %w", name, v.Label, err)
	}
	return &File{Name: name, size: found.size, ranges: cut(ranges, found.size), r: v.r}, nil
}

// cut shortens ranges to size bytes in all.
func cut(ranges []Range, size int64) []Range {
	var out []Range
	for _, r := range ranges {
		if r.Length = min(r.Length, size); r.Length <= 0 {
			break
		}
		out = append(out, r)
		size -= r.Length
	}
	return out
}

// Read returns the file's content.
func (f *File) Read() ([]byte, error) {
	data := make([]byte, 0, f.size)
	for _, r := range f.ranges {
		n := int64(len(data))
		data = data[:n+r.Length]
		if err := readAt(f.r, data[n:], r.Offset); err != nil {
			return nil, fmt.Errorf("read %s: %w", f.Name, err)
		}
	}
	if int64(len(data)) != f.size {
		return nil, fmt.Errorf("read %s: only %d of its %d bytes are on the volume: it was not written to the end", f.Name, len(data), f.size)
	}
	return data, nil
}

// Locate returns where the file's bytes from offset on, length in all, are on the device.
func (f *File) Locate(offset, length int64) []Range {
	var out []Range
	for _, r := range f.ranges {
		if offset >= r.Length {
			offset -= r.Length
			continue
		}
		out = append(out, Range{Offset: r.Offset + offset, Length: r.Length - offset})
		offset = 0
	}
	return cut(out, length)
}

// readAt fills b, or fails.
func readAt(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("the volume ends at byte %d, before what it says it holds: it was cut off", offset+int64(n))
	}
	return err
}
