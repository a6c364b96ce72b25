package nodeimage

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Source is one file of an image that is to be brought somewhere.
type Source struct {
	// Path is the file.
	Path string
	Sum
	// Facts are nil when only the file itself was given.
	Facts *Facts
	// UncompressedSize is that of the file's content in bytes, 0 when it is not known.
	UncompressedSize int64
}

// ContentError says that a file does not hold what it should.
type ContentError struct {
	Path string
	// Problem is what the file is or lacks, Remedy what to do.
	Problem, Remedy string
}

// Error says what is wrong and what to do.
func (e *ContentError) Error() string { return e.Path + " " + e.Problem + ": " + e.Remedy }

// Open returns the image file of a kind. Path is a manifest, beside which the file is, or the file itself, of which then
// nothing is known but its content. The file is read whole and compared with its manifest (*ChangedError). What cannot be
// a root file system for Linode is a *ContentError.
func Open(ctx context.Context, path string, kind Kind) (Source, error) {
	head, err := readHead(path)
	if err != nil {
		return Source{}, err
	}
	if !bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n"), []byte("{")) {
		s := Source{Path: path}
		if kind == KindLinode {
			if err := checkRootFS(path); err != nil {
				return Source{}, err
			}
		}
		s.Sum, err = SumFile(ctx, path)
		return s, err
	}
	m, dir, err := Read(path)
	if err != nil {
		return Source{}, err
	}
	f, err := m.File(kind)
	if err != nil {
		return Source{}, fmt.Errorf("%s: %w", path, err)
	}
	s := Source{Path: filepath.Join(dir, f.Name), Facts: &m.Facts, UncompressedSize: f.UncompressedSize}
	if s.Sum, err = SumFile(ctx, s.Path); err != nil {
		return Source{}, err
	}
	if want := (Sum{f.SHA256, f.Size}); s.Sum != want {
		return Source{}, &ChangedError{Path: s.Path, Has: s.Sum, Want: want}
	}
	if kind == KindLinode {
		err = checkRootFS(s.Path)
	}
	return s, err
}

// headSize holds the magic numbers of everything that is told apart here, GPT's with sectors of 4 KiB included.
const headSize = 8 << 10

func readHead(path string) (head []byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	head, err = io.ReadAll(io.LimitReader(file, headSize))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return head, nil
}

// checkRootFS looks whether a file is one unpartitioned ext file system, compressed by gzip: what Linode's upload takes and
// what its GRUB, disk resizing and password reset understand.
func checkRootFS(path string) (err error) {
	const remedy = "give the image's file of kind linode (.linode.img.gz) or its manifest"
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	z, err := gzip.NewReader(file)
	if err != nil {
		return &ContentError{path, "is not compressed by gzip", remedy}
	}
	inside, err := io.ReadAll(io.LimitReader(z, headSize))
	if err != nil {
		return &ContentError{path, "is damaged (" + err.Error() + ")", "build or download it again"}
	}
	switch {
	case isExt(inside):
		return nil
	case bytes.HasPrefix(inside, []byte("QFI\xfb")):
		return &ContentError{path, "holds a QEMU disk", remedy}
	case len(inside) > 520 && (bytes.Equal(inside[510:512], []byte{0x55, 0xaa}) || bytes.Equal(inside[512:520], []byte("EFI PART"))):
		return &ContentError{path, "holds a disk with partitions; Linode wants one file system", remedy}
	default:
		return &ContentError{path, "holds no ext file system", remedy}
	}
}

// isExt looks for the magic number of an ext2, ext3 or ext4 superblock, which is 1,024 bytes in (ext4's on-disk layout).
func isExt(head []byte) bool {
	return len(head) >= 1024+58 && binary.LittleEndian.Uint16(head[1024+56:]) == 0xEF53
}
