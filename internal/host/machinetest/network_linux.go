package machinetest

import (
	"runtime"

	"github.com/vishvananda/netns"
)

// inNetwork calls fn in the network namespace of a process.
func inNetwork(pid int, fn func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }()
	other, err := netns.GetFromPid(pid)
	if err != nil {
		return err
	}
	defer func() { _ = other.Close() }()
	if err := netns.Set(other); err != nil {
		return err
	}
	defer func() {
		if err := netns.Set(own); err != nil {
			panic(err) // this thread would go on in the wrong network
		}
	}()
	return fn()
}
