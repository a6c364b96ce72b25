package machinetest

import (
	"os"

	"golang.org/x/sys/unix"
)

// openTun makes a tun device in the network namespace of a process.
func openTun(pid int, name string) (*os.File, error) {
	fd := -1
	err := inNetwork(pid, func() error {
		var err error
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return err
		}
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	})
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, err
	}
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}
