package linode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// contents is the folder with what the account's own images hold. Its methods may be called with the server's lock held.
type contents struct {
	mu        sync.Mutex
	dir       string
	temporary bool
	held      map[string]int  // machines that are being made of a file
	unwanted  map[string]bool // files to remove once nothing is being made of them
}

// path returns where a file of that name goes, and makes the folder.
func (c *contents) path(name string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dir == "" {
		dir, err := os.MkdirTemp("", "atoll-lab-images-")
		if err != nil {
			return "", fmt.Errorf("make a folder for images: %w", err)
		}
		c.dir, c.temporary = dir, true
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return "", fmt.Errorf("make the folder for images: %w", err)
	}
	return filepath.Join(c.dir, name), nil
}

// find returns the path of a file that is there, else "".
func (c *contents) find(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	path := filepath.Join(c.dir, name)
	if _, err := os.Stat(path); c.dir == "" || name == "" || err != nil {
		return ""
	}
	return path
}

// hold keeps a file from being removed until the returned function was called. An empty path is fine.
func (c *contents) hold(path string) (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held, c.unwanted = map[string]int{}, map[string]bool{}
	}
	c.held[path]++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.held[path]--; c.held[path] == 0 {
			delete(c.held, path)
			if c.unwanted[path] {
				delete(c.unwanted, path)
				c.remove(path)
			}
		}
	})
}

// discard removes a file, at once or when nothing is being made of it any more. What is not in the folder stays.
func (c *contents) discard(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[path] > 0 {
		c.unwanted[path] = true
		return
	}
	c.remove(path)
}

func (c *contents) remove(path string) {
	if c.dir != "" && filepath.Dir(path) == c.dir {
		_ = os.Remove(path) // what cannot be removed goes with the folder
	}
}

// close removes a temporary folder.
func (c *contents) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.temporary {
		return nil
	}
	dir := c.dir
	c.dir, c.temporary = "", false
	return os.RemoveAll(dir)
}

// sparseFile writes a file with holes where there would be zeros: most of an image is.
type sparseFile struct {
	*os.File
	size int64
	last bool // the end is a hole
}

// zeroBlock is how much must be zero to become a hole.
var zeroBlock [64 << 10]byte

// Write implements [io.Writer].
func (f *sparseFile) Write(data []byte) (int, error) {
	written := 0
	for written < len(data) {
		part := data[written:min(written+len(zeroBlock), len(data))]
		f.last = bytes.Equal(part, zeroBlock[:len(part)])
		if f.last {
			if _, err := f.Seek(int64(len(part)), io.SeekCurrent); err != nil {
				return written, err
			}
		} else if n, err := f.File.Write(part); err != nil {
			return written + n, err
		}
		written += len(part)
		f.size += int64(len(part))
	}
	return written, nil
}

// finish gives the file its length and closes it.
func (f *sparseFile) finish() error {
	return errors.Join(f.Truncate(f.size), f.Close())
}

// superblock reads the first ext superblock of a file: 1,024 bytes, 1,024 bytes in (ext4's on-disk layout). A file that is
// too short for one has zeros.
func superblock(path string) (block [1024]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return block, err
	}
	defer f.Close() //nolint:errcheck // only read
	if _, err := f.ReadAt(block[:], 1024); err != nil && !errors.Is(err, io.EOF) {
		return block, err
	}
	return block, nil
}

// isExt says whether a file begins with an ext2, ext3 or ext4 file system.
func isExt(path string) (bool, error) {
	block, err := superblock(path)
	return binary.LittleEndian.Uint16(block[56:]) == 0xEF53, err
}

// extSize is the size of the ext file system in a file, in bytes: the number of blocks, of which the upper half is in a
// field of its own, times 1,024 shifted by another field.
func extSize(path string) (int64, error) {
	block, err := superblock(path)
	if err != nil {
		return 0, err
	}
	if binary.LittleEndian.Uint16(block[56:]) != 0xEF53 {
		return 0, fmt.Errorf("%s holds no ext file system", path)
	}
	blocks := int64(binary.LittleEndian.Uint32(block[4:]))
	const bit64 = 0x80 // of the incompatible features
	if binary.LittleEndian.Uint32(block[96:])&bit64 != 0 {
		blocks |= int64(binary.LittleEndian.Uint32(block[336:])) << 32
	}
	return blocks * (1024 << binary.LittleEndian.Uint32(block[24:])), nil
}
