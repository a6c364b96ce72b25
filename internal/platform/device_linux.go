package platform

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// openDevice opens a block device to read it. A device that is gone, and a drive without a disc, give nil.
func openDevice(path string) (*os.File, error) {
	// Without O_NONBLOCK a drive would pull its tray in.
	device, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.ENOMEDIUM) {
		return nil, nil
	}
	return device, err
}
