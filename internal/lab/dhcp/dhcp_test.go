package dhcp_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/dhcp"
)

var (
	mac     = net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}
	address = netip.MustParseAddr("198.51.100.10")
	lease   = dhcp.Lease{
		MAC: mac, Address6: netip.MustParseAddr("2001:db8:0:1::a"), Address: address, Gateway: netip.MustParseAddr("198.51.100.1"), Server: netip.MustParseAddr("198.18.0.1"),
	}
)

// request makes what a machine says.
func request(t *testing.T, kind dhcpv4.MessageType, modifiers ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	r, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(mac), dhcpv4.WithMessageType(kind)}, modifiers...)...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnswer(t *testing.T) {
	other := dhcpv4.OptRequestedIPAddress(net.IPv4(198, 51, 100, 11))
	for _, test := range []struct {
		name    string
		request *dhcpv4.DHCPv4
		want    dhcpv4.MessageType // none: no answer
		address bool
	}{
		{"a machine looks for a server", request(t, dhcpv4.MessageTypeDiscover), dhcpv4.MessageTypeOffer, true},
		{"it would like another address", request(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithOption(other)), dhcpv4.MessageTypeOffer, true},
		{
			"it takes the offer", request(t, dhcpv4.MessageTypeRequest,
				dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(address.AsSlice())),
				dhcpv4.WithOption(dhcpv4.OptServerIdentifier(lease.Server.AsSlice()))),
			dhcpv4.MessageTypeAck, true,
		},
		{"it renews", request(t, dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(address.AsSlice())), dhcpv4.MessageTypeAck, true},
		{"it asks for an address that is not its own", request(t, dhcpv4.MessageTypeRequest, dhcpv4.WithOption(other)), dhcpv4.MessageTypeNak, false},
		{
			"it takes another server's offer", request(t, dhcpv4.MessageTypeRequest,
				dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 0, 0, 1)))),
			dhcpv4.MessageTypeNone, false,
		},
		{"it has an address and wants the rest", request(t, dhcpv4.MessageTypeInform), dhcpv4.MessageTypeAck, false},
		{"it gives its address back", request(t, dhcpv4.MessageTypeRelease), dhcpv4.MessageTypeNone, false},
		{
			"another machine", request(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0, 1})),
			dhcpv4.MessageTypeNone, false,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := dhcp.Answer(lease, test.request)
			if err != nil {
				t.Fatal(err)
			}
			if got == nil {
				if test.want != dhcpv4.MessageTypeNone {
					t.Fatalf("there is no answer, want %v", test.want)
				}
				return
			}
			if got.MessageType() != test.want {
				t.Fatalf("the answer is %v, want %v", got.MessageType(), test.want)
			}
			if has := got.YourIPAddr.Equal(address.AsSlice()); has != test.address {
				t.Errorf("the answer has the address %v", got.YourIPAddr)
			}
			if !test.address {
				return
			}
			if ones, _ := got.SubnetMask().Size(); ones != 32 {
				t.Errorf("the address is one of a prefix of %d bits", ones)
			}
			if routers := got.Router(); len(routers) != 1 || !routers[0].Equal(lease.Gateway.AsSlice()) {
				t.Errorf("the gateway is %v", routers)
			}
			if !got.ServerIdentifier().Equal(lease.Server.AsSlice()) || got.IPAddressLeaseTime(0) < 24*time.Hour {
				t.Errorf("the lease is of %v for %v", got.ServerIdentifier(), got.IPAddressLeaseTime(0))
			}
		})
	}
}

func TestAnswer6(t *testing.T) {
	router := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	solicit := func(modifiers ...dhcpv6.Modifier) *dhcpv6.Message {
		m, err := dhcpv6.NewSolicit(mac, modifiers...)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	as := func(m *dhcpv6.Message, kind dhcpv6.MessageType) *dhcpv6.Message {
		m.MessageType = kind
		return m
	}
	duid := func(a net.HardwareAddr) dhcpv6.Modifier {
		return dhcpv6.WithServerID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: a})
	}
	for _, test := range []struct {
		name    string
		request *dhcpv6.Message
		want    dhcpv6.MessageType // none: no answer
	}{
		{"a machine looks for a server", solicit(), dhcpv6.MessageTypeAdvertise},
		{"it is in a hurry", solicit(dhcpv6.WithRapidCommit), dhcpv6.MessageTypeReply},
		{"it takes the offer", as(solicit(duid(router)), dhcpv6.MessageTypeRequest), dhcpv6.MessageTypeReply},
		{"it takes another server's offer", as(solicit(duid(mac)), dhcpv6.MessageTypeRequest), dhcpv6.MessageTypeNone},
		{"it renews", as(solicit(duid(router)), dhcpv6.MessageTypeRenew), dhcpv6.MessageTypeReply},
		{"it gives its address back", as(solicit(duid(router)), dhcpv6.MessageTypeRelease), dhcpv6.MessageTypeNone},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := dhcp.Answer6(lease, router, test.request)
			if err != nil {
				t.Fatal(err)
			}
			if got == nil {
				if test.want != dhcpv6.MessageTypeNone {
					t.Fatalf("there is no answer, want %v", test.want)
				}
				return
			}
			if got.Type() != test.want || got.TransactionID != test.request.TransactionID {
				t.Fatalf("the answer is %v, want %v", got, test.want)
			}
			ia := got.Options.OneIANA()
			if ia == nil || len(ia.Options.Addresses()) != 1 || !ia.Options.Addresses()[0].IPv6Addr.Equal(lease.Address6.AsSlice()) {
				t.Errorf("the answer is %v, want the address %v", got, lease.Address6)
			}
		})
	}
}
