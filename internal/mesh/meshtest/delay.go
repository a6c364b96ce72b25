package meshtest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// slow makes the router hold every packet for d, each way, so that a round trip takes twice as long. Not every kernel has
// netem, so packets make a detour through a tun device that this process serves.
func (n *internet) slow(t *testing.T, d time.Duration) {
	t.Helper()
	tun, err := openTun(n.router.pid, "slow")
	if err != nil {
		t.Fatalf("make the slow path: %v", err)
	}
	var setup strings.Builder
	setup.WriteString("ip link set dev slow up\nip route add default dev slow table 100\necho 0 >/proc/sys/net/ipv4/conf/slow/rp_filter\n")
	for line := range strings.Lines(n.router.run(t, "ip", "-o", "link", "show", "type", "veth")) {
		port, _, _ := strings.Cut(strings.Fields(line)[1], "@")
		fmt.Fprintf(&setup, "ip rule add iif %s lookup 100\n", port)
	}
	n.router.run(t, "sh", "-ec", setup.String())

	type held struct {
		packet []byte
		until  time.Time
	}
	queue := make(chan held, 1<<14)
	go func() {
		defer close(queue)
		for {
			packet := make([]byte, 2048)
			size, err := tun.Read(packet)
			if err != nil {
				return
			}
			select {
			case queue <- held{packet[:size], time.Now().Add(d)}:
			default: // the path is full
			}
		}
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for h := range queue {
			<-time.After(time.Until(h.until))
			_, _ = tun.Write(h.packet) // a packet that cannot be sent is lost
		}
	}()
	t.Cleanup(func() {
		_ = tun.Close()
		<-done
	})
}

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
