package tunnel

import (
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl"
)

// iface is a WireGuard interface that is there, in the kernel or in this process.
type iface struct {
	name   string
	kernel bool
	client *wgctrl.Client
	// process is nil for the kernel's.
	process *device.Device
	control net.Listener
}

// openInterface makes the interface. One of the kernel's that is there already is used as it is: packets have gone on
// flowing since the program ended that made it.
func openInterface(name string, mtu int, log *slog.Logger) (*iface, error) {
	i := &iface{name: name}
	err := netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: mtu}})
	switch {
	case err == nil:
		i.kernel = true
	case errors.Is(err, unix.EEXIST):
		link, err := netlink.LinkByName(name)
		if err != nil {
			return nil, fmt.Errorf("look at interface %s: %w", name, err)
		}
		if link.Type() != "wireguard" {
			return nil, fmt.Errorf("interface %s is there already, of type %q: take it away, or whatever makes it", name, link.Type())
		}
		i.kernel = true
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOENT):
		log.Info("this kernel has no WireGuard, its packets go through this process")
		if err := i.openProcess(mtu, log); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("make interface %s: %w", name, err)
	}
	if i.client, err = wgctrl.New(); err != nil {
		return nil, errors.Join(fmt.Errorf("control interface %s: %w", name, err), i.close())
	}
	return i, nil
}

// openProcess makes a tun device that wireguard-go serves, with the socket that wg(8) and wgctrl look for.
func (i *iface) openProcess(mtu int, log *slog.Logger) error {
	t, err := tun.CreateTUN(i.name, mtu)
	if err != nil {
		return fmt.Errorf("make interface %s: %w", i.name, err)
	}
	i.process = device.NewDevice(t, conn.NewDefaultBind(), &device.Logger{
		Verbosef: device.DiscardLogf,
		// Every packet for a peer that is away is one of these.
		Errorf: func(format string, args ...any) { log.Debug("wireguard", "message", fmt.Sprintf(format, args...)) },
	})
	file, err := ipc.UAPIOpen(i.name)
	if err == nil {
		i.control, err = ipc.UAPIListen(i.name, file)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		i.process.Close()
		return fmt.Errorf("open the control socket of interface %s: %w", i.name, err)
	}
	go func() {
		for {
			c, err := i.control.Accept()
			if err != nil {
				return // closed
			}
			go i.process.IpcHandle(c)
		}
	}()
	return nil
}

// lost returns a channel that is closed when the interface has been taken away. The kernel's is looked at instead.
func (i *iface) lost() <-chan struct{} {
	if i.process == nil {
		return nil
	}
	return i.process.Wait()
}

// close ends what runs in this process. The kernel's interface stays, so that starting this program again interrupts
// nothing.
func (i *iface) close() error {
	var problems []error
	if i.client != nil {
		problems = append(problems, i.client.Close())
	}
	if i.control != nil {
		problems = append(problems, i.control.Close())
	}
	if i.process != nil {
		i.process.Close()
	}
	return errors.Join(problems...)
}
