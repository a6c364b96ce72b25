package leak

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// InFile returns the names of the secrets that a file holds; what an archive, such as a saved plan, has packed is unpacked.
func (s *Secrets) InFile(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	found := s.In(data)
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return found, nil //nolint:nilerr // it is no archive
	}
	for _, packed := range archive.File {
		r, err := packed.Open()
		if err != nil {
			return found, err
		}
		data, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return found, err
		}
		found = append(found, s.In(data)...)
	}
	return found, nil
}

// Below looks through the regular files below dir and returns a line for each finding, and how many files there were. Files
// and folders that do not pass the filter are left out; nil passes all.
func (s *Secrets) Below(dir string, filter func(path string, info fs.FileInfo) bool) (findings []string, files int, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return ignoreGone(err)
		}
		info, err := entry.Info()
		if err != nil {
			return ignoreGone(err)
		}
		if passes := filter == nil || path == dir || filter(path, info); entry.IsDir() {
			if !passes {
				return fs.SkipDir
			}
			return nil
		} else if !passes || !entry.Type().IsRegular() {
			return nil
		}
		files++
		found, err := s.InFile(path)
		for _, name := range found {
			findings = append(findings, path+": "+name)
		}
		return ignoreGone(err)
	})
	return findings, files, err
}

// ignoreGone lets a file vanish while others are being read.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ReadableByOthers passes files that somebody without rights can read and folders that he can enter.
func ReadableByOthers(_ string, info fs.FileInfo) bool {
	if info.IsDir() {
		return info.Mode().Perm()&0o001 != 0
	}
	return info.Mode().Perm()&0o004 != 0
}
