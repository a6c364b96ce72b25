package nodeimage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// Kind is one form of an image, or what belongs to it.
type Kind string

// The kinds of files.
const (
	// KindQCOW2 is the whole disk for QEMU, compressed inside.
	KindQCOW2 Kind = "qcow2"
	// KindRaw is the whole disk for physical machines and other clouds, compressed by zstd.
	KindRaw Kind = "raw"
	// KindLinode is the root file system alone, compressed by gzip: what Linode takes.
	KindLinode Kind = "linode"
	// KindSBOM lists what is inside, in CycloneDX.
	KindSBOM Kind = "sbom"
)

// Kinds lists every kind of file.
func Kinds() []Kind { return []Kind{KindQCOW2, KindRaw, KindLinode, KindSBOM} }

// compressed tells whether a file of the kind stands for a larger one.
func (k Kind) compressed() bool { return k == KindRaw || k == KindLinode }

// File is one file of an image.
type File struct {
	// Name is the file's name; it stands beside the manifest.
	Name string `json:"name"`
	// SHA256 is the file's hash in lower-case hex, Size its size in bytes.
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	// UncompressedSHA256 and UncompressedSize are of what is inside, for KindRaw and KindLinode alone.
	UncompressedSHA256 string `json:"uncompressed_sha256,omitempty"`
	UncompressedSize   int64  `json:"uncompressed_size,omitempty"`
}

// Manifest is an image: what is in it and which files it has.
type Manifest struct {
	Facts
	Files map[Kind]File `json:"files"`
}

// maxManifest bounds what is read of a manifest, in bytes.
const maxManifest = 1 << 20

var hashPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Validate returns everything that is wrong with the manifest.
func (m Manifest) Validate() error {
	errs := []error{m.Facts.Validate()}
	if len(m.Files) == 0 {
		errs = append(errs, errors.New("files is empty"))
	}
	for kind, f := range m.Files {
		if !slices.Contains(Kinds(), kind) {
			errs = append(errs, fmt.Errorf("files has the unknown kind %q", kind))
		}
		errs = append(errs, f.validate(kind))
	}
	return errors.Join(errs...)
}

func (f File) validate(kind Kind) error {
	at := fmt.Sprintf("files.%s.", kind)
	var errs []error
	if f.Name == "" || f.Name != filepath.Base(f.Name) || f.Name == "." || f.Name == ".." {
		errs = append(errs, fmt.Errorf("%sname %q is not the name of a file beside the manifest", at, f.Name))
	}
	if !hashPattern.MatchString(f.SHA256) {
		errs = append(errs, fmt.Errorf("%ssha256 %q is not a SHA-256 in lower-case hex", at, f.SHA256))
	}
	if f.Size <= 0 {
		errs = append(errs, fmt.Errorf("%ssize is %d", at, f.Size))
	}
	if kind.compressed() != (f.UncompressedSHA256 != "") || kind.compressed() && !hashPattern.MatchString(f.UncompressedSHA256) {
		errs = append(errs, fmt.Errorf("%suncompressed_sha256 is %q", at, f.UncompressedSHA256))
	}
	if kind.compressed() != (f.UncompressedSize > 0) {
		errs = append(errs, fmt.Errorf("%suncompressed_size is %d", at, f.UncompressedSize))
	}
	return errors.Join(errs...)
}

// Parse reads a manifest. Unknown keys and versions are refused (*FormatError for the latter).
func Parse(data []byte) (Manifest, error) {
	var m Manifest
	if err := strictly(data, &m); err != nil {
		return Manifest{}, err
	}
	m.normalise()
	if err := m.Validate(); err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// Encode returns the manifest's JSON form.
func (m Manifest) Encode() ([]byte, error) {
	m.normalise()
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	return indented(m)
}

// Read reads the manifest at path, which may be a symbolic link, and returns the folder of the files with it.
func Read(path string) (m Manifest, dir string, err error) {
	// The files stand beside the manifest itself, wherever the link to it is.
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return Manifest{}, "", fmt.Errorf("read manifest: %w", err)
	}
	file, err := os.Open(target)
	if err != nil {
		return Manifest{}, "", fmt.Errorf("read manifest: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	data, err := io.ReadAll(io.LimitReader(file, maxManifest+1))
	if err != nil {
		return Manifest{}, "", fmt.Errorf("read manifest %s: %w", path, err)
	}
	if len(data) > maxManifest {
		return Manifest{}, "", fmt.Errorf("read manifest %s: it is larger than %d bytes, so it is not a manifest", path, maxManifest)
	}
	if m, err = Parse(data); err != nil {
		return Manifest{}, "", fmt.Errorf("read manifest %s: %w", path, err)
	}
	return m, filepath.Dir(target), nil
}

// MissingKindError says that an image has no file of a kind.
type MissingKindError struct {
	Kind Kind
	// Has are the kinds that there are.
	Has []Kind
}

// Error names both.
func (e *MissingKindError) Error() string {
	return fmt.Sprintf("the image has no file of kind %s, only %q: build it for that target too", e.Kind, e.Has)
}

// File returns the file of a kind, *MissingKindError when there is none.
func (m Manifest) File(kind Kind) (File, error) {
	if f, ok := m.Files[kind]; ok {
		return f, nil
	}
	e := &MissingKindError{Kind: kind}
	for _, k := range Kinds() {
		if _, ok := m.Files[k]; ok {
			e.Has = append(e.Has, k)
		}
	}
	return File{}, e
}
