package analysis

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// Side tells at which side of a connection a firewall stands in its way.
type Side string

// The sides.
const (
	// Inbound is the firewall of the node that is connected to, at its public addresses, Mesh the same at its mesh address.
	Inbound Side = "inbound"
	Mesh    Side = "mesh"
	// Outbound is the firewall of the node that connects.
	Outbound Side = "outbound"
)

// Barrier is a firewall that keeps one node from connecting to ports of another.
type Barrier struct {
	From, To string
	Side     Side
	// Ports are the ports of To.
	Ports []topology.Port
	// Cuts tells that From cannot open its link of the mesh to To, and Back that To can open it to From.
	Cuts, Back bool
	// Accepted tells that the firewall's accept names the other node.
	Accepted bool
}

// Node returns whose firewall it is, and Peer the other node.
func (b Barrier) Node() string {
	if b.Side == Outbound {
		return b.From
	}
	return b.To
}

// Peer returns the other node than the one whose firewall it is.
func (b Barrier) Peer() string {
	if b.Side == Outbound {
		return b.To
	}
	return b.From
}

// Serious tells whether something cannot work as it is described, rather than being slower or without its spare way.
func (b Barrier) Serious() bool { return b.Cuts || b.Side == Mesh }

// Barriers returns the connections that nodes have to make to each other and that a declared firewall does not let through, sorted
// by the nodes. Whether a firewall lets through what is not known yet is left open. One that is here stays whatever other nodes there are.
func Barriers(in Input) []Barrier { return newModel(in).barriers }

// model is a cluster made ready for questions.
type model struct {
	Input
	// names are the nodes, sorted, and index their places.
	names []string
	index map[string]uint
	fire  map[string]rules
	// primary is the protocol without which the mesh has no link.
	primary  topology.Protocol
	barriers []Barrier
	// paired are the links whose nodes keep files equal.
	paired map[string]bool
}

// rules are a node's firewall, each list nil for one that lets everything through.
type rules struct{ inbound, outbound, mesh *list }

func newModel(in Input) *model {
	m := &model{Input: in, names: slices.Sorted(maps.Keys(in.Nodes)), index: map[string]uint{}, fire: map[string]rules{}, primary: primaryOf(in), paired: map[string]bool{}}
	for _, p := range in.Pairs {
		if ends := p.Nodes(); len(ends) == 2 {
			m.paired[spec.LinkName(ends[0], ends[1])] = true
		}
	}
	var outward []string
	for i, name := range m.names {
		m.index[name] = uint(i)
		f := in.Nodes[name].Firewall
		if f == nil {
			continue
		}
		m.fire[name] = rules{inbound: compile(f.Inbound), outbound: compile(f.Outbound), mesh: compile(f.Mesh)}
		if f.Outbound != nil {
			outward = append(outward, name)
		}
	}
	if len(m.fire) == 0 {
		return m
	}
	ports := topology.Ports(in.Input)
	for _, to := range m.names {
		froms := m.names
		if r := m.fire[to]; r.inbound == nil && r.mesh == nil {
			froms = outward
		}
		for _, from := range froms {
			if from != to {
				m.barriers = append(m.barriers, m.between(from, to, ports[to])...)
			}
		}
	}
	shut := m.shut()
	for i, b := range m.barriers {
		m.barriers[i].Back = m.reachable(b.From) && !shut[[2]string{b.To, b.From}]
	}
	slices.SortStableFunc(m.barriers, func(a, b Barrier) int { return compareStrings(a.Node(), b.Node(), a.Peer(), b.Peer()) })
	return m
}

// primaryOf returns TCP where the mesh has a TCP port.
func primaryOf(in Input) topology.Protocol {
	const anyNode = "a"
	ports, err := topology.PortsOf(topology.Input{Cluster: in.Cluster, Nodes: map[string]spec.Node{anyNode: {}}}, anyNode)
	if err == nil && slices.ContainsFunc(ports, func(p topology.Port) bool { return p.Service == topology.ServiceMesh && p.Protocol == topology.TCP }) {
		return topology.TCP
	}
	return topology.UDP
}

