package firewall

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// Table is the name of the filter's nftables table, of family inet.
const Table = "atoll"

// MeshInterface is the interface of the mesh, whatever its driver.
const MeshInterface = "atoll0"

// markPrefix begins the table's comment, which tells by a digest which rules it holds.
const markPrefix = "atolld "

// trialSet is the set of families for which the rules on trial hold.
const trialSet = "trial"

// ruleset is what the table holds.
type ruleset struct {
	// filter is what is let in; before is what is let in when a trial ends, nil for everything.
	filter, before *topology.HostFirewall
	// trial is how long the filter holds, 0 for good.
	trial time.Duration
}

// counters are how many packets and bytes a named counter has seen.
type counters map[string]counter

type counter struct{ Packets, Bytes uint64 }

// counterNames are the table's counters: what was dropped from outside, over the mesh, and as belonging to no connection.
func counterNames() []string { return []string{"dropped_public", "dropped_mesh", "dropped_invalid"} }

// body returns the table's content but for its counters' values.
func (r ruleset) body() string {
	var b strings.Builder
	if r.trial > 0 {
		fmt.Fprintf(&b, "\tset %s {\n\t\ttypeof meta nfproto\n\t\tflags timeout\n\t\telements = { ipv4 timeout %[2]ds, ipv6 timeout %[2]ds }\n\t}\n", trialSet, int(r.trial.Seconds()))
	}
	b.WriteString("\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\t\tiif \"lo\" accept\n\t\tct state established,related accept\n")
	current := "confirmed"
	if r.trial > 0 {
		fmt.Fprintf(&b, "\t\tmeta nfproto @%s goto on_trial\n", trialSet)
		if r.before != nil {
			b.WriteString("\t\tgoto confirmed\n")
		}
		b.WriteString("\t}\n")
		if r.before != nil {
			chains(&b, "confirmed", r.before)
		}
		// Of connections that are older than the kernel's tracking of connections, the next packet is the first that it sees.
		b.WriteString("\tchain on_trial {\n\t\ttcp flags & (fin | syn | rst | ack) != syn accept\n\t\tgoto tried\n\t}\n")
		current = "tried"
	} else {
		b.WriteString("\t\tgoto confirmed\n\t}\n")
	}
	chains(&b, current, r.filter)
	return b.String()
}

// chains writes the chains of one filter, the first with the given name.
func chains(b *strings.Builder, name string, f *topology.HostFirewall) {
	fmt.Fprintf(b, `	chain %[1]s {
		ct state invalid counter name "dropped_invalid" drop
		iifname %[2]q goto %[1]s_mesh
		icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
		icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept
		icmp type echo-request limit rate 50/second burst 100 packets accept
		icmpv6 type echo-request limit rate 50/second burst 100 packets accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, nd-redirect } ip6 hoplimit 255 accept
		icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } ip6 saddr fe80::/10 accept
		udp sport 67 udp dport 68 accept
		ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
`, name, MeshInterface)
	openings(b, f, false)
	fmt.Fprintf(b, "\t\tcounter name \"dropped_public\" drop\n\t}\n\tchain %s_mesh {\n\t\tmeta l4proto { icmp, ipv6-icmp } accept\n", name)
	openings(b, f, true)
	b.WriteString("\t\tcounter name \"dropped_mesh\" drop\n\t}\n")
}

func openings(b *strings.Builder, f *topology.HostFirewall, mesh bool) {
	for _, o := range f.Openings {
		if o.Mesh != mesh {
			continue
		}
		port := fmt.Sprintf("%s dport %s accept comment %q\n", o.Protocol, o.PortText(), o.Service)
		switch {
		case o.Anybody4 && o.Anybody6:
			b.WriteString("\t\t" + port)
			continue
		case o.Anybody4:
			b.WriteString("\t\tmeta nfproto ipv4 " + port)
		case o.Anybody6:
			b.WriteString("\t\tmeta nfproto ipv6 " + port)
		}
		var four, six []string
		for _, p := range o.From {
			if p.Addr().Is4() {
				four = append(four, network(p))
			} else {
				six = append(six, network(p))
			}
		}
		if len(four) > 0 {
			fmt.Fprintf(b, "\t\tip saddr { %s } %s", strings.Join(four, ", "), port)
		}
		if len(six) > 0 {
			fmt.Fprintf(b, "\t\tip6 saddr { %s } %s", strings.Join(six, ", "), port)
		}
	}
}

// network writes a network as nft does.
func network(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// mark tells rulesets apart.
func (r ruleset) mark() string {
	sum := sha256.Sum256([]byte(r.body()))
	return hex.EncodeToString(sum[:16])
}

// script returns the commands that put the ruleset into the place of whatever the table holds, in one transaction: there is no
// moment without rules. Its counters go on from values.
func (r ruleset) script(values counters) string {
	var b strings.Builder
	// The first line makes the second one possible where there is no table yet.
	fmt.Fprintf(&b, "table inet %[1]s\ndelete table inet %[1]s\ntable inet %[1]s {\n\tcomment %[2]q\n", Table, markPrefix+r.mark())
	for _, name := range counterNames() {
		fmt.Fprintf(&b, "\tcounter %s {\n\t\tpackets %d bytes %d\n\t}\n", name, values[name].Packets, values[name].Bytes)
	}
	b.WriteString(r.body())
	b.WriteString("}\n")
	return b.String()
}
