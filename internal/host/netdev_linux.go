package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// netDevice asks the kernel.
func (s *realSystem) netDevice(name string) (NetDevice, error) {
	if !s.here() {
		return NetDevice{}, errors.ErrUnsupported
	}
	link, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return NetDevice{}, nil
	}
	if err != nil {
		return NetDevice{}, fmt.Errorf("look at interface %s: %w", name, err)
	}
	addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return NetDevice{}, fmt.Errorf("look at the addresses of interface %s: %w", name, err)
	}
	dev := NetDevice{Exists: true, Up: link.Attrs().Flags&net.FlagUp != 0}
	for _, a := range addresses {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			length, _ := a.Mask.Size()
			dev.Addresses = append(dev.Addresses, netip.PrefixFrom(ip.Unmap(), length))
		}
	}
	return dev, nil
}
