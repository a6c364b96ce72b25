package linode

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/linode/linodego"
)

// Limits of a firewall. Linode documents 25 rules for both directions together and 255 addresses and networks a rule; its console takes
// at most 15 ports a rule, a range counting as two.
const (
	MaxFirewallRules = 25
	maxRuleAddresses = 255
	maxRulePorts     = 15
)

// What the API calls things.
const (
	accept = "ACCEPT"
	drop   = "DROP"
)

// Access is one thing that a firewall lets in: TCP or UDP ports First to Last, from everybody in the networks of From.
type Access struct {
	// Protocol is "tcp" or "udp".
	Protocol    string
	First, Last int
	From        []netip.Prefix
	// Service says for people what it is for.
	Service string
}

// FirewallRules are what a firewall lets in; all else is dropped, but for ICMP, on which finding out the size of packets depends. What
// goes out is let out.
type FirewallRules struct {
	set linodego.FirewallRuleSet
	// lines are what the rules do, whatever they are split into and called.
	lines []string
}

// Lines returns what the rules do, one thing a line, sorted. Rules that are written in another way and do the same have the same lines.
func (r FirewallRules) Lines() []string { return slices.Clone(r.lines) }

// Equal tells whether both let through the same.
func (r FirewallRules) Equal(other FirewallRules) bool { return slices.Equal(r.lines, other.lines) }

// TooManyRulesError is returned for what does not go into one firewall.
type TooManyRulesError struct {
	// Rules is how many it would take.
	Rules int
}

// Error says how many rules there would be.
func (e *TooManyRulesError) Error() string {
	return fmt.Sprintf("it takes %d rules, and a firewall at Linode has %d at most (each with up to %d addresses and networks, and up to %d ports, a range counting as two)",
		e.Rules, MaxFirewallRules, maxRuleAddresses, maxRulePorts)
}

// NewFirewallRules puts everything that is to be let in into as few rules as there can be: networks to which the same ports are open
// share rules. *TooManyRulesError when there are too many.
func NewFirewallRules(all []Access) (FirewallRules, error) {
	g := grants{}
	for _, a := range all {
		for _, from := range a.From {
			g.add(a.Protocol, from, ports{{a.First, a.Last}}, a.Service)
		}
	}
	everywhere := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	groups := g.groups()
	out := FirewallRules{
		set: linodego.FirewallRuleSet{
			InboundPolicy: drop, OutboundPolicy: accept, Outbound: []linodego.FirewallRule{},
			Inbound: []linodego.FirewallRule{rule("icmp", nil, everywhere, "errors, packet sizes and ping")},
		},
		lines: []string{line("icmp", nil, everywhere)},
	}
	for _, group := range groups {
		out.lines = append(out.lines, line(group.protocol, group.ports, group.from))
		for part := range slices.Chunk(group.from, maxRuleAddresses) {
			for _, some := range group.ports.chunks() {
				out.set.Inbound = append(out.set.Inbound, rule(group.protocol, some, part, strings.Join(group.services, ", ")))
			}
		}
	}
	slices.Sort(out.lines)
	if n := len(out.set.Inbound); n > MaxFirewallRules {
		return FirewallRules{}, &TooManyRulesError{Rules: n}
	}
	for i := range out.set.Inbound {
		out.set.Inbound[i].Label = fmt.Sprintf("atoll-%d", i+1)
	}
	return out, nil
}

// firewallRulesFrom reads rules that somebody may have changed.
func firewallRulesFrom(set linodego.FirewallRuleSet) FirewallRules {
	out := FirewallRules{set: set}
	g := grants{}
	for _, r := range set.Inbound {
		from, known := networksOf(r.Addresses)
		open, read := parsePorts(r.Ports)
		protocol := strings.ToLower(string(r.Protocol))
		switch {
		case r.Action != accept || !known || !read || r.RuleSet != 0:
			out.lines = append(out.lines, "inbound "+foreign(r))
		case protocol == "tcp" || protocol == "udp":
			for _, network := range from {
				g.add(protocol, network, open, "")
			}
		default:
			out.lines = append(out.lines, line(protocol, nil, from))
		}
	}
	for _, group := range g.groups() {
		out.lines = append(out.lines, line(group.protocol, group.ports, group.from))
	}
	for _, r := range set.Outbound {
		out.lines = append(out.lines, "outbound "+foreign(r))
	}
	if set.InboundPolicy != drop {
		out.lines = append(out.lines, "inbound policy "+set.InboundPolicy)
	}
	if set.OutboundPolicy != accept {
		out.lines = append(out.lines, "outbound policy "+set.OutboundPolicy)
	}
	slices.Sort(out.lines)
	out.lines = slices.Compact(out.lines)
	return out
}

// foreign describes a rule of a kind that is not made here.
func foreign(r linodego.FirewallRule) string {
	if r.RuleSet != 0 {
		return "rule set " + strconv.Itoa(r.RuleSet)
	}
	text := strings.ToLower(r.Action) + " " + strings.ToLower(string(r.Protocol))
	if r.Ports != "" {
		text += " " + r.Ports
	}
	var who []string
	for _, list := range []*[]string{r.Addresses.IPv4, r.Addresses.IPv6} {
		if list != nil {
			who = append(who, *list...)
		}
	}
	return text + " " + strings.Join(who, ", ")
}

