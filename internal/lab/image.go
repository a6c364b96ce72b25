//go:build linux

package lab

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/nodeimage"
)

// architecture is what the lab's virtual machines are, in Debian's words.
const architecture = "amd64"

// DamagedImageError says that a file of an image is not what its manifest says.
type DamagedImageError struct {
	Path      string
	Has, Want nodeimage.Sum
}

// Error names both and the remedy.
func (e *DamagedImageError) Error() string {
	return fmt.Sprintf("%s is damaged: it has SHA-256 %.12s… and %d bytes, its manifest says %.12s… and %d: build the image again",
		e.Path, e.Has.SHA256, e.Has.Size, e.Want.SHA256, e.Want.Size)
}

// nodeImage is the built image that a lab's virtual machines start from.
type nodeImage struct {
	manifest string // path
	own      string // the lab's folder for images, which goes with it
	shared   string // folder for what is made of images once and used by every lab

	mu     sync.Mutex
	disked string
}

// read reads the manifest and says whether this lab can use the image.
func (i *nodeImage) read() (nodeimage.Manifest, string, error) {
	m, dir, err := nodeimage.Read(i.manifest)
	if err == nil {
		err = errors.Join(m.CheckArchitecture(architecture), m.CheckWire())
	}
	if err != nil {
		return m, "", fmt.Errorf("the lab's node image: %w", err)
	}
	return m, dir, nil
}

// disk returns the path of a whole disk that never changes, whatever is built meanwhile.
func (i *nodeImage) disk(ctx context.Context) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.disked != "" {
		return i.disked, nil
	}
	m, dir, err := i.read()
	if err != nil {
		return "", err
	}
	file, err := m.File(nodeimage.KindQCOW2)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(i.own, 0o700); err != nil {
		return "", fmt.Errorf("keep the image: %w", err)
	}
	own := filepath.Join(i.own, file.Name)
	if err := keep(filepath.Join(dir, file.Name), own); err != nil {
		return "", fmt.Errorf("keep the image: %w", err)
	}
	sum, err := nodeimage.SumFile(ctx, own)
	if err != nil {
		return "", fmt.Errorf("check the image: %w", err)
	}
	if want := (nodeimage.Sum{SHA256: file.SHA256, Size: file.Size}); sum != want {
		return "", &DamagedImageError{Path: filepath.Join(dir, file.Name), Has: sum, Want: want}
	}
	i.disked = own
	return own, nil
}

// keep gives a file another name, on the same file system without copying it. A build that makes the file again replaces
// the name only.
func keep(path, as string) error {
	err := os.Link(path, as)
	if err == nil || errors.Is(err, os.ErrExist) {
		return nil
	}
	from, openErr := os.Open(path)
	if openErr != nil {
		return openErr
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(as, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// filesystem returns the path of the root file system alone, as Linode keeps an uploaded image. It is unpacked once for
// every lab of this machine; a machine that is made of it needs a copy of its own.
func (i *nodeImage) filesystem(ctx context.Context, progress func(string)) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	m, dir, err := i.read()
	if err != nil {
		return "", err
	}
	file, err := m.File(nodeimage.KindLinode)
	if err != nil {
		return "", err
	}
	final := filepath.Join(i.shared, file.UncompressedSHA256+".img")
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	progress("unpacking the node image; this is done once for each")
	if err := i.unpack(ctx, filepath.Join(dir, file.Name), final, file); err != nil {
		return "", fmt.Errorf("unpack the image: %w", err)
	}
	return final, nil
}

// unpack makes the uncompressed file and removes those of earlier images, which nobody reads any more.
func (i *nodeImage) unpack(ctx context.Context, packed, final string, file nodeimage.File) error {
	if err := os.MkdirAll(i.shared, 0o700); err != nil {
		return err
	}
	out, err := os.CreateTemp(i.shared, "unpacking-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(out.Name()) }()
	sum, err := unzip(ctx, packed, out)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if want := (nodeimage.Sum{SHA256: file.UncompressedSHA256, Size: file.UncompressedSize}); sum != want {
		return &DamagedImageError{Path: packed, Has: sum, Want: want}
	}
	old, err := filepath.Glob(filepath.Join(i.shared, "*.img"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return os.Rename(out.Name(), final)
}

// unzip writes the content of a gzip file, holes for zeros, and returns its hash and size.
func unzip(ctx context.Context, packed string, out *os.File) (sum nodeimage.Sum, err error) {
	in, err := os.Open(packed)
	if err != nil {
		return sum, err
	}
	defer func() { _ = in.Close() }()
	z, err := gzip.NewReader(in)
	if err != nil {
		return sum, fmt.Errorf("%s: %w", packed, err)
	}
	hash := sha256.New()
	block, zeros := make([]byte, 1<<20), make([]byte, 1<<20)
	for ctx.Err() == nil {
		n, err := io.ReadFull(z, block)
		_, _ = hash.Write(block[:n]) // never fails
		if !bytes.Equal(block[:n], zeros[:n]) {
			if _, err := out.WriteAt(block[:n], sum.Size); err != nil {
				return sum, err
			}
		}
		sum.Size += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			// A file that is cut short has another hash.
			sum.SHA256 = hex.EncodeToString(hash.Sum(nil))
			return sum, out.Truncate(sum.Size)
		}
		if err != nil {
			return sum, fmt.Errorf("%s: %w", packed, err)
		}
	}
	return sum, ctx.Err()
}

// imageCache is the folder of unpacked images.
func (o Options) imageCache() string {
	dir := o.CacheDir
	if dir == "" {
		dir = nodes.DefaultCacheDir()
	}
	return filepath.Join(dir, "images")
}
