//go:build linux

package network

import (
	"fmt"
	"net/netip"
)

// Addresses of the lab's own services. They are the same in every lab: labs share no namespace.
const (
	// RouterAddress is where the clouds' APIs answer.
	RouterAddress = "198.18.0.1"
	// CloudflareAddress is where Cloudflare's API answers, which agents ask as well.
	CloudflareAddress = "198.18.0.2"
	// OperatorAddress is the operator's workstation.
	OperatorAddress = "198.18.0.10"
	// EdgeAddress is where the edge in front of the nodes answers, and where its checks come from.
	EdgeAddress = "198.18.0.20"
	// MetadataAddress is the link-local address of the clouds' metadata services.
	MetadataAddress = "169.254.169.254"
	// MetadataAddress6 is the same for IPv6, as Linode has it.
	MetadataAddress6 = "fd00:a9fe:a9fe::1"
)

// Sites of the machines that no cloud API made.
const (
	// SiteColo is the colocation site in Hong Kong with the operator's own machine.
	SiteColo = "hk-colo"
	// SiteVPS is a second provider in Hong Kong.
	SiteVPS = "hk-vps"
)

// SitePrefix is the length of every site's IPv4 prefix.
const SitePrefix = 26

// firstHost leaves the low addresses of a site to its gateway and whatever else a provider keeps there.
const firstHost = 10

// cloudBlocks are cut into one /26 per cloud region, in order of first use. They are documentation addresses
// (RFC 5737), as the fixed sites' are.
var cloudBlocks = []string{
	"203.0.113.0/26", "203.0.113.64/26", "203.0.113.128/26", "203.0.113.192/26",
	"192.0.2.0/26", "192.0.2.64/26", "192.0.2.128/26", "192.0.2.192/26",
}

// Site is one location: its own subnets behind its own gateway.
type Site struct {
	Name    string       `json:"name"`
	IPv4    netip.Prefix `json:"ipv4"`
	IPv6    netip.Prefix `json:"ipv6"`
	Gateway netip.Addr   `json:"gateway"`
}

// Addresses are what one host of the lab is reachable at.
type Addresses struct {
	IPv4    netip.Addr `json:"ipv4"`
	IPv6    netip.Addr `json:"ipv6"`
	Gateway netip.Addr `json:"gateway"`
}

// workstation is the operator's place in the network.
func workstation() Addresses {
	return Addresses{
		IPv4: netip.MustParseAddr(OperatorAddress), IPv6: netip.MustParseAddr("2001:db8:ffff::10"),
		Gateway: netip.MustParseAddr(RouterAddress),
	}
}

// edgePlace is the edge's place in the network.
func edgePlace() Addresses {
	return Addresses{
		IPv4: netip.MustParseAddr(EdgeAddress), IPv6: netip.MustParseAddr("2001:db8:ffff::20"),
		Gateway: netip.MustParseAddr(RouterAddress),
	}
}

// plan hands out subnets and addresses. It is not safe for concurrent use.
type plan struct {
	sites []Site
	next  map[string]int // per site, the offset to try first
	taken map[netip.Addr]string
}

func newPlan() *plan {
	p := &plan{next: map[string]int{}, taken: map[netip.Addr]string{}}
	p.add(SiteColo, "198.51.100.0/26")
	p.add(SiteVPS, "198.51.100.64/26")
	return p
}

func (p *plan) add(name, block string) Site {
	v4 := netip.MustParsePrefix(block)
	number := byte(len(p.sites) + 1)
	v6 := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, number}), 64)
	s := Site{Name: name, IPv4: v4, IPv6: v6, Gateway: v4.Addr().Next()}
	p.sites = append(p.sites, s)
	return s
}

func (p *plan) site(name string) (Site, bool) {
	for _, s := range p.sites {
		if s.Name == name {
			return s, true
		}
	}
	return Site{}, false
}

// open returns the site and makes it when a cloud region is used for the first time.
func (p *plan) open(name string) (s Site, fresh bool, err error) {
	if s, ok := p.site(name); ok {
		return s, false, nil
	}
	used := len(p.sites) - 2
	if used >= len(cloudBlocks) {
		return Site{}, false, fmt.Errorf("no subnet left for site %q: the lab has room for %d cloud regions", name, len(cloudBlocks))
	}
	return p.add(name, cloudBlocks[used]), true, nil
}

// allocate takes the next free address of a site. Addresses are not reused until the site was walked once, so a host
// that is made again does not silently get its predecessor's address.
func (p *plan) allocate(s Site, host string) (Addresses, error) {
	const room = 63 - firstHost // .63 is the broadcast address of the /26
	base := s.IPv4.Addr().As4()
	for i := range room {
		offset := firstHost + (p.next[s.Name]+i)%room
		b := base
		b[3] += byte(offset)
		addr := netip.AddrFrom4(b)
		if _, taken := p.taken[addr]; taken {
			continue
		}
		p.taken[addr] = host
		p.next[s.Name] = (offset - firstHost + 1) % room
		six := s.IPv6.Addr().As16()
		six[15] = byte(offset)
		return Addresses{IPv4: addr, IPv6: netip.AddrFrom16(six), Gateway: s.Gateway}, nil
	}
	return Addresses{}, fmt.Errorf("site %q is full: all of its %d addresses are in use", s.Name, room)
}

func (p *plan) release(a Addresses) { delete(p.taken, a.IPv4) }
