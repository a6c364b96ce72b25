package nodeimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// ChecksumsFile holds the hashes of an image's files in the form of sha256sum.
	ChecksumsFile = "SHA256SUMS"
	// CurrentFile is the symbolic link to the newest manifest in a folder.
	CurrentFile = "current.manifest.json"
)

// ManifestName is the name of the manifest of an image, for example "atoll-node-0.1.0-amd64.manifest.json".
func (f Facts) ManifestName() string {
	return fmt.Sprintf("atoll-node-%s-%s.manifest.json", f.Version, f.Architecture)
}

// Write measures the files, which are in dir, and writes the manifest, SHA256SUMS and the link to the newest manifest
// beside them. Each appears whole or not at all, the link last. It returns the manifest and its path.
func Write(ctx context.Context, dir string, facts Facts, names map[Kind]string) (m Manifest, path string, err error) {
	m = Manifest{Facts: facts, Files: map[Kind]File{}}
	m.normalise()
	for kind, name := range names {
		if name != filepath.Base(name) {
			return Manifest{}, "", fmt.Errorf("write manifest: %q must be the name of a file in %s", name, dir)
		}
		if m.Files[kind], err = Measure(ctx, filepath.Join(dir, name), kind); err != nil {
			return Manifest{}, "", err
		}
	}
	data, err := m.Encode()
	if err != nil {
		return Manifest{}, "", err
	}
	var sums strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(m.Files)) {
		fmt.Fprintf(&sums, "%s  %s\n", m.Files[kind].SHA256, m.Files[kind].Name)
	}
	sum := sha256.Sum256(data)
	fmt.Fprintf(&sums, "%s  %s\n", hex.EncodeToString(sum[:]), m.ManifestName())
	path = filepath.Join(dir, m.ManifestName())
	for _, f := range []struct {
		path string
		data []byte
	}{{path, data}, {filepath.Join(dir, ChecksumsFile), []byte(sums.String())}} {
		if err := writeWhole(f.path, f.data); err != nil {
			return Manifest{}, "", fmt.Errorf("write manifest: %w", err)
		}
	}
	if err := link(m.ManifestName(), filepath.Join(dir, CurrentFile)); err != nil {
		return Manifest{}, "", fmt.Errorf("write manifest: %w", err)
	}
	return m, path, nil
}

// writeWhole replaces the file at path. Everybody may read it.
func writeWhole(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// link makes path a symbolic link to target, in place of what it was before.
func link(target, path string) error {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".link-")
	if err != nil {
		return err
	}
	fresh := filepath.Join(dir, "link")
	err = os.Symlink(target, fresh)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	return errors.Join(err, os.RemoveAll(dir))
}
