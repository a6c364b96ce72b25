package seed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrExists is returned for a file that is there already and is not to be overwritten.
var ErrExists = errors.New("it exists already")

// DeviceError says that a path is a device, which is not written to as if it were a file.
type DeviceError struct{ Path string }

// Error names the path.
func (e *DeviceError) Error() string { return e.Path + " is a device" }

// CheckFile returns why WriteFile would not write to path: ErrExists, *DeviceError or something else.
func CheckFile(path string, overwrite bool) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if dir, err := os.Stat(filepath.Dir(path)); err != nil {
			return err
		} else if !dir.IsDir() {
			return fmt.Errorf("%s is no folder", filepath.Dir(path))
		}
		return nil
	case err != nil:
		return err
	case info.Mode()&os.ModeDevice != 0:
		return &DeviceError{Path: path}
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file", path)
	case !overwrite:
		return fmt.Errorf("%s: %w", path, ErrExists)
	}
	return nil
}

// WriteFile puts a secret into a file that only its owner reads. It is there whole or not at all, whatever happens
// meanwhile, and nothing else is left behind.
func WriteFile(path string, data []byte, overwrite bool) (err error) {
	if err := CheckFile(path, overwrite); err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if removed := os.Remove(temp.Name()); err == nil && !errors.Is(removed, fs.ErrNotExist) {
			err = removed
		}
	}()
	if _, err := temp.Write(data); err != nil {
		return errors.Join(err, temp.Close())
	}
	if err := temp.Sync(); err != nil {
		return errors.Join(err, temp.Close())
	}
	if err := temp.Close(); err != nil {
		return err
	}
	if !overwrite {
		// A link never replaces what somebody else made meanwhile; a stick's file system may have none.
		if err := os.Link(temp.Name(), path); err == nil || errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return os.Rename(temp.Name(), path)
}
