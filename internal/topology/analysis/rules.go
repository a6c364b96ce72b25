package analysis

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// verdict is whether a firewall lets something through.
type verdict int

const (
	yes verdict = iota
	// unsure is where it is not known yet.
	unsure
	no
)

// list is a list of rules that can be asked quickly. Nil lets everything through.
type list struct{ rules []rule }

type rule struct {
	protocol topology.Protocol
	// ranges are the ports, none for all of them.
	ranges [][2]int
	// everybody is for a rule without peers.
	everybody bool
	names     map[string]bool
	networks  []netip.Prefix
}

// compile makes a list ready. What spec would refuse lets nothing through.
func compile(in []spec.FirewallRule) *list {
	if in == nil {
		return nil
	}
	out := &list{}
	for _, r := range in {
		one := rule{protocol: topology.Protocol(r.Protocol), everybody: r.Peers == nil, names: map[string]bool{}}
		for _, text := range r.Ports {
			if first, last, ok := spec.ParsePorts(text); ok {
				one.ranges = append(one.ranges, [2]int{first, last})
			}
		}
		if len(r.Ports) > 0 && len(one.ranges) == 0 {
			continue
		}
		for _, text := range r.Peers {
			if network, err := netip.ParsePrefix(text); err == nil {
				one.networks = append(one.networks, network)
			} else if addr, err := netip.ParseAddr(text); err == nil {
				addr = addr.Unmap()
				one.networks = append(one.networks, netip.PrefixFrom(addr, addr.BitLen()))
			} else {
				one.names[text] = true
			}
		}
		out.rules = append(out.rules, one)
	}
	return out
}

// admits tells whether the list lets a connection to a port through when that node, with these addresses, is on its other side. A node
// with several addresses gets through when one of them does.
func (l *list) admits(p topology.Port, peer string, at place) verdict {
	if l == nil {
		return yes
	}
	out := no
	for _, r := range l.rules {
		if r.protocol != p.Protocol || !r.has(p.Number) {
			continue
		}
		out = min(out, r.matches(peer, at))
	}
	return out
}

func (r rule) has(port int) bool {
	return len(r.ranges) == 0 || slices.ContainsFunc(r.ranges, func(span [2]int) bool { return span[0] <= port && port <= span[1] })
}

func (r rule) matches(peer string, at place) verdict {
	if r.everybody || r.names[peer] {
		return yes
	}
	for _, network := range r.networks {
		if slices.ContainsFunc(at.addresses, network.Contains) {
			return yes
		}
	}
	if len(r.networks) > 0 && !at.whole {
		return unsure
	}
	return no
}

// compareStrings compares pairs of strings, the first that differ deciding.
func compareStrings(a1, b1, a2, b2 string) int {
	return cmp.Or(cmp.Compare(a1, b1), cmp.Compare(a2, b2))
}
