//go:build linux

package dhcp_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/insomniacslk/dhcp/dhcpv6/nclient6"
	"github.com/mdlayher/ndp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/dhcp"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
)

// cable makes a network with one machine and replaces its cable twice, as each boot does. An error of use is fatal.
func cable(t *testing.T, name string, use func(n *network.Network, ns network.Namespace, a network.Addresses) error) {
	t.Helper()
	if err := nodes.Check(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	n, err := network.New(t.Context(), fmt.Sprintf("%s-%d", name, os.Getpid()), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	a, err := n.Reserve("hk1", network.SiteColo)
	if err != nil {
		t.Fatal(err)
	}
	for boot := range 2 {
		ns, err := n.Plug(t.Context(), "hk1") // a container's end, so that the clients have an interface
		if err != nil {
			t.Fatal(err)
		}
		if err := use(n, ns, a); err != nil {
			t.Fatalf("boot %d: %v", boot+1, err)
		}
	}
}

// TestServe asks a server as a machine does, on a real cable.
func TestServe(t *testing.T) {
	cable(t, "dhcp", func(n *network.Network, ns network.Namespace, a network.Addresses) error {
		return ns.Do(func() error { return ask(t, n, a) })
	})
}

// TestServeAgain serves a cable that is new but has the name of one before it. No client disturbs what package net
// remembers of interfaces.
func TestServeAgain(t *testing.T) {
	cable(t, "again", func(n *network.Network, _ network.Namespace, a network.Addresses) error {
		server, err := serve(n, net.HardwareAddr{2, 0, 0, 0, 0, 1}, a)
		if err != nil {
			return err
		}
		return server.Close()
	})
}

// serve runs a server at the router's end of the cable.
func serve(n *network.Network, mac net.HardwareAddr, a network.Addresses) (server *dhcp.Server, err error) {
	lease := dhcp.Lease{
		MAC: mac, Address: a.IPv4, Gateway: a.Gateway, Server: netip.MustParseAddr(network.RouterAddress),
	}
	if network.HaveIPv6() {
		lease.Address6, lease.Gateway6 = a.IPv6, netip.MustParseAddr(network.GatewayAddress6)
	}
	err = n.AtCable("hk1", func(device string) error {
		server, err = dhcp.Serve(device, lease, slog.New(slog.DiscardHandler))
		return err
	})
	return server, err
}

// ask runs a server at the router's end of the cable and its clients in the namespace of this thread.
func ask(t *testing.T, n *network.Network, a network.Addresses) error {
	link, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	server, err := serve(n, link.HardwareAddr, a)
	if err != nil {
		return err
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	four, err := nclient4.New("eth0")
	if err != nil {
		return err
	}
	got, err := four.Request(ctx)
	if err = firstOf(err, four.Close()); err != nil {
		return fmt.Errorf("ask for an IPv4 address: %w", err)
	}
	if !got.ACK.YourIPAddr.Equal(a.IPv4.AsSlice()) {
		t.Errorf("the address is %v, want %v", got.ACK.YourIPAddr, a.IPv4)
	}
	if !network.HaveIPv6() {
		return nil
	}
	return ask6(ctx, t, link, a)
}

func ask6(ctx context.Context, t *testing.T, link *net.Interface, a network.Addresses) error {
	numbered := *link
	numbered.Name = fmt.Sprint(link.Index)
	conn, _, err := awaitLinkLocal(ctx, &numbered)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	for heard := false; !heard; {
		if err := conn.WriteTo(&ndp.RouterSolicitation{}, nil, netip.MustParseAddr("ff02::2")); err != nil {
			return err
		}
		message, _, from, err := conn.ReadFrom()
		if err != nil {
			return fmt.Errorf("ask for a router: %w", err)
		}
		advertisement, ok := message.(*ndp.RouterAdvertisement)
		if heard = ok; ok && (!advertisement.ManagedConfiguration || from.WithZone("").String() != network.GatewayAddress6) {
			t.Errorf("%v advertises %+v", from, advertisement)
		}
	}
	six, err := nclient6.New("eth0")
	if err != nil {
		return err
	}
	got, err := six.RapidSolicit(ctx)
	if err = firstOf(err, six.Close()); err != nil {
		return fmt.Errorf("ask for an IPv6 address: %w", err)
	}
	if ia := got.Options.OneIANA(); ia == nil || ia.Options.OneAddress() == nil || !ia.Options.OneAddress().IPv6Addr.Equal(a.IPv6.AsSlice()) {
		t.Errorf("the answer is %v, want the address %v", got, a.IPv6)
	}
	return nil
}

// awaitLinkLocal waits until the kernel has probed the interface's link-local address for duplicates.
func awaitLinkLocal(ctx context.Context, link *net.Interface) (*ndp.Conn, netip.Addr, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, address, err := ndp.Listen(link, ndp.LinkLocal)
		if err == nil {
			return conn, address, nil
		}
		select {
		case <-ctx.Done():
			return nil, address, err
		case <-tick.C:
		}
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
