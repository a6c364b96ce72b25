package spec

import (
	"net/netip"
	"time"
)

// HostFirewall is the packet filter on the node itself that its agent derives from the cluster's objects and keeps: it lets in what the
// cluster needs from whom it needs it, and drops everything else. Unlike Firewall, which describes what is not Atoll's, this one is.
type HostFirewall struct {
	// Enforce tells that it is in force; without, the node is as if there was none.
	Enforce bool `json:"enforce"`
	// Operators are addresses and networks from which the machine is administered: SSH and the agent's API are open to them. Nil is
	// everybody.
	Operators []string `json:"operators,omitempty"`
	// Open is what is let in beside what the cluster needs.
	Open []FirewallRule `json:"open,omitempty"`
	// ConfirmSeconds is how long a change has to be confirmed in by somebody who gets through, before it is taken back.
	ConfirmSeconds int `json:"confirm_seconds"`
}

// Bounds of HostFirewall.ConfirmSeconds and what it is unless something else is said. Less leaves no time to notice that an agent is
// on trial, and more would keep out an operator for longer than anybody waits.
const (
	MinConfirmSeconds     = 15
	MaxConfirmSeconds     = 600
	DefaultConfirmSeconds = 60
)

// ConfirmWithin is ConfirmSeconds as a duration.
func (f HostFirewall) ConfirmWithin() time.Duration {
	return time.Duration(f.ConfirmSeconds) * time.Second
}

// ParseNetwork reads an address as the network that is that address alone, and a network; IPv4 inside IPv6 counts as IPv4.
func ParseNetwork(text string) (netip.Prefix, bool) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	network, err := netip.ParsePrefix(text)
	return network, err == nil && network.Masked() == network && !network.Addr().Is4In6()
}

// ValidateNetwork reports what keeps text from being an IP address or a network.
func ValidateNetwork(field, text string) Problems {
	var ps Problems
	if _, ok := ParseNetwork(text); ok {
		return nil
	}
	if network, err := netip.ParsePrefix(text); err == nil && network.Masked() != network {
		ps.add(field, "write "+network.Masked().String(), "%s has host bits set", text)
		return ps
	}
	ps.add(field, `write an address or a network such as "203.0.113.0/24"`, "%q is neither", text)
	return ps
}

func (f HostFirewall) validate() Problems {
	var ps Problems
	if f.Operators != nil && len(f.Operators) == 0 {
		ps.add("operators", "name at least one address, or leave it out for everybody", "is empty, which would lock everybody out")
	}
	for _, text := range f.Operators {
		ps = append(ps, ValidateNetwork("operators", text)...)
	}
	for _, r := range f.Open {
		ps = append(ps, r.validate().Under("open")...)
	}
	if f.ConfirmSeconds < MinConfirmSeconds || f.ConfirmSeconds > MaxConfirmSeconds {
		ps.add("confirm_seconds", "choose one from 15 to 600", "%d is out of bounds", f.ConfirmSeconds)
	}
	return ps
}
