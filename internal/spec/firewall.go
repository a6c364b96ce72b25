package spec

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Firewall is what stands between a node and the others and is not Atoll's, as the operator describes it: the provider's firewall, or
// the machine's own where it was adopted. Atoll changes nothing of it. It lets answers through to what it has let out, as firewalls
// that keep state do.
type Firewall struct {
	// Inbound are the connections that it lets in at the node's public addresses, Outbound those that it lets out to others', and Mesh
	// those that it lets in at the mesh address. Nil is all of them, an empty list none.
	Inbound  []FirewallRule `json:"inbound,omitzero"`
	Outbound []FirewallRule `json:"outbound,omitzero"`
	Mesh     []FirewallRule `json:"mesh,omitzero"`
	// Accept is what of this is meant to be so.
	Accept FirewallAccept `json:"accept,omitzero"`
}

// FirewallAccept is what the operator knows and accepts of a firewall.
type FirewallAccept struct {
	// Blocked are the nodes that it may keep from this one, or this one from, sorted by name.
	Blocked []string `json:"blocked,omitempty"`
}

// FirewallProtocol is the protocol that a rule of a firewall is about.
type FirewallProtocol string

// The protocols of rules.
const (
	FirewallTCP FirewallProtocol = "tcp"
	FirewallUDP FirewallProtocol = "udp"
)

// FirewallProtocols lists every protocol of a rule.
func FirewallProtocols() []FirewallProtocol { return []FirewallProtocol{FirewallTCP, FirewallUDP} }

// FirewallRule lets connections through.
type FirewallRule struct {
	Protocol FirewallProtocol `json:"protocol"`
	// Ports are those of the side that is connected to: "655" or "8000-8080". Empty is every port.
	Ports []string `json:"ports,omitempty"`
	// Peers are who is on the other side: names of nodes, IP addresses, and networks as "192.0.2.0/24". Nil is everybody, an empty list
	// nobody.
	Peers []string `json:"peers,omitzero"`
}

// ParsePorts reads "655" or "8000-8080".
func ParsePorts(text string) (first, last int, ok bool) {
	from, to, ranged := strings.Cut(text, "-")
	first, err := strconv.Atoi(from)
	if err != nil {
		return 0, 0, false
	}
	last = first
	if ranged {
		if last, err = strconv.Atoi(to); err != nil {
			return 0, 0, false
		}
	}
	return first, last, first >= 1 && last <= 65535 && first <= last
}

// ValidatePeer reports what keeps text from being a node's name, an IP address or a network.
func ValidatePeer(field, text string) Problems {
	var ps Problems
	if _, err := netip.ParseAddr(text); err == nil {
		return nil
	}
	if network, err := netip.ParsePrefix(text); err == nil {
		if network.Masked() != network {
			ps.add(field, "write "+network.Masked().String(), "%s has host bits set", text)
		}
		return ps
	}
	if len(ValidateName(field, text)) != 0 {
		ps.add(field, `write a node's name, an address or a network such as "192.0.2.0/24"`, "%q is neither", text)
	}
	return ps
}

func (f Firewall) validate() Problems {
	var ps Problems
	for _, list := range []struct {
		name  string
		rules []FirewallRule
	}{{"inbound", f.Inbound}, {"outbound", f.Outbound}, {"mesh", f.Mesh}} {
		for _, r := range list.rules {
			ps = append(ps, r.validate().Under(list.name)...)
		}
	}
	for _, node := range f.Accept.Blocked {
		ps = append(ps, ValidateName("accept.blocked", node)...)
	}
	return ps
}

func (r FirewallRule) validate() Problems {
	var ps Problems
	if !slices.Contains(FirewallProtocols(), r.Protocol) {
		ps.add("protocol", "choose tcp or udp", "%q is unknown", r.Protocol)
	}
	for _, ports := range r.Ports {
		if _, _, ok := ParsePorts(ports); !ok {
			ps.add("ports", `write one from 1 to 65535, or a range such as "8000-8080"`, "%q is no port", ports)
		}
	}
	for _, peer := range r.Peers {
		ps = append(ps, ValidatePeer("peers", peer)...)
	}
	return ps
}
