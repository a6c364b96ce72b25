package tunnel

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// settings of the interface below /proc/sys/net. Packets that came from the mesh are forwarded, which the driver's table
// narrows to those that go on into the mesh; whether the machine forwards anything else is not touched. IPv6 carries the
// hellos, also on machines that have it switched off elsewhere.
func settings(name string) []struct{ path, value string } {
	return []struct{ path, value string }{
		{"ipv4/conf/" + name + "/forwarding", "1"},
		{"ipv6/conf/" + name + "/disable_ipv6", "0"},
		{"ipv6/conf/" + name + "/accept_ra", "0"},
	}
}

// setNetwork gives the interface its addresses, settings and routes, and changes nothing that is right.
func setNetwork(c Config, ways map[netip.Addr]netip.Addr) error {
	for _, s := range settings(c.Interface) {
		path := filepath.Join("/proc/sys/net", s.path)
		have, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(s.path, "ipv6/") {
			return errors.New("this kernel was started without IPv6 (ipv6.disable=1), which the mesh uses inside its tunnels: start it with")
		}
		if err != nil {
			return fmt.Errorf("look at the interface's settings: %w", err)
		}
		if strings.TrimSpace(string(have)) == s.value {
			continue
		}
		if err := os.WriteFile(path, []byte(s.value), 0o644); err != nil { //nolint:gosec // the kernel's own file
			return fmt.Errorf("change the interface's settings: %w", err)
		}
	}
	link, err := netlink.LinkByName(c.Interface)
	if err != nil {
		return fmt.Errorf("look at interface %s: %w", c.Interface, err)
	}
	if link.Attrs().MTU != c.MTU {
		if err := netlink.LinkSetMTU(link, c.MTU); err != nil {
			return fmt.Errorf("set the MTU of %s: %w", c.Interface, err)
		}
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("switch %s on: %w", c.Interface, err)
		}
	}
	return errors.Join(setAddresses(link, c), setRoutes(link, c, ways))
}

// fitRoutes makes the routes fit for other ways.
func fitRoutes(c Config, ways map[netip.Addr]netip.Addr) error {
	if !c.narrow() {
		return nil
	}
	link, err := netlink.LinkByName(c.Interface)
	if err != nil {
		return fmt.Errorf("look at interface %s: %w", c.Interface, err)
	}
	return setRoutes(link, c, ways)
}

func setAddresses(link netlink.Link, c Config) error {
	want := []netip.Prefix{c.Address, netip.PrefixFrom(linkAddress(c.Address.Addr()), 64)}
	have, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("look at the addresses of %s: %w", c.Interface, err)
	}
	var found []netip.Prefix
	for _, a := range have {
		p := prefixOf(a.IPNet)
		if found = append(found, p); slices.Contains(want, p) {
			continue
		}
		if err := netlink.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("take address %s from %s: %w", p, c.Interface, err)
		}
	}
	for _, p := range want {
		if slices.Contains(found, p) {
			continue
		}
		a := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			// There is nobody on a tunnel to ask whether the address is taken.
			a.Flags, a.Scope = unix.IFA_F_NODAD, unix.RT_SCOPE_LINK
		}
		if err := netlink.AddrReplace(link, a); err != nil {
			return fmt.Errorf("give %s the address %s: %w", c.Interface, p, err)
		}
	}
	return nil
}

// setRoutes makes a route for each peer whose path takes smaller packets than the interface does, and no other.
func setRoutes(link netlink.Link, c Config, ways map[netip.Addr]netip.Addr) error {
	have, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{LinkIndex: link.Attrs().Index}, netlink.RT_FILTER_OIF)
	if err != nil {
		return fmt.Errorf("look at the routes of %s: %w", c.Interface, err)
	}
	want := map[netip.Prefix]int{}
	for _, p := range c.Peers {
		if mtu := c.mtuTo(p, ways); mtu != 0 && mtu < c.MTU {
			want[netip.PrefixFrom(p.MeshAddress, 32)] = mtu
		}
	}
	for _, r := range have {
		if r.Dst == nil || prefixOf(r.Dst).Bits() != 32 {
			continue
		}
		if dst := prefixOf(r.Dst); want[dst] == r.MTU {
			delete(want, dst)
		} else if want[dst] == 0 {
			if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("take the route to %s away: %w", dst, err)
			}
		}
	}
	for dst, mtu := range want {
		r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(dst), Scope: netlink.SCOPE_LINK, Src: c.Address.Addr().AsSlice(), MTU: mtu}
		if err := netlink.RouteReplace(r); err != nil {
			return fmt.Errorf("make the route to %s: %w", dst, err)
		}
	}
	return nil
}

// reaches tells whether this machine has any way to an address.
func reaches(a netip.Addr) bool {
	_, err := netlink.RouteGet(a.AsSlice())
	return err == nil
}

func prefixOf(n *net.IPNet) netip.Prefix {
	ip, _ := netip.AddrFromSlice(n.IP)
	length, _ := n.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), length)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
