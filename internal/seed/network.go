package seed

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"go.yaml.in/yaml/v3"
)

// AnyInterface matches the names that Linux gives to Ethernet ports. One without a cable gets no address, so a machine
// with several ports of which one is in use needs no other choice.
const AnyInterface = "e*"

// Network is a network without DHCP.
type Network struct {
	// Addresses are the machine's, each with the length of its network's prefix.
	Addresses []netip.Prefix
	// Gateways are the default routers, at most one for each of IPv4 and IPv6.
	Gateways []netip.Addr
	// DNS are name servers.
	DNS []netip.Addr
	// Interface is the name of the port, which may hold * for any characters; empty means AnyInterface. MAC is its hardware
	// address, in place of a name.
	Interface, MAC string
}

// Check returns what is wrong with a network.
func (n Network) Check() error {
	if len(n.Addresses) == 0 {
		return errors.New("a network without DHCP needs an address")
	}
	has := map[bool]bool{}
	for _, a := range n.Addresses {
		// Some providers give an address alone, with a gateway outside of it.
		alone := a.IsSingleIP() && !slices.ContainsFunc(n.Gateways, func(g netip.Addr) bool { return g.Is4() == a.Addr().Is4() })
		if alone || !a.Addr().IsGlobalUnicast() {
			return fmt.Errorf("%s is no address of a machine in a network: write it like 203.0.113.10/24 or 2001:db8::10/64, or give its gateway", a)
		}
		if a.Masked().Addr() == a.Addr() && a.Bits() < a.Addr().BitLen()-1 {
			return fmt.Errorf("%s is the network, not an address in it", a)
		}
		has[a.Addr().Is4()] = true
	}
	routed := map[bool]bool{}
	for _, g := range n.Gateways {
		v4 := g.Is4()
		switch {
		case !has[v4]:
			return fmt.Errorf("the gateway %s has no address of its kind beside it", g)
		case routed[v4]:
			return fmt.Errorf("the gateway %s is a second one of its kind", g)
		}
		routed[v4] = true
	}
	if n.MAC != "" {
		if _, err := net.ParseMAC(n.MAC); err != nil {
			return fmt.Errorf("%q is no hardware address: write it like 52:54:00:12:34:56", n.MAC)
		}
		if n.Interface != "" {
			return errors.New("a port is named by its name or by its hardware address, not by both")
		}
	}
	return nil
}

// ethernet is a port in cloud-init's network configuration, version 2 (which is netplan's).
type ethernet struct {
	Match       map[string]string `yaml:"match,omitempty"`
	DHCP4       bool              `yaml:"dhcp4"`
	DHCP6       bool              `yaml:"dhcp6"`
	Addresses   []string          `yaml:"addresses"`
	Routes      []route           `yaml:"routes,omitempty"`
	Nameservers struct {
		Addresses []string `yaml:"addresses,omitempty"`
	} `yaml:"nameservers,omitempty"`
}

type route struct {
	To  string `yaml:"to"`
	Via string `yaml:"via,omitempty"`
}

// setGateway makes g the default router. The way to one outside of the addresses' networks, as some providers have it, is a
// route of its own: cloud-init neither takes a route's on-link nor lets the keys that imply it, gateway4 and gateway6, pass
// without a warning.
func (n Network) setGateway(e *ethernet, g netip.Addr) {
	within := g.IsLinkLocalUnicast()
	for _, a := range n.Addresses {
		within = within || a.Contains(g)
	}
	if !within {
		e.Routes = append(e.Routes, route{To: netip.PrefixFrom(g, g.BitLen()).String()})
	}
	everywhere := "::/0"
	if g.Is4() {
		everywhere = "0.0.0.0/0"
	}
	e.Routes = append(e.Routes, route{To: everywhere, Via: g.String()})
}

// config returns the network as cloud-init takes it. A port that is matched by name is the entry's key, since cloud-init's
// networkd renderer knows no match by name.
func (n Network) config() ([]byte, error) {
	if err := n.Check(); err != nil {
		return nil, err
	}
	var e ethernet
	for _, a := range n.Addresses {
		e.Addresses = append(e.Addresses, a.String())
	}
	for _, g := range n.Gateways {
		n.setGateway(&e, g)
	}
	for _, d := range n.DNS {
		e.Nameservers.Addresses = append(e.Nameservers.Addresses, d.String())
	}
	key := n.Interface
	switch {
	case n.MAC != "":
		mac, err := net.ParseMAC(n.MAC)
		if err != nil {
			return nil, err
		}
		key, e.Match = "primary", map[string]string{"macaddress": mac.String()}
	case key == "":
		key = AnyInterface
	}
	text, err := yaml.Marshal(map[string]any{"version": 2, "ethernets": map[string]ethernet{key: e}})
	if err != nil {
		return nil, fmt.Errorf("write network-config: %w", err)
	}
	return text, nil
}