func rule(protocol string, open ports, from []netip.Prefix, description string) linodego.FirewallRule {
	four, six := []string{}, []string{}
	for _, network := range from {
		if network.Addr().Is4() {
			four = append(four, network.String())
		} else {
			six = append(six, network.String())
		}
	}
	r := linodego.FirewallRule{
		Action: accept, Protocol: linodego.NetworkProtocol(strings.ToUpper(protocol)), Ports: open.String(),
		Description: description[:min(len(description), 100)],
	}
	if len(four) > 0 {
		r.Addresses.IPv4 = &four
	}
	if len(six) > 0 {
		r.Addresses.IPv6 = &six
	}
	return r
}

func line(protocol string, open ports, from []netip.Prefix) string {
	who := make([]string, len(from))
	for i, network := range from {
		who[i] = network.String()
		if network.IsSingleIP() {
			who[i] = network.Addr().String()
		}
	}
	if len(open) == 0 {
		return protocol + " from " + strings.Join(who, ", ")
	}
	return protocol + " " + open.String() + " from " + strings.Join(who, ", ")
}

func networksOf(a linodego.NetworkAddresses) ([]netip.Prefix, bool) {
	var out []netip.Prefix
	for _, list := range []*[]string{a.IPv4, a.IPv6} {
		if list == nil {
			continue
		}
		for _, text := range *list {
			network, err := netip.ParsePrefix(text)
			if addr, addrErr := netip.ParseAddr(text); addrErr == nil {
				network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
			}
			if err != nil {
				return nil, false
			}
			out = append(out, network.Masked())
		}
	}
	slices.SortFunc(out, comparePrefixes)
	return slices.Compact(out), len(out) > 0
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// ports are ranges of ports, sorted and apart once they are joined.
type ports [][2]int

// joined returns the same ports in as few ranges as there can be.
func (p ports) joined() ports {
	sorted := slices.Clone(p)
	slices.SortFunc(sorted, func(a, b [2]int) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	var out ports
	for _, r := range sorted {
		if n := len(out); n > 0 && r[0] <= out[n-1][1]+1 {
			out[n-1][1] = max(out[n-1][1], r[1])
			continue
		}
		out = append(out, r)
	}
	return out
}

// without returns the ranges of p that are not whole within one of others.
func (p ports) without(others ports) ports {
	return slices.DeleteFunc(slices.Clone(p), func(r [2]int) bool {
		return slices.ContainsFunc(others, func(o [2]int) bool { return o[0] <= r[0] && r[1] <= o[1] })
	})
}

// chunks splits the ports into what goes into one rule each.
func (p ports) chunks() []ports {
	var out []ports
	room := 0
	for _, r := range p {
		needs := 2
		if r[0] == r[1] {
			needs = 1
		}
		if room < needs {
			out, room = append(out, nil), maxRulePorts
		}
		out[len(out)-1] = append(out[len(out)-1], r)
		room -= needs
	}
	return out
}

// String writes the ports as the API takes them.
func (p ports) String() string {
	texts := make([]string, len(p))
	for i, r := range p {
		texts[i] = strconv.Itoa(r[0])
		if r[0] != r[1] {
			texts[i] += "-" + strconv.Itoa(r[1])
		}
	}
	return strings.Join(texts, ", ")
}

// parsePorts reads what String writes. Nothing is every port.
func parsePorts(text string) (ports, bool) {
	if strings.TrimSpace(text) == "" {
		return ports{{1, 65535}}, true
	}
	var out ports
	for one := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(strings.TrimSpace(one), "-")
		first, err := strconv.Atoi(strings.TrimSpace(from))
		if err != nil {
			return nil, false
		}
		last := first
		if ranged {
			if last, err = strconv.Atoi(strings.TrimSpace(to)); err != nil {
				return nil, false
			}
		}
		out = append(out, [2]int{first, last})
	}
	return out.joined(), true
}

// grants are what is open to whom, by protocol and network.
type grants map[string]map[netip.Prefix]*grant

type grant struct {
	ports    ports
	services []string
}

func (g grants) add(protocol string, from netip.Prefix, open ports, service string) {
	if g[protocol] == nil {
		g[protocol] = map[netip.Prefix]*grant{}
	}
	have := g[protocol][from]
	if have == nil {
		have = &grant{}
		g[protocol][from] = have
	}
	have.ports = slices.Concat(have.ports, open).joined()
	if service != "" && !slices.Contains(have.services, service) {
		have.services = append(have.services, service)
	}
}

// group is what is open to the same networks.
type group struct {
	protocol string
	ports    ports
	from     []netip.Prefix
	services []string
}

// groups puts networks together to which the same is open. What is open to everybody of a family, or to a larger network, goes without
// saying for those in it.
func (g grants) groups() []group {
	var out []group
	for _, protocol := range slices.Sorted(maps.Keys(g)) {
		byPorts := map[string]*group{}
		networks := slices.SortedFunc(maps.Keys(g[protocol]), comparePrefixes)
		for _, network := range networks {
			have := g[protocol][network]
			open := have.ports
			for _, wider := range networks {
				if wider != network && wider.Bits() < network.Bits() && wider.Contains(network.Addr()) {
					open = open.without(g[protocol][wider].ports)
				}
			}
			if len(open) == 0 {
				continue
			}
			key := open.String()
			if byPorts[key] == nil {
				byPorts[key] = &group{protocol: protocol, ports: open}
			}
			one := byPorts[key]
			one.from = append(one.from, network)
			for _, service := range have.services {
				if !slices.Contains(one.services, service) {
					one.services = append(one.services, service)
				}
			}
		}
		for _, key := range slices.Sorted(maps.Keys(byPorts)) {
			out = append(out, *byPorts[key])
		}
	}
	return out
}
