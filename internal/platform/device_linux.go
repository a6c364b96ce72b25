package platform

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What a drive for discs answers (linux/cdrom.h).
const (
	cdromDriveStatus = 0x5326
	currentSlot      = math.MaxInt32
	discNone         = 1
	discTrayOpen     = 2
	discNotReady     = 3
)

// openDevice opens a block device to read it. A device that is gone, and a drive without a disc, give nil.
func openDevice(path string) (*os.File, error) {
	// Without O_NONBLOCK a drive would pull its tray in.
	device, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.ENOMEDIUM) {
		return nil, nil
	}
	if err == nil && strings.HasPrefix(filepath.Base(path), "sr") && isEmptyDrive(device) {
		return nil, device.Close()
	}
	return device, err
}

// isEmptyDrive asks a drive for discs whether it has one. Who reads without asking, since an empty drive tells a size all the
// same, has the kernel write some hundred lines to its log, each time.
func isEmptyDrive(device *os.File) bool {
	conn, err := device.SyscallConn()
	if err != nil {
		return false
	}
	var status uintptr
	var failed syscall.Errno
	err = conn.Control(func(fd uintptr) { status, _, failed = unix.Syscall(unix.SYS_IOCTL, fd, cdromDriveStatus, currentSlot) })
	return err == nil && failed == 0 && (status == discNone || status == discTrayOpen || status == discNotReady)
}
