// Package dhcp gives a virtual machine of the lab its addresses: it is what a provider's router says and hands out on one
// cable, so there is exactly one address of each family to give.
package dhcp

import (
	"errors"
	"fmt"
	"io"
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
	// Address6 is given as a single one (/128) by the router, whose link-local address Gateway6 is; none when it is not
	// valid.
	Address6, Gateway6 netip.Addr
	// Gateway is reachable without belonging to any prefix of the machine.
	Gateway netip.Addr
	// Server identifies the DHCP server; the machine renews its lease there.
	Server netip.Addr
}

// Server answers one machine. It is safe for concurrent use.
type Server struct {
	lease Lease
	log   *slog.Logger
	parts []io.Closer
	done  sync.WaitGroup
}

// Serve answers on an interface of the current network namespace until Close.
func Serve(device string, lease Lease, log *slog.Logger) (*Server, error) {
	s := &Server{lease: lease, log: log}
	err := s.serve4(device)
	if err == nil && lease.Address6.IsValid() {
		err = s.serve6(device)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serve addresses on %s: %w", device, err), s.Close())
	}
	return s, nil
}

func (s *Server) serve4(device string) error {
	handle := func(conn net.PacketConn, peer net.Addr, request *dhcpv4.DHCPv4) {
		reply, err := Answer(s.lease, request)
		if err != nil || reply == nil {
			s.log.Debug("a DHCP request is not answered", "from", request.ClientHWAddr, "error", err)
			return
		}
		if _, err := conn.WriteTo(reply.ToBytes(), peer); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Warn("could not answer a DHCP request", "from", request.ClientHWAddr, "error", err)
		}
	}
	server, err := server4.NewServer(device, &net.UDPAddr{IP: net.IPv4zero, Port: dhcpv4.ServerPort}, handle)
	if err != nil {
		return fmt.Errorf("listen for DHCP: %w", err)
	}
	s.run(server, server.Serve)
	return nil
}

// run runs a part of the server, which ends when it is closed.
func (s *Server) run(part io.Closer, serve func() error) {
	s.parts = append(s.parts, part)
	s.done.Go(func() { _ = serve() })
}

// Close stops answering.
func (s *Server) Close() error {
	var errs []error
	for _, p := range s.parts {
		if err := p.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	s.done.Wait()
	return errors.Join(errs...)
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
