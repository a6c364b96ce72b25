package dhcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/dhcpv6/server6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/mdlayher/ndp"
)

// advertiseEvery is how often the router says that it is there without being asked (RFC 4861, 6.2.1: at least every 30
// minutes; machines that boot ask).
const advertiseEvery = time.Minute

// everybody are all machines on the cable.
var everybody = netip.IPv6LinkLocalAllNodes()

// serve6 tells the machine who its router is and where its address comes from, and hands that out.
func (s *Server) serve6(device string) error {
	link, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	// Package net remembers interfaces' numbers by name for a minute, whatever namespace they are in; a cable keeps its name
	// when its machine boots again.
	numbered := *link
	numbered.Name = strconv.Itoa(link.Index)
	// The interface may have other link-local addresses, which the kernel still probes for duplicates.
	conn, _, err := ndp.Listen(&numbered, ndp.Addr(s.lease.Gateway6.String()))
	if err != nil {
		return fmt.Errorf("listen for router solicitations: %w", err)
	}
	s.run(conn, func() error { return s.advertise(conn) })
	if err := conn.JoinGroup(netip.MustParseAddr("ff02::2")); err != nil {
		return fmt.Errorf("listen for router solicitations: %w", err)
	}
	handle := func(conn net.PacketConn, peer net.Addr, request dhcpv6.DHCPv6) {
		message, ok := request.(*dhcpv6.Message)
		if !ok {
			return // a relay's
		}
		reply, err := Answer6(s.lease, link.HardwareAddr, message)
		if err != nil || reply == nil {
			s.log.Debug("a DHCPv6 request is not answered", "from", peer, "error", err)
			return
		}
		if _, err := conn.WriteTo(reply.ToBytes(), peer); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Warn("could not answer a DHCPv6 request", "from", peer, "error", err)
		}
	}
	server, err := server6.NewServer(device, nil, handle)
	if err != nil {
		return fmt.Errorf("listen for DHCPv6: %w", err)
	}
	s.run(server, server.Serve)
	return nil
}

// advertise sends router advertisements until the connection is closed.
func (s *Server) advertise(conn *ndp.Conn) error {
	// Addresses come by DHCPv6 alone: there is no prefix that a machine could make its own ones of.
	message := &ndp.RouterAdvertisement{CurrentHopLimit: 64, ManagedConfiguration: true, RouterLifetime: 2 * time.Hour}
	for {
		// A cable that is down for a moment is no reason to stop.
		if err := conn.WriteTo(message, nil, everybody); errors.Is(err, net.ErrClosed) {
			return err
		}
		if err := awaitSolicitation(conn); err != nil {
			return err
		}
	}
}

// awaitSolicitation returns when somebody asks for a router, or when it is time to speak again.
func awaitSolicitation(conn *ndp.Conn) error {
	if err := conn.SetReadDeadline(time.Now().Add(advertiseEvery)); err != nil {
		return err
	}
	for {
		message, _, _, err := conn.ReadFrom()
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			continue // not a message that the library understands
		}
		if _, ok := message.(*ndp.RouterSolicitation); ok {
			return nil
		}
	}
}

// Answer6 makes the reply to a request (RFC 8415) from the server with a hardware address, nil when there is nothing to say.
func Answer6(l Lease, server net.HardwareAddr, request *dhcpv6.Message) (*dhcpv6.Message, error) {
	self := &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: server}
	if wanted := request.Options.ServerID(); wanted != nil && !wanted.Equal(self) {
		return nil, nil // meant for another server
	}
	options := []dhcpv6.Modifier{dhcpv6.WithServerID(self)}
	if ia := request.Options.OneIANA(); ia != nil {
		options = append(options, dhcpv6.WithOption(&dhcpv6.OptIANA{
			IaId: ia.IaId, T1: leaseTime / 2, T2: leaseTime * 4 / 5,
			Options: dhcpv6.IdentityOptions{Options: []dhcpv6.Option{&dhcpv6.OptIAAddress{
				IPv6Addr: l.Address6.AsSlice(), PreferredLifetime: leaseTime, ValidLifetime: leaseTime,
			}}},
		}))
	}
	var reply *dhcpv6.Message
	var err error
	switch request.Type() {
	case dhcpv6.MessageTypeSolicit:
		if request.GetOneOption(dhcpv6.OptionRapidCommit) != nil {
			reply, err = dhcpv6.NewReplyFromMessage(request, append(options, dhcpv6.WithRapidCommit)...)
			break
		}
		reply, err = dhcpv6.NewAdvertiseFromSolicit(request, options...)
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind, dhcpv6.MessageTypeConfirm,
		dhcpv6.MessageTypeInformationRequest:
		reply, err = dhcpv6.NewReplyFromMessage(request, options...)
	default:
		return nil, nil // the machine declines or gives its address back: there is no other one for anybody
	}
	if err != nil {
		return nil, fmt.Errorf("answer a DHCPv6 request: %w", err)
	}
	return reply, nil
}
