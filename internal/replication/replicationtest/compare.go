//go:build linux

package replicationtest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// contents describes everything in a side's tree that is replicated.
func (w *world) contents(s *side) (map[string]string, error) {
	out := map[string]string{}
	root := s.file("")
	err := filepath.WalkDir(root, func(full string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		if err != nil || full == root {
			return err
		}
		name := entry.Name()
		relative := strings.TrimPrefix(full, root+"/")
		if relative == ".atoll" || relative == ".atoll-canary" || strings.HasSuffix(name, ".tmp") || strings.HasPrefix(relative, "cache/") || entry.Type()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		out[relative], err = describe(full)
		if errors.Is(err, fs.ErrNotExist) {
			delete(out, relative)
			return nil
		}
		return err
	})
	return out, err
}

// describe says what of a file has to be the same on both nodes.
func describe(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	switch {
	case info.IsDir():
		return info.Mode().String(), nil
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		return "link to " + target, err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %d bytes %x", info.Mode(), info.Size(), sum.Sum(nil)[:6]), nil
}

// difference says how the sides differ, "" for not at all. A tree may change while it is looked at: what is equal is so twice.
func (w *world) difference() string {
	if different := w.differenceNow(); different != "" {
		return different
	}
	return w.differenceNow()
}

func (w *world) differenceNow() string {
	here, err := w.contents(w.lead)
	if err != nil {
		return err.Error()
	}
	there, err := w.contents(w.back)
	if err != nil {
		return err.Error()
	}
	var texts []string
	for _, path := range slices.Sorted(maps.Keys(here)) {
		if there[path] != here[path] {
			texts = append(texts, fmt.Sprintf("%q: %s has %q, %s %q", path, w.lead.Name, here[path], w.back.Name, there[path]))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(there)) {
		if _, ok := here[path]; !ok {
			texts = append(texts, fmt.Sprintf("%q: only %s has it", path, w.back.Name))
		}
	}
	const most = 5
	if len(texts) > most {
		texts = append(texts[:most], fmt.Sprintf("and %d more", len(texts)-most))
	}
	return strings.Join(texts, "; ")
}