// between returns what is in the way from one node to the other's ports.
func (m *model) between(from, to string, ports []topology.Port) []Barrier {
	found := map[Side][]topology.Port{}
	link := m.Links[spec.LinkName(from, to)].Settings
	for _, p := range ports {
		if _, calls := slices.BinarySearch(p.Nodes, from); !calls {
			continue
		}
		if link.TCPOnly && p.Service == topology.ServiceMesh && p.Protocol != m.primary {
			continue
		}
		public := p.OpenTo == topology.OpenToPublic
		// Agents are reached over the mesh as well, for the files of pairs.
		private := p.OpenTo == topology.OpenToMesh || p.Service == topology.ServiceAPI && m.paired[spec.LinkName(from, to)]
		if public && m.reachable(to) {
			if m.fire[from].outbound.admits(p, to, m.public(to)) == no {
				found[Outbound] = append(found[Outbound], p)
			}
			if m.fire[to].inbound.admits(p, from, m.public(from)) == no {
				found[Inbound] = append(found[Inbound], p)
			}
		}
		if private && m.fire[to].mesh.admits(p, from, m.private(from)) == no {
			found[Mesh] = append(found[Mesh], p)
		}
	}
	var out []Barrier
	for _, side := range []Side{Inbound, Outbound, Mesh} {
		if len(found[side]) == 0 {
			continue
		}
		b := Barrier{From: from, To: to, Side: side, Ports: found[side]}
		b.Cuts = side != Mesh && slices.ContainsFunc(b.Ports, func(p topology.Port) bool {
			return p.Service == topology.ServiceMesh && p.Protocol == m.primary
		})
		b.Accepted = slices.Contains(m.Nodes[b.Node()].Firewall.Accept.Blocked, b.Peer())
		out = append(out, b)
	}
	return out
}

// reachable tells whether a node can be connected to from outside, as far as it is known.
func (m *model) reachable(name string) bool {
	return m.Unsure[name] || len(m.Nodes[name].Addresses) > 0
}

// place is where a node's packets come from. Not all of it is known of one that has host names, or none because it is behind
// somebody else's address.
type place struct {
	addresses []netip.Addr
	whole     bool
}

func (m *model) public(name string) place {
	n := m.Nodes[name]
	p := place{whole: !m.Unsure[name] && len(n.Addresses) > 0}
	for _, text := range n.Addresses {
		if addr, err := netip.ParseAddr(text); err == nil {
			p.addresses = append(p.addresses, addr.Unmap())
		} else {
			p.whole = false
		}
	}
	return p
}

func (m *model) private(name string) place {
	addr := m.Nodes[name].MeshAddress
	if !addr.IsValid() {
		return place{}
	}
	return place{addresses: []netip.Addr{addr.Unmap()}, whole: true}
}

// shut returns from which node to which a link of the mesh cannot be opened because of a firewall.
func (m *model) shut() map[[2]string]bool {
	out := map[[2]string]bool{}
	for _, b := range m.barriers {
		if b.Cuts {
			out[[2]string{b.From, b.To}] = true
		}
	}
	return out
}

// graph returns which nodes have a link of their own in the mesh: one end reaching the other is enough, since it keeps the
// connection open for both.
func (m *model) graph() graph {
	g := newGraph(uint(len(m.names)))
	var hidden []uint
	for i, name := range m.names {
		if !m.reachable(name) {
			for _, other := range hidden {
				g.cut(uint(i), other)
			}
			hidden = append(hidden, uint(i))
		}
	}
	shut := m.shut()
	for pair := range shut {
		from, to := pair[0], pair[1]
		if !m.reachable(from) || shut[[2]string{to, from}] {
			g.cut(m.index[from], m.index[to])
		}
	}
	return g
}
