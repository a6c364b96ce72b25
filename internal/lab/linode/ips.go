package linode

import (
	"net"
	"net/netip"
	"strings"
)

// ipv4Address is a public IPv4 address as the API shows it.
type ipv4Address struct {
	Address        netip.Addr `json:"address"`
	Gateway        netip.Addr `json:"gateway"`
	SubnetMask     string     `json:"subnet_mask"`
	Prefix         int        `json:"prefix"`
	Type           string     `json:"type"`
	Public         bool       `json:"public"`
	RDNS           *string    `json:"rdns"`
	LinodeID       int        `json:"linode_id"`
	InterfaceID    *int       `json:"interface_id"`
	Region         string     `json:"region"`
	VPCNAT         *struct{}  `json:"vpc_nat_1_1"`
	Reserved       bool       `json:"reserved"`
	AssignedEntity *entity    `json:"assigned_entity"`
}

type ipv6Address struct {
	Address    netip.Addr `json:"address"`
	Gateway    netip.Addr `json:"gateway"`
	SubnetMask string     `json:"subnet_mask"`
	Prefix     int        `json:"prefix"`
	Type       string     `json:"type"`
	RDNS       *string    `json:"rdns"`
	LinodeID   int        `json:"linode_id"`
	Region     string     `json:"region"`
	Public     bool       `json:"public"`
}

type instanceIPs struct {
	IPv4 struct {
		Public   []ipv4Address `json:"public"`
		Private  []ipv4Address `json:"private"`
		Shared   []ipv4Address `json:"shared"`
		Reserved []ipv4Address `json:"reserved"`
		VPC      []struct{}    `json:"vpc"`
	} `json:"ipv4"`
	IPv6 struct {
		SLAAC     ipv6Address `json:"slaac"`
		LinkLocal ipv6Address `json:"link_local"`
		Global    []struct{}  `json:"global"`
		VPC       []struct{}  `json:"vpc"`
	} `json:"ipv6"`
}

func (s *Server) ipRoutes() []route {
	return []route{
		{"GET /linode/instances/{id}/ips", "linodes:read_only", limitOther, s.instanceIPs},
		{"GET /linode/instances/{id}/ips/{address}", "linodes:read_only", limitOther, s.instanceIP},
		{"GET /networking/ips", "ips:read_only", limitList, s.listIPs},
		{"GET /networking/ips/{address}", "ips:read_only", limitOther, s.getIP},
	}
}

func (s *Server) instanceIPs(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.find(c)
	if err != nil {
		return nil, err
	}
	var out instanceIPs
	out.IPv4.Public = []ipv4Address{i.ipv4()}
	out.IPv4.Private, out.IPv4.Shared, out.IPv4.Reserved = []ipv4Address{}, []ipv4Address{}, []ipv4Address{}
	out.IPv4.VPC, out.IPv6.Global, out.IPv6.VPC = []struct{}{}, []struct{}{}, []struct{}{}
	out.IPv6.SLAAC, out.IPv6.LinkLocal = i.ipv6(i.Addresses.IPv6, true), i.ipv6(i.linkLocal(), false)
	return out, nil
}

func (s *Server) instanceIP(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.find(c)
	if err != nil {
		return nil, err
	}
	return i.address(c.PathValue("address"))
}

func (s *Server) listIPs(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []any{}
	for _, i := range s.state.sorted() {
		if i.View.Status != statusDeleting {
			all = append(all, i.ipv4(), i.ipv6(i.Addresses.IPv6, true))
		}
	}
	return page(c.Request, all, "linode_id", "region", "type", "address", "public", "reserved", "prefix", "rdns")
}

func (s *Server) getIP(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.state.sorted() {
		if i.View.Status == statusDeleting {
			continue
		}
		if found, err := i.address(c.PathValue("address")); err == nil {
			return found, nil
		}
	}
	return nil, notFound()
}

func (i *instance) address(text string) (any, error) {
	address, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return nil, notFound()
	case address == i.Addresses.IPv4:
		return i.ipv4(), nil
	case address == i.Addresses.IPv6:
		return i.ipv6(address, true), nil
	}
	return nil, notFound()
}

func (i *instance) ipv4() ipv4Address {
	a := i.Addresses
	name := strings.ReplaceAll(a.IPv4.String(), ".", "-") + ".ip.linodeusercontent.com"
	return ipv4Address{
		Address: a.IPv4, Gateway: a.Gateway, SubnetMask: net.IP(net.CIDRMask(a.Prefix, 32)).String(), Prefix: a.Prefix,
		Type: "ipv4", Public: true, RDNS: &name, LinodeID: i.View.ID, Region: i.View.Region, AssignedEntity: instanceEntity(i),
	}
}

func (i *instance) ipv6(address netip.Addr, public bool) ipv6Address {
	return ipv6Address{
		Address: address, Gateway: netip.MustParseAddr("fe80::1"), SubnetMask: "ffff:ffff:ffff:ffff::", Prefix: 64,
		Type: "ipv6", LinodeID: i.View.ID, Region: i.View.Region, Public: public,
	}
}

// linkLocal has the interface part of the public address, as with addresses made from the MAC address.
func (i *instance) linkLocal() netip.Addr {
	b := i.Addresses.IPv6.As16()
	copy(b[:8], []byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0})
	return netip.AddrFrom16(b)
}
