package seed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat12"

	"github.com/atollhq/terraform-provider-atoll/internal/platform"
)

// ImageSize is the size of a seed volume in bytes. It holds the largest payload and user-data several times over, and is
// small enough to be sent by mail or uploaded to a remote console.
const ImageSize = 4 << 20

// Image returns the volume: FAT without a partition table, labelled platform.LabelNoCloud. It is secret, for it holds the
// payload.
func (s Seed) Image() ([]byte, error) {
	files, err := s.Files()
	if err != nil {
		return nil, err
	}
	return Volume(files)
}

// Volume is Image with other files, such as those of a NoCloud data source alone.
func Volume(files []File) ([]byte, error) {
	m := &memory{data: make([]byte, ImageSize)}
	v, err := fat12.Create(file.New(m, false), ImageSize, 0, 512, platform.LabelNoCloud, false)
	if err != nil {
		return nil, fmt.Errorf("make the seed volume: %w", err)
	}
	for _, f := range files {
		if err := writeFile(v, f); err != nil {
			return nil, fmt.Errorf("write %s onto the seed volume: %w", f.Name, err)
		}
	}
	if err := v.Close(); err != nil {
		return nil, fmt.Errorf("make the seed volume: %w", err)
	}
	freeReserved(m.data)
	return m.data, nil
}

// freeReserved frees cluster 2 in both allocation tables. The library reserves it as if a root directory of FAT12 were in a
// cluster, and checkers would report a lost one.
func freeReserved(image []byte) {
	reserved := int(binary.LittleEndian.Uint16(image[14:])) * 512
	table := int(binary.LittleEndian.Uint16(image[22:])) * 512
	for _, at := range []int{reserved, reserved + table} {
		image[at+3], image[at+4] = 0, image[at+4]&0xf0
	}
}

func writeFile(v *fat12.FileSystem, f File) (err error) {
	w, err := v.OpenFile("/"+f.Name, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	n, err := w.Write(f.Data)
	if err == nil && n != len(f.Data) {
		err = io.ErrShortWrite
	}
	return err
}

// memory is a file in memory: the secret goes to the disk once, when it is complete.
type memory struct {
	data []byte
	at   int64
}

var (
	_ fs.FileInfo = (*memory)(nil)
	_ io.WriterAt = (*memory)(nil)
)

func (m *memory) Stat() (fs.FileInfo, error) { return m, nil }
func (m *memory) Name() string               { return "seed" }
func (m *memory) Size() int64                { return int64(len(m.data)) }
func (m *memory) Mode() fs.FileMode          { return 0o600 }
func (m *memory) ModTime() time.Time         { return time.Time{} }
func (m *memory) IsDir() bool                { return false }
func (m *memory) Sys() any                   { return nil }
func (m *memory) Close() error               { return nil }

func (m *memory) Read(p []byte) (int, error) {
	n, err := m.ReadAt(p, m.at)
	m.at += int64(n)
	return n, err
}

func (m *memory) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 || at >= int64(len(m.data)) {
		return 0, io.EOF
	}
	n := copy(p, m.data[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	if at < 0 || at+int64(len(p)) > int64(len(m.data)) {
		return 0, io.ErrShortWrite
	}
	return copy(m.data[at:], p), nil
}

func (m *memory) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += m.at
	case io.SeekEnd:
		offset += int64(len(m.data))
	}
	if offset < 0 {
		return m.at, fs.ErrInvalid
	}
	m.at = offset
	return offset, nil
}
