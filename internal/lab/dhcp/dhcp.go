// Package dhcp gives a virtual machine of the lab its addresses: it is the provider's DHCP server at the router's end of one
// cable, so there is exactly one address to give.
package dhcp

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
)

// leaseTime is longer than any lab lives: an address that was given is never taken back.
const leaseTime = 7 * 24 * time.Hour

// Lease is what the machine on the cable gets. All fields are required.
type Lease struct {
	// MAC is the machine's hardware address. Nobody else on the cable is answered.
	MAC net.HardwareAddr
	// Address is given as a single one (/32), as on a cable that leads to a router only.
	Address netip.Addr
	// Gateway is reachable without belonging to any prefix of the machine.
	Gateway netip.Addr
	// Server identifies the DHCP server; the machine renews its lease there.
	Server netip.Addr
}

// Listen opens the socket of a server on an interface of the current network namespace.
func Listen(device string) (net.PacketConn, error) {
	return server4.NewIPv4UDPConn(device, &net.UDPAddr{IP: net.IPv4zero, Port: dhcpv4.ServerPort})
}

// Server answers one machine. It is safe for concurrent use.
type Server struct {
	server *server4.Server
	done   sync.WaitGroup
}

// Serve answers on a socket of Listen until Close, which also closes the socket.
func Serve(conn net.PacketConn, lease Lease, log *slog.Logger) (*Server, error) {
	handle := func(conn net.PacketConn, peer net.Addr, request *dhcpv4.DHCPv4) {
		reply, err := Answer(lease, request)
		if err != nil || reply == nil {
			log.Debug("a DHCP request is not answered", "from", request.ClientHWAddr, "error", err)
			return
		}
		if _, err := conn.WriteTo(reply.ToBytes(), peer); err != nil && !errors.Is(err, net.ErrClosed) {
			log.Warn("could not answer a DHCP request", "from", request.ClientHWAddr, "error", err)
		}
	}
	inner, err := server4.NewServer("", nil, handle, server4.WithConn(conn))
	if err != nil {
		return nil, fmt.Errorf("serve DHCP: %w", err)
	}
	s := &Server{server: inner}
	s.done.Go(func() { _ = inner.Serve() }) // it ends when the socket is closed
	return s, nil
}

// Close stops answering.
func (s *Server) Close() error {
	err := s.server.Close()
	s.done.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Answer makes the reply to a request (RFC 2131), nil when there is nothing to say.
func Answer(l Lease, request *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, error) {
	if request.OpCode != dhcpv4.OpcodeBootRequest || request.ClientHWAddr.String() != l.MAC.String() {
		return nil, nil
	}
	if server := request.ServerIdentifier(); server != nil && !server.Equal(l.Server.AsSlice()) {
		return nil, nil // meant for another server
	}
	kind := dhcpv4.MessageTypeAck
	options := []dhcpv4.Modifier{
		dhcpv4.WithServerIP(l.Server.AsSlice()), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(l.Server.AsSlice())),
	}
	switch request.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		kind = dhcpv4.MessageTypeOffer
	case dhcpv4.MessageTypeRequest:
		if wanted := asked(request); wanted.IsValid() && wanted != l.Address {
			return reply(request, append(options, dhcpv4.WithMessageType(dhcpv4.MessageTypeNak))...)
		}
	case dhcpv4.MessageTypeInform:
		return reply(request, append(options, dhcpv4.WithMessageType(kind), network(l))...)
	default:
		return nil, nil // the machine declines or gives its address back: there is no other one for anybody
	}
	return reply(request, append(options,
		dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(l.Address.AsSlice()), network(l),
		dhcpv4.WithOption(dhcpv4.OptIPAddressLeaseTime(leaseTime)),
	)...)
}

// asked is the address that a machine wants to have or keep.
func asked(request *dhcpv4.DHCPv4) netip.Addr {
	ip := request.RequestedIPAddress()
	if len(ip) == 0 {
		ip = request.ClientIPAddr
	}
	a, ok := netip.AddrFromSlice(ip.To4())
	if !ok || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// network are the options that say how to use the address.
func network(l Lease) dhcpv4.Modifier {
	return func(d *dhcpv4.DHCPv4) {
		d.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(32, 32)))
		d.UpdateOption(dhcpv4.OptRouter(l.Gateway.AsSlice()))
	}
}

func reply(request *dhcpv4.DHCPv4, modifiers ...dhcpv4.Modifier) (*dhcpv4.DHCPv4, error) {
	r, err := dhcpv4.NewReplyFromRequest(request, modifiers...)
	if err != nil {
		return nil, fmt.Errorf("answer a DHCP request: %w", err)
	}
	return r, nil
}
