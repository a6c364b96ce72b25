package topology

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// HostFirewall is what a node's own packet filter lets in; all else is to be dropped, but for answers and what keeps IP working.
type HostFirewall struct {
	// Openings are sorted and none is there twice.
	Openings []Opening `json:"openings"`
	// Operators are the networks that the machine is administered from, nil for all: the openings have them, and whoever changes them
	// could lock the operator out.
	Operators []netip.Prefix `json:"operators,omitempty"`
	// Hidden tells that the node has no public address: nobody calls it there, so nobody can confirm that one gets through.
	Hidden bool `json:"hidden,omitempty"`
	// Alone tells that there is no other node, which a change could keep out and which could confirm it.
	Alone bool `json:"alone,omitempty"`
	// ConfirmWithin is how long a change has to be confirmed in, in nanoseconds in JSON.
	ConfirmWithin time.Duration `json:"confirm_within"`
}

// Opening is one protocol's port, or range of ports, and who may connect there.
type Opening struct {
	Protocol Protocol `json:"protocol"`
	First    int      `json:"first"`
	Last     int      `json:"last"`
	Service  Service  `json:"service"`
	// Mesh tells that it is about packets that come over the mesh, otherwise about all others.
	Mesh bool `json:"mesh,omitempty"`
	// Anybody4 and Anybody6 tell that it is open to every IPv4 and every IPv6 address.
	Anybody4 bool `json:"anybody4,omitempty"`
	Anybody6 bool `json:"anybody6,omitempty"`
	// From are networks that it is open to beside, sorted, none within another, and none of a family that it is open to as a whole.
	From []netip.Prefix `json:"from,omitempty"`
}

