package nodeimage

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// Sum is the hash of a file in lower-case hex and its size in bytes.
type Sum struct {
	SHA256 string
	Size   int64
}

// SumFile reads the file at path to its end. It stops when the context ends.
func SumFile(ctx context.Context, path string) (sum Sum, err error) {
	file, err := os.Open(path)
	if err != nil {
		return Sum{}, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if sum, err = sumOf(ctx, file); err != nil {
		return Sum{}, fmt.Errorf("read %s: %w", path, err)
	}
	return sum, nil
}

// SumContent is SumFile of what the file of a kind holds: its uncompressed content when it is compressed.
func SumContent(ctx context.Context, path string, kind Kind) (sum Sum, err error) {
	file, err := os.Open(path)
	if err != nil {
		return Sum{}, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	content, err := uncompressed(file, kind)
	if err != nil {
		return Sum{}, fmt.Errorf("read %s: %w", path, err)
	}
	defer content.Close()
	if sum, err = sumOf(ctx, content); err != nil {
		return Sum{}, fmt.Errorf("read %s: %w", path, err)
	}
	return sum, nil
}

func uncompressed(r io.Reader, kind Kind) (interface {
	io.Reader
	Close()
}, error,
) {
	switch kind {
	case KindLinode:
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		return quietly{z}, nil
	case KindRaw:
		// Long-range matching needs a window of up to 128 MiB, more than the library takes by itself.
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(256<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return z, nil
	case KindQCOW2, KindSBOM:
	}
	return quietly{io.NopCloser(r)}, nil
}

// quietly is a reader whose Close has nothing to report: what was read is checked when it is read.
type quietly struct{ io.ReadCloser }

// Close closes the reader.
func (q quietly) Close() { _ = q.ReadCloser.Close() }

func sumOf(ctx context.Context, r io.Reader) (Sum, error) {
	h := sha256.New()
	n, err := io.Copy(h, &interruptible{ctx: ctx, r: r})
	if err != nil {
		return Sum{}, err
	}
	return Sum{SHA256: hex.EncodeToString(h.Sum(nil)), Size: n}, nil
}

// interruptible is a reader that ends with a context.
type interruptible struct {
	ctx context.Context //nolint:containedctx // it lives as long as one call
	r   io.Reader
}

// Read implements io.Reader.
func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

// Measure returns the file of a kind as a manifest describes it.
func Measure(ctx context.Context, path string, kind Kind) (File, error) {
	sum, err := SumFile(ctx, path)
	if err != nil {
		return File{}, fmt.Errorf("measure image: %w", err)
	}
	f := File{Name: filepath.Base(path), SHA256: sum.SHA256, Size: sum.Size}
	if !kind.compressed() {
		return f, nil
	}
	content, err := SumContent(ctx, path, kind)
	if err != nil {
		return File{}, fmt.Errorf("measure image: %w", err)
	}
	f.UncompressedSHA256, f.UncompressedSize = content.SHA256, content.Size
	return f, nil
}

// ChangedError says that a file is not the one that its manifest describes.
type ChangedError struct {
	Path      string
	Has, Want Sum
}

// Error says what differs.
func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s has %d bytes with SHA-256 %s, its manifest says %d bytes with SHA-256 %s: it was cut off, changed or belongs to another build; build the image again",
		e.Path, e.Has.Size, e.Has.SHA256, e.Want.Size, e.Want.SHA256)
}

// Verify checks every file of the manifest in dir against it. A file that is not as described is a *ChangedError.
func (m Manifest) Verify(ctx context.Context, dir string) error {
	var errs []error
	for _, kind := range Kinds() {
		f, ok := m.Files[kind]
		if !ok {
			continue
		}
		path := filepath.Join(dir, f.Name)
		got, err := SumFile(ctx, path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if want := (Sum{f.SHA256, f.Size}); got != want {
			errs = append(errs, &ChangedError{Path: path, Has: got, Want: want})
		}
	}
	return errors.Join(errs...)
}
