//go:build linux

package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// inside is what every host calls its only interface.
const inside = "eth0"

// gateway6 is the router's address on every cable: hosts have single addresses (/128) and route through it.
const gateway6 = "fe80::1"

// setUpRouter gives the router its own addresses. They live on the loopback interface, which answers on every cable.
func (n *Network) setUpRouter() error {
	h, done, err := n.Router().netlink()
	if err != nil {
		return err
	}
	defer done()
	lo, err := up(h, "lo")
	if err != nil {
		return err
	}
	for _, a := range []string{RouterAddress, CloudflareAddress, MetadataAddress, MetadataAddress6} {
		if err := addAddress(h, lo, netip.MustParseAddr(a)); err != nil {
			return err
		}
	}
	return nil
}

// openSite gives the router a site's gateway address, and swallows what is sent to addresses of the site that no powered
// host has: a peer of a dead machine waits for an answer that never comes, as it does on the real internet.
func (n *Network) openSite(s Site) error {
	h, done, err := n.Router().netlink()
	if err != nil {
		return err
	}
	defer done()
	lo, err := up(h, "lo")
	if err != nil {
		return err
	}
	if err := addAddress(h, lo, s.Gateway); err != nil {
		return err
	}
	for _, p := range []netip.Prefix{s.IPv4, s.IPv6} {
		if p.Addr().Is6() && !HaveIPv6() {
			continue
		}
		err := h.RouteAdd(&netlink.Route{Dst: ipNet(p), Type: unix.RTN_BLACKHOLE, Priority: 4096})
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("open site %s: %w", s.Name, err)
		}
	}
	return nil
}

// connect makes a host's namespace and its cable to the router.
func (n *Network) connect(ctx context.Context, h *host) error {
	if err := h.namespace.create(ctx); err != nil {
		return err
	}
	if err := h.namespace.sysctl(map[string]string{"ipv6/conf/all/accept_ra": "0", "ipv6/conf/default/accept_ra": "0"}); err != nil {
		return err
	}
	if h.access == AccessTranslated {
		if err := n.connectBehind(ctx, h); err != nil {
			return err
		}
	}
	if err := n.layCable(h); err != nil {
		return fmt.Errorf("connect %s: %w", h.name, err)
	}
	if err := configureHost(h); err != nil {
		return fmt.Errorf("configure %s: %w", h.name, err)
	}
	return n.configureRouterSide(h)
}

// layCable makes the pair of interfaces inside the router's namespace and moves one end to the host.
func (n *Network) layCable(h *host) error {
	router, done, err := n.Router().netlink()
	if err != nil {
		return err
	}
	defer done()
	target, err := netns.GetFromPath(h.end().Path())
	if err != nil {
		return err
	}
	defer func() { _ = target.Close() }()
	// A predecessor's cable goes away a moment after its namespace does.
	if old, err := router.LinkByName(h.cable); err == nil {
		if err := router.LinkDel(old); err != nil && !errors.Is(err, unix.ENODEV) {
			return err
		}
	}
	return router.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: h.cable}, PeerName: inside, PeerNamespace: netlink.NsFd(target),
	})
}

// configureHost sets addresses and routes at the host's end of the cable.
func configureHost(h *host) error {
	nl, done, err := h.end().netlink()
	if err != nil {
		return err
	}
	defer done()
	if _, err := up(nl, "lo"); err != nil {
		return err
	}
	eth, err := up(nl, inside)
	if err != nil {
		return err
	}
	for _, p := range single(h.addresses) {
		if err := addAddress(nl, eth, p.Addr()); err != nil {
			return err
		}
	}
	index := eth.Attrs().Index
	if h.addresses.IPv4.IsValid() {
		gateway := netip.PrefixFrom(h.addresses.Gateway, 32)
		err = nl.RouteAdd(&netlink.Route{LinkIndex: index, Scope: netlink.SCOPE_LINK, Dst: ipNet(gateway)})
		if err != nil {
			return fmt.Errorf("route to the gateway: %w", err)
		}
		err = nl.RouteAdd(&netlink.Route{LinkIndex: index, Dst: ipNet(netip.MustParsePrefix("0.0.0.0/0")), Gw: gateway.Addr().AsSlice()})
		if err != nil {
			return fmt.Errorf("default route: %w", err)
		}
	}
	if !HaveIPv6() || !h.addresses.IPv6.IsValid() {
		return nil
	}
	err = nl.RouteAdd(&netlink.Route{LinkIndex: index, Dst: ipNet(netip.MustParsePrefix("::/0")), Gw: net.ParseIP(gateway6)})
	if err != nil {
		return fmt.Errorf("default route for IPv6: %w", err)
	}
	return nil
}

// configureRouterSide brings the router's end up and routes the host's addresses to it.
func (n *Network) configureRouterSide(h *host) error {
	nl, done, err := n.Router().netlink()
	if err != nil {
		return err
	}
	defer done()
	end, err := up(nl, h.cable)
	if err != nil {
		return err
	}
	if err := addAddress(nl, end, netip.MustParseAddr(gateway6)); err != nil {
		return err
	}
	for _, p := range single(h.addresses) {
		if p.Addr().Is6() && !HaveIPv6() {
			continue
		}
		err := nl.RouteReplace(&netlink.Route{LinkIndex: end.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: ipNet(p)})
		if err != nil {
			return fmt.Errorf("route to %s: %w", h.name, err)
		}
	}
	return nil
}

// linkDown pulls the router's end of a host's cable; one that is gone already is fine.
func (n *Network) linkDown(h *host) error {
	nl, done, err := n.Router().netlink()
	if err != nil {
		return err
	}
	defer done()
	end, err := nl.LinkByName(h.cable)
	if err != nil {
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil
		}
		return fmt.Errorf("find the cable of %s: %w", h.name, err)
	}
	return nl.LinkSetDown(end)
}

func up(h *netlink.Handle, name string) (netlink.Link, error) {
	link, err := h.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find interface %s: %w", name, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("bring interface %s up: %w", name, err)
	}
	return link, nil
}

// addAddress adds a single address; IPv6 ones skip duplicate detection, which would cost each boot a second.
func addAddress(h *netlink.Handle, link netlink.Link, a netip.Addr) error {
	addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, a.BitLen()))}
	if a.Is6() {
		if !HaveIPv6() {
			return nil
		}
		addr.Flags = unix.IFA_F_NODAD
		if a.IsLinkLocalUnicast() {
			addr.IPNet = ipNet(netip.PrefixFrom(a, 64))
		}
	}
	if err := h.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("add %s to %s: %w", a, link.Attrs().Name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// HaveIPv6 says whether this kernel runs IPv6 at all.
func HaveIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}
