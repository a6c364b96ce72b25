//go:build linux

package network

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// GatewayAddress6 is the router's link-local address on every cable.
const GatewayAddress6 = gateway6

// bridge joins a virtual machine's end of the cable to the cable.
const bridge = "br0"

// PlugTap gives a reserved host a fresh namespace in which a tap device leads to the router, for a virtual machine to take
// hold of. The host's addresses are for the machine itself to use: nothing in the namespace has them.
func (n *Network) PlugTap(ctx context.Context, name, tap string) (Namespace, error) {
	h, err := n.host(name)
	if err != nil {
		return "", err
	}
	if err := h.namespace.remove(ctx); err != nil {
		return "", err
	}
	if err := n.connectTap(ctx, h, tap); err != nil {
		return "", errors.Join(err, h.namespace.remove(context.WithoutCancel(ctx)))
	}
	return h.namespace, nil
}

func (n *Network) connectTap(ctx context.Context, h *host, tap string) error {
	if err := h.namespace.create(ctx); err != nil {
		return err
	}
	// The namespace is a cable only: it must not take part in what is said on it.
	err := h.namespace.sysctl(map[string]string{"ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1"})
	if err != nil {
		return err
	}
	if err := n.layCable(h); err != nil {
		return fmt.Errorf("connect %s: %w", h.name, err)
	}
	if err := joinTap(h.namespace, tap); err != nil {
		return fmt.Errorf("connect %s: %w", h.name, err)
	}
	return n.configureRouterSide(h)
}

// joinTap makes the tap device and joins it to the cable.
func joinTap(ns Namespace, tap string) error {
	// A tap device is made in the namespace of the thread that asks for it.
	err := ns.Do(func() error {
		return netlink.LinkAdd(&netlink.Tuntap{
			LinkAttrs: netlink.LinkAttrs{Name: tap}, Mode: netlink.TUNTAP_MODE_TAP,
			Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR,
		})
	})
	if err != nil {
		return fmt.Errorf("make the tap device: %w", err)
	}
	nl, done, err := ns.netlink()
	if err != nil {
		return err
	}
	defer done()
	joint := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}}
	if err := nl.LinkAdd(joint); err != nil {
		return fmt.Errorf("join the tap device to the cable: %w", err)
	}
	for _, name := range []string{inside, tap} {
		end, err := up(nl, name)
		if err != nil {
			return err
		}
		if err := nl.LinkSetMaster(end, joint); err != nil {
			return fmt.Errorf("join the tap device to the cable: %w", err)
		}
	}
	_, err = up(nl, bridge)
	return err
}

// AtCable runs f in the router's namespace with the name of the router's end of a host's cable. Sockets that f opens stay
// in the namespace afterwards.
func (n *Network) AtCable(name string, f func(device string) error) error {
	h, err := n.host(name)
	if err != nil {
		return err
	}
	return n.Router().Do(func() error { return f(h.cable) })
}

// Restore ends Silence: the cable carries packets again.
func (n *Network) Restore(name string) error {
	h, err := n.host(name)
	if err != nil {
		return err
	}
	if err := n.configureRouterSide(h); err != nil && !errors.Is(err, unix.ENODEV) {
		return err
	}
	return nil
}