// Admits tells whether packets from an address may come in by the opening.
func (o Opening) Admits(addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.Is4() && o.Anybody4 || addr.Is6() && o.Anybody6 ||
		slices.ContainsFunc(o.From, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// Admits tells whether a connection to a port may come in, over the mesh or otherwise.
func (f *HostFirewall) Admits(protocol Protocol, port int, overMesh bool, from netip.Addr) bool {
	return slices.ContainsFunc(f.Openings, func(o Opening) bool {
		return o.Protocol == protocol && o.First <= port && port <= o.Last && o.Mesh == overMesh && o.Admits(from)
	})
}

// HostFirewallOf returns the packet filter of the node of that name, nil when the node has none that is enforced. It follows from the
// ports of the node alone; who may connect is known by addresses:
//
// A port that only nodes connect to is open to their public addresses. Where such a node has host names or no address, and in a
// family of addresses that this node has and the other has not, its packets may come from anywhere, and the port is open to
// everybody in that family: what protects it then is that it answers only who proves to be a member.
func HostFirewallOf(in Input, node string) (*HostFirewall, error) {
	self, there := in.Nodes[node]
	if !there {
		return nil, fmt.Errorf("derive the packet filter of node %q of cluster %q: %w", node, in.ClusterName, ErrUnknownNode)
	}
	wish := self.HostFirewall
	if wish == nil || !wish.Enforce {
		return nil, nil
	}
	b := &filterBuilder{in: in, self: self, out: &HostFirewall{ConfirmWithin: wish.ConfirmWithin(), Hidden: len(self.Addresses) == 0, Alone: len(in.Nodes) == 1}}
	b.operators = sources{four: wish.Operators == nil, six: wish.Operators == nil}
	for _, text := range wish.Operators {
		if network, ok := spec.ParseNetwork(text); ok {
			b.operators.networks = append(b.operators.networks, network)
		}
	}
	b.out.Operators = b.operators.reduced().networks
	for _, p := range newPortModel(in).of(node).ports {
		if p.Service != ServiceHello { // which comes from other addresses than all else
			b.port(p)
		}
	}
	if in.Cluster.Mesh.Driver == spec.MeshWireGuard {
		// The links' hellos come from IPv6 addresses that only the tunnel has.
		b.open(Opening{Protocol: UDP, First: spec.WireGuardHelloPort, Last: spec.WireGuardHelloPort, Service: ServiceMesh, Mesh: true},
			sources{networks: []netip.Prefix{netip.MustParsePrefix("fe80::/10")}})
	}
	for _, r := range wish.Open {
		b.rule(r)
	}
	slices.SortFunc(b.out.Openings, compareOpenings)
	b.out.Openings = slices.CompactFunc(b.out.Openings, func(a, b Opening) bool { return compareOpenings(a, b) == 0 && slices.Equal(a.From, b.From) })
	return b.out, nil
}

func compareOpenings(a, b Opening) int {
	boolean := func(a, b bool) int {
		switch {
		case a == b:
			return 0
		case b:
			return -1
		}
		return 1
	}
	return cmp.Or(boolean(a.Mesh, b.Mesh), cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last), cmp.Compare(a.Protocol, b.Protocol),
		cmp.Compare(a.Service, b.Service), boolean(a.Anybody4, b.Anybody4), boolean(a.Anybody6, b.Anybody6),
		slices.CompareFunc(a.From, b.From, comparePrefixes))
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// sources are whom something is open to.
type sources struct {
	four, six bool
	networks  []netip.Prefix
}

var everybody = sources{four: true, six: true}

func (s sources) and(other sources) sources {
	return sources{four: s.four || other.four, six: s.six || other.six, networks: slices.Concat(s.networks, other.networks)}
}

// reduced returns the same sources without networks that are within what is there anyhow.
func (s sources) reduced() sources {
	out := sources{four: s.four, six: s.six}
	sorted := slices.Clone(s.networks)
	slices.SortFunc(sorted, comparePrefixes)
	for _, p := range sorted {
		if p.Addr().Is4() && s.four || p.Addr().Is6() && s.six {
			continue
		}
		// Of networks that hold one another the larger comes first, right before those within it.
		if n := len(out.networks); n > 0 && out.networks[n-1].Overlaps(p) {
			continue
		}
		out.networks = append(out.networks, p)
	}
	return out
}

// filterBuilder collects the openings of one node.
type filterBuilder struct {
	in        Input
	self      spec.Node
	operators sources
	out       *HostFirewall
}

func (b *filterBuilder) open(o Opening, to sources) {
	to = to.reduced()
	o.Anybody4, o.Anybody6, o.From = to.four, to.six, to.networks
	if o.Anybody4 || o.Anybody6 || len(o.From) > 0 {
		b.out.Openings = append(b.out.Openings, o)
	}
}

func (b *filterBuilder) port(p Port) {
	outside := Opening{Protocol: p.Protocol, First: p.Number, Last: p.Number, Service: p.Service}
	inside := outside
	inside.Mesh = true
	switch p.OpenTo {
	case OpenToPublic:
		who := everybody
		if !p.Anybody {
			who = b.public(p.Nodes)
			if p.Operator {
				who = who.and(b.operators)
			}
		}
		b.open(outside, who)
		// What strangers may reach, other nodes may. The mesh is not laid through itself.
		if p.Service != ServiceMesh {
			b.open(inside, everybody)
		}
	case OpenToOperator:
		b.open(outside, b.operators)
		b.open(inside, b.operators)
	case OpenToMesh:
		b.open(inside, b.private(p.Nodes))
	case OpenToNode:
	}
}

func (b *filterBuilder) rule(r spec.FirewallRule) {
	outside, inside := everybody, everybody
	if r.Peers != nil {
		outside, inside = sources{}, sources{}
	}
	for _, peer := range r.Peers {
		if network, ok := spec.ParseNetwork(peer); ok {
			outside.networks, inside.networks = append(outside.networks, network), append(inside.networks, network)
			continue
		}
		// What is opened here may ask nobody who it is: a node's addresses that are not known stay out.
		outside.networks = append(outside.networks, familiesOf(b.in.Nodes[peer]).addresses...)
		inside = inside.and(b.private([]string{peer}))
	}
	ports := r.Ports
	if len(ports) == 0 {
		ports = []string{"1-65535"}
	}
	for _, text := range ports {
		first, last, ok := spec.ParsePorts(text)
		if !ok {
			continue // the node's own check says so
		}
		o := Opening{Protocol: Protocol(r.Protocol), First: first, Last: last, Service: ServiceApplication}
		b.open(o, outside)
		o.Mesh = true
		b.open(o, inside)
	}
}

// private are the mesh addresses of nodes.
func (b *filterBuilder) private(nodes []string) sources {
	var out sources
	for _, name := range nodes {
		if addr := b.in.Nodes[name].MeshAddress.Unmap(); addr.IsValid() {
			out.networks = append(out.networks, netip.PrefixFrom(addr, addr.BitLen()))
		}
	}
	return out
}

// public are the addresses that packets of nodes come from at this node's public addresses.
func (b *filterBuilder) public(nodes []string) sources {
	var out sources
	mine := familiesOf(b.self)
	for _, name := range nodes {
		n, there := b.in.Nodes[name]
		if !there {
			continue
		}
		theirs := familiesOf(n)
		if theirs.unknown {
			out.four, out.six = true, true
			continue
		}
		out.networks = append(out.networks, theirs.addresses...)
		out.four = out.four || (mine.four || mine.unknown) && !theirs.four
		out.six = out.six || (mine.six || mine.unknown) && !theirs.six
	}
	return out
}

// families are what is known of a node's public addresses.
type families struct {
	four, six bool
	// unknown tells that packets may come from other addresses or go to them.
	unknown   bool
	addresses []netip.Prefix
}

func familiesOf(n spec.Node) families {
	f := families{unknown: len(n.Addresses) == 0}
	for _, text := range n.Addresses {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			f.unknown = true // a host name
			continue
		}
		addr = addr.Unmap().WithZone("")
		f.four, f.six = f.four || addr.Is4(), f.six || addr.Is6()
		f.addresses = append(f.addresses, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return f
}

// Narrower tells whether somebody who could reach this node to administer it or as another node (by SSH, the agent's API or the
// mesh's own port) might not any more after the filter was replaced by another. Nil is no filter. Everything else that a change
// closes locks nobody out.
func (f *HostFirewall) Narrower(next *HostFirewall) bool {
	if next == nil {
		return false
	}
	if f == nil {
		return true
	}
	for _, o := range f.Openings {
		if o.Service != ServiceSSH && o.Service != ServiceAPI && o.Service != ServiceMesh {
			continue
		}
		if !next.covers(o) {
			return true
		}
	}
	return false
}

// covers tells whether one opening of the filter lets in whoever o does.
func (f *HostFirewall) covers(o Opening) bool {
	return slices.ContainsFunc(f.Openings, func(p Opening) bool {
		if p.Protocol != o.Protocol || p.Mesh != o.Mesh || p.First > o.First || p.Last < o.Last || o.Anybody4 && !p.Anybody4 || o.Anybody6 && !p.Anybody6 {
			return false
		}
		for _, network := range o.From {
			if network.Addr().Is4() && p.Anybody4 || network.Addr().Is6() && p.Anybody6 {
				continue
			}
			if !slices.ContainsFunc(p.From, func(wide netip.Prefix) bool { return wide.Bits() <= network.Bits() && wide.Contains(network.Addr()) }) {
				return false
			}
		}
		return true
	})
}

// PortText is the opening's port or range of ports, as "655" or "8000-8080".
func (o Opening) PortText() string {
	if o.First == o.Last {
		return strconv.Itoa(o.First)
	}
	return strconv.Itoa(o.First) + "-" + strconv.Itoa(o.Last)
}

// maxNamed is how many ports of a range are named one by one where ports are listed.
const maxNamed = 32

// opened adds what the node's packet filter lets in beside, while it is enforced. Of ranges of more than maxNamed ports there is none.
func (l *portList) opened() {
	wish := l.in.Nodes[l.node].HostFirewall
	if wish == nil || !wish.Enforce {
		return
	}
	for _, r := range wish.Open {
		for _, text := range r.Ports {
			first, last, ok := spec.ParsePorts(text)
			if !ok || last-first >= maxNamed {
				continue
			}
			for number := first; number <= last; number++ {
				p := Port{
					Protocol: Protocol(r.Protocol), Number: number, Service: ServiceApplication, OpenTo: OpenToPublic, Nodes: l.others(r.Peers...),
					Anybody: r.Peers == nil, Objects: []spec.Ref{{Kind: spec.KindNode, Name: l.node}}, Purpose: "by host_firewall.open of the node",
				}
				if r.Peers != nil {
					p.Purpose += ", for " + strings.Join(r.Peers, ", ")
				}
				l.add(p)
			}
		}
	}
}
