package machinetest

import (
	"os"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// openTun makes a tun device in the network namespace of a process.
func openTun(pid int, name string) (*os.File, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	if err != nil {
		return nil, err
	}
	defer func() { _ = own.Close() }()
	other, err := netns.GetFromPid(pid)
	if err != nil {
		return nil, err
	}
	defer func() { _ = other.Close() }()
	if err := netns.Set(other); err != nil {
		return nil, err
	}
	defer func() {
		if err := netns.Set(own); err != nil {
			panic(err) // this thread would go on in the wrong network
		}
	}()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}
