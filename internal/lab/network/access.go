//go:build linux

package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Access is how a host is connected to the internet.
type Access string

// The kinds of access.
const (
	// AccessPublic is an IPv4 and an IPv6 address of its own.
	AccessPublic Access = ""
	// AccessIPv6 is an IPv6 address alone.
	AccessIPv6 Access = "ipv6"
	// AccessTranslated is a private IPv4 address behind a router of its own, which has the public one and translates: what the host
	// sends goes out in the router's name, and only answers to that come in.
	AccessTranslated Access = "translated"
)

// Accesses lists every kind of access.
func Accesses() []Access { return []Access{AccessPublic, AccessIPv6, AccessTranslated} }

// Best is the address at which others reach the host: that of IPv4 if it has one.
func (a Addresses) Best() netip.Addr {
	if a.IPv4.IsValid() {
		return a.IPv4
	}
	return a.IPv6
}

// The addresses of a host behind a router of its own, and of that router there. They are the same behind each such router.
const (
	privateHost   = "192.168.1.2"
	privateRouter = "192.168.1.1"
)

// translation is what such a router does, as routers of households do. Each mapping gets a port by chance, so that one that was forgotten
// does not come back by luck.
const translation = `table ip translate {
	chain post {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "` + inside + `" masquerade fully-random
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname "` + inside + `" ct state established,related accept
		iifname "` + inside + `" drop
	}
	chain input {
		type filter hook input priority filter; policy accept;
		iifname "` + inside + `" ct state established,related accept
		iifname "` + inside + `" drop
	}
}
`

// end is the namespace at the other end of the host's cable.
func (h *host) end() Namespace {
	if h.access == AccessTranslated {
		return h.gate
	}
	return h.namespace
}

// connectBehind makes the router of a host that is behind one, and the cable between the two.
func (n *Network) connectBehind(ctx context.Context, h *host) error {
	if err := h.gate.create(ctx); err != nil {
		return err
	}
	if err := h.gate.sysctl(map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1"}); err != nil {
		return err
	}
	const lan = "lan0"
	gate, done, err := h.gate.netlink()
	if err != nil {
		return err
	}
	defer done()
	target, err := netns.GetFromPath(h.namespace.Path())
	if err != nil {
		return err
	}
	defer func() { _ = target.Close() }()
	err = gate.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: lan}, PeerName: inside, PeerNamespace: netlink.NsFd(target)})
	if err != nil {
		return fmt.Errorf("lay the cable of %s to its router: %w", h.name, err)
	}
	link, err := up(gate, lan)
	if err != nil {
		return err
	}
	private := netip.PrefixFrom(netip.MustParseAddr(privateRouter), 24)
	if err := gate.AddrReplace(link, &netlink.Addr{IPNet: ipNet(private)}); err != nil {
		return fmt.Errorf("add %s to the router of %s: %w", private, h.name, err)
	}
	if err := finish(h.gate.Command(ctx, "nft", "-f", "-"), translation); err != nil {
		return fmt.Errorf("make the router of %s translate: %w", h.name, err)
	}
	return configurePrivate(h)
}

// configurePrivate sets the private address and the route inside the host's namespace.
func configurePrivate(h *host) error {
	nl, done, err := h.namespace.netlink()
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
	if err := nl.AddrReplace(eth, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(netip.MustParseAddr(privateHost), 24))}); err != nil {
		return fmt.Errorf("add %s to %s: %w", privateHost, h.name, err)
	}
	err = nl.RouteAdd(&netlink.Route{
		LinkIndex: eth.Attrs().Index, Dst: ipNet(netip.MustParsePrefix("0.0.0.0/0")), Gw: net.ParseIP(privateRouter),
	})
	if err != nil {
		return fmt.Errorf("default route of %s: %w", h.name, err)
	}
	return nil
}

// ErrNotTranslated means that a host has no router that could forget anything.
var ErrNotTranslated = errors.New("the host is not behind a router that translates")

// ForgetTranslations makes the router of a host forget every mapping, as one that is started again does.
func (n *Network) ForgetTranslations(name string) error {
	h, err := n.host(name)
	if err != nil {
		return err
	}
	if h.access != AccessTranslated {
		return fmt.Errorf("%s: %w", name, ErrNotTranslated)
	}
	gate, done, err := h.gate.netlink()
	if err != nil {
		return err
	}
	defer done()
	if err := gate.ConntrackTableFlush(netlink.ConntrackTable); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("make the router of %s forget: %w", name, err)
	}
	return nil
}
