//go:build linux

package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Names that an impairment accepts besides hosts and sites.
const (
	// Everything stands for every address: an impairment with it is a pulled cable, and one from it to itself is bad weather on every path.
	Everything = "*"
	// Operator is the operator's workstation.
	Operator = "operator"
	// Edge is the edge in front of the nodes.
	Edge = "edge"
)

// Impairment is one direction of traffic that the lab's internet carries badly.
type Impairment struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Percent of the packets that are lost; 100 is a cut.
	Percent int `json:"percent"`
}

// String says it as the command line does.
func (i Impairment) String() string {
	if i.Percent >= 100 {
		return fmt.Sprintf("%s -> %s cut", i.From, i.To)
	}
	return fmt.Sprintf("%s -> %s loses %d%%", i.From, i.To, i.Percent)
}

// validate checks what does not depend on which hosts exist.
func (i Impairment) validate() error {
	if i.Percent < 1 || i.Percent > 100 {
		return fmt.Errorf("loss of %d%% is not between 1 and 100", i.Percent)
	}
	if i.From == i.To && i.From != Everything {
		return fmt.Errorf("%q cannot be cut off from itself: name two different ends", i.From)
	}
	return nil
}

// set replaces the impairment of the same direction or adds it.
func set(list []Impairment, add Impairment) []Impairment {
	for n := range list {
		if list[n].From == add.From && list[n].To == add.To {
			list[n] = add
			return list
		}
	}
	return append(list, add)
}

// ruleset renders the router's whole table: one nft transaction, so traffic never sees half of a change. Every packet is
// looked at once: on arrival from a host, or when the router itself sends it.
func ruleset(list []Impairment, resolve func(string) ([]netip.Prefix, error)) (string, error) {
	var b strings.Builder
	b.WriteString("add table inet atoll\ndelete table inet atoll\ntable inet atoll {\n\tchain paths {\n")
	for _, i := range list {
		from, err := resolve(i.From)
		if err != nil {
			return "", err
		}
		to, err := resolve(i.To)
		if err != nil {
			return "", err
		}
		for _, line := range rules(i, from, to) {
			b.WriteString("\t\t" + line + "\n")
		}
	}
	b.WriteString("\t}\n")
	for _, hook := range []string{"prerouting", "output"} {
		fmt.Fprintf(&b, "\tchain %s {\n\t\ttype filter hook %s priority raw; policy accept;\n\t\tjump paths\n\t}\n", hook, hook)
	}
	b.WriteString("}\n")
	return b.String(), nil
}

// rules renders one impairment: one rule per address family that both ends have.
func rules(i Impairment, from, to []netip.Prefix) []string {
	verdict := "drop"
	if i.Percent < 100 {
		verdict = fmt.Sprintf("numgen random mod 100 < %d drop", i.Percent)
	}
	var lines []string
	for _, a := range from {
		for _, b := range to {
			if a.Addr().Is4() != b.Addr().Is4() {
				continue
			}
			lines = append(lines, strings.Join(slices.Concat(match("saddr", a), match("daddr", b), []string{verdict}), " "))
		}
	}
	return lines
}

// match selects one side; a prefix of length 0 is every address of its family.
func match(side string, p netip.Prefix) []string {
	family := "ip"
	if p.Addr().Is6() {
		family = "ip6"
	}
	if p.Bits() == 0 {
		return []string{"meta nfproto", map[string]string{"ip": "ipv4", "ip6": "ipv6"}[family]}
	}
	return []string{family, side, p.String()}
}
