package topology

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Protocol is a transport protocol.
type Protocol string

// The transport protocols.
const (
	TCP Protocol = "tcp"
	UDP Protocol = "udp"
)

// Audience is whom a port of a node is open to.
type Audience string

// The audiences, the largest first.
const (
	// OpenToPublic is everybody at the node's public addresses.
	OpenToPublic Audience = "public"
	// OpenToOperator is whoever administers the machines. Nobody has told Atoll from where, so the firewall of its image lets
	// everybody knock; a firewall in front of the machine may let in less.
	OpenToOperator Audience = "operator"
	// OpenToMesh is other nodes, over the mesh.
	OpenToMesh Audience = "mesh"
	// OpenToNode is programs on the node itself.
	OpenToNode Audience = "node"
)

// Audiences lists every audience, the largest first.
func Audiences() []Audience {
	return []Audience{OpenToPublic, OpenToOperator, OpenToMesh, OpenToNode}
}

// Service is what a port is for, in one word.
type Service string

// The services.
const (
	ServiceSSH         Service = "ssh"
	ServiceMesh        Service = "mesh"
	ServiceHello       Service = "hello"
	ServiceAPI         Service = "api"
	ServiceHealth      Service = "health"
	ServiceGossip      Service = "gossip"
	ServiceProbe       Service = "probe"
	ServiceMap         Service = "map"
	ServiceProxy       Service = "proxy"
	ServiceApplication Service = "application"
	ServiceDatabase    Service = "database"
	ServiceRoleCheck   Service = "role-check"
	ServiceRouter      Service = "router"
)

// SSHPort is the TCP port at which the operator administers machines. The firewall of Atoll's image leaves it open.
const SSHPort = 22

// Port is a port of a node, and who may and does connect to it.
type Port struct {
	// Node is where the port is.
	Node     string   `json:"node"`
	Protocol Protocol `json:"protocol"`
	Number   int      `json:"port"`
	Service  Service  `json:"service"`
	// OpenTo is whom a firewall has to let in.
	OpenTo Audience `json:"open_to"`
	// Nodes are the nodes that connect to it, sorted; the node itself is not among them. Ports share the
	// list, so it must not be changed.
	Nodes []string `json:"nodes,omitempty"`
	// Operator tells that the operator's programs connect to it, Anybody that strangers do: visitors, monitors of the edge.
	Operator bool `json:"operator,omitempty"`
	Anybody  bool `json:"anybody,omitempty"`
	// Objects are those that it is there for, in order; none for what every node has.
	Objects []spec.Ref `json:"objects,omitempty"`
	// Purpose says for people what connects to it.
	Purpose string `json:"purpose"`
}

// PortsOf returns every port that the objects ask for at the node of that name, the widest open first. It does not depend on who
// has joined: a port is open before its first caller comes. Of proxies that do not get on with what else listens on the node there
// is none; the problems of the node's view say so. A port that is zero, which is one that is not known yet, is left out.
// It fails with ErrUnknownNode when there is no such node.
func PortsOf(in Input, node string) ([]Port, error) {
	if _, ok := in.Nodes[node]; !ok {
		return nil, fmt.Errorf("derive the ports of node %q of cluster %q: %w", node, in.ClusterName, ErrUnknownNode)
	}
	return newPortModel(in).all(node), nil
}

// Ports returns the ports of all nodes, by their names.
func Ports(in Input) map[string][]Port {
	m := newPortModel(in)
	out := make(map[string][]Port, len(m.names))
	for _, name := range m.names {
		out[name] = m.all(name)
	}
	return out
}

// Uses returns the ports of other nodes that the node of that name connects to, in the order of those nodes' names.
func Uses(ports map[string][]Port, node string) []Port {
	var out []Port
	for _, other := range slices.Sorted(maps.Keys(ports)) {
		for _, p := range ports[other] {
			if _, calls := slices.BinarySearch(p.Nodes, node); calls {
				out = append(out, p)
			}
		}
	}
	return out
}

// OutsidePorts returns which of a node's ports a firewall has to let everybody reach, in ascending order: what the cluster, proxies
// and applications listen on at public addresses. SSH is not among them, since a firewall has a rule of its own for the operator.
func OutsidePorts(ports []Port) spec.PublicPorts {
	var out spec.PublicPorts
	for _, p := range ports {
		switch {
		case p.OpenTo != OpenToPublic:
		case p.Protocol == UDP:
			out.UDP = append(out.UDP, p.Number)
		default:
			out.TCP = append(out.TCP, p.Number)
		}
	}
	slices.Sort(out.TCP)
	slices.Sort(out.UDP)
	out.TCP, out.UDP = slices.Compact(out.TCP), slices.Compact(out.UDP)
	return out
}

// portModel is what the ports of all nodes have in common.
type portModel struct {
	in Input
	// names are the nodes, sorted.
	names []string
	// proxied are the nodes on which a load balancer's proxy runs, sorted, by hostname.
	proxied map[string][]string
	// parts are the nodes that have a part in a database, with data or without, by its name.
	parts map[string][]string
}

func newPortModel(in Input) *portModel {
	m := &portModel{in: in, names: slices.Sorted(maps.Keys(in.Nodes)), proxied: map[string][]string{}, parts: map[string][]string{}}
	owners := map[string]map[int]owner{}
	for hostname, lb := range in.LoadBalancers {
		for name := range lb.Nodes {
			if _, there := in.Nodes[name]; !there || lb.Proxy == nil {
				continue
			}
			if owners[name] == nil {
				owners[name] = portOwners(in, name)
			}
			if len(collisions(hostname, lb, owners[name])) == 0 {
				m.proxied[hostname] = append(m.proxied[hostname], name)
			}
		}
		slices.Sort(m.proxied[hostname])
	}
	for _, part := range in.DatabaseMembers {
		m.parts[part.Database] = append(m.parts[part.Database], part.Node)
	}
	return m
}

// all returns the ports of a node that is there, those that only its packet filter names among them.
func (m *portModel) all(node string) []Port {
	l := m.of(node)
	l.opened()
	l.sort()
	return l.ports
}

// of collects what the cluster and its services need of a node that is there.
func (m *portModel) of(node string) *portList {
	l := &portList{portModel: m, node: node, rest: make([]string, 0, len(m.names))}
	for _, name := range m.names {
		if name != node {
			l.rest = append(l.rest, name)
		}
	}
	l.rest = slices.Clip(l.rest)
	l.cluster()
	l.balancers()
	l.databases()
	l.public(m.in.Nodes[node].PublicPorts)
	l.sort()
	return l
}

// portList is the ports of one node while they are collected.
type portList struct {
	*portModel
	node string
	// rest are all other nodes, sorted. The ports share it.
	rest  []string
	ports []Port
}

// others returns those of the nodes that the cluster has, without the node itself, sorted.
func (l *portList) others(nodes ...string) []string {
	var out []string
	for _, name := range nodes {
		if _, there := l.in.Nodes[name]; there && name != l.node {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// add adds a port. What is there for the same thing already is there for one object more.
func (l *portList) add(p Port) {
	if p.Number == 0 {
		return
	}
	p.Node = l.node
	for i := range l.ports {
		have := &l.ports[i]
		if have.Protocol != p.Protocol || have.Number != p.Number || have.Service != p.Service || have.OpenTo != p.OpenTo {
			continue
		}
		have.Nodes = l.others(slices.Concat(have.Nodes, p.Nodes)...)
		for _, ref := range p.Objects {
			if !slices.Contains(have.Objects, ref) {
				have.Objects = append(slices.Clip(have.Objects), ref)
			}
		}
		return
	}
	l.ports = append(l.ports, p)
}

func (l *portList) sort() {
	slices.SortFunc(l.ports, func(a, b Port) int {
		order := Audiences()
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.OpenTo), slices.Index(order, b.OpenTo)),
			cmp.Compare(a.Number, b.Number), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Service, b.Service),
		)
	})
}

// cluster adds what every node listens on.
func (l *portList) cluster() {
	mesh, ports := l.in.Cluster.Mesh, l.in.Cluster.Ports
	l.add(Port{
		Protocol: TCP, Number: SSHPort, Service: ServiceSSH, OpenTo: OpenToOperator, Operator: true,
		Purpose: "administration of the machine",
	})
	for _, protocol := range meshProtocols(mesh.Driver) {
		l.add(Port{
			Protocol: protocol, Number: mesh.Port, Service: ServiceMesh, OpenTo: OpenToPublic, Nodes: l.rest,
			Purpose: string(mesh.Driver) + " between nodes",
		})
	}
	if mesh.Driver == spec.MeshWireGuard {
		l.add(Port{
			Protocol: UDP, Number: spec.WireGuardHelloPort, Service: ServiceHello, OpenTo: OpenToMesh, Nodes: l.rest,
			Purpose: "which links are up, at link-local addresses",
		})
	}
	l.add(Port{
		Protocol: TCP, Number: ports.API, Service: ServiceAPI, OpenTo: OpenToPublic, Nodes: l.rest, Operator: true,
		Purpose: "agents: other nodes and those that join, the provider, atoll, files of pairs",
	})
	l.add(Port{
		Protocol: TCP, Number: ports.Health, Service: ServiceHealth, OpenTo: OpenToPublic, Nodes: l.judges(), Anybody: true,
		Purpose: "health endpoint, for monitors of the edge",
	})
	// Over the public network probes are among the packets of the mesh.
	l.add(Port{
		Protocol: UDP, Number: mesh.Port, Service: ServiceProbe, OpenTo: OpenToMesh, Nodes: l.rest,
		Purpose: "probes that measure the mesh",
	})
	for _, protocol := range []Protocol{TCP, UDP} {
		l.add(Port{
			Protocol: protocol, Number: ports.Gossip, Service: ServiceGossip, OpenTo: OpenToMesh, Nodes: l.rest,
			Purpose: "gossip between agents",
		})
	}
	if ports.Map != 0 {
		l.add(Port{
			Protocol: TCP, Number: ports.Map, Service: ServiceMap, OpenTo: OpenToMesh, Nodes: l.rest,
			Purpose: "live map, for browsers on nodes",
		})
	}
}

// meshProtocols are those of the port of the mesh. tinc's links are TCP connections beside which the packets go by UDP.
func meshProtocols(driver spec.MeshDriver) []Protocol {
	if driver.TCP() {
		return []Protocol{TCP, UDP}
	}
	return []Protocol{UDP}
}

// judges are the nodes that ask this one's health endpoint themselves, to take it out of a load balancer when it is dead.
func (l *portList) judges() []string {
	var out []string
	for _, lb := range l.in.LoadBalancers {
		if _, ours := lb.Nodes[l.node]; ours && lb.Removal != nil {
			out = append(out, slices.Collect(maps.Keys(lb.Nodes))...)
		}
	}
	return l.others(out...)
}

// public adds what the node's own object opens, unless it is open to everybody for something else already.
func (l *portList) public(ports spec.PublicPorts) {
	for _, set := range []struct {
		protocol Protocol
		numbers  []int
	}{{TCP, ports.TCP}, {UDP, ports.UDP}} {
		for _, number := range set.numbers {
			if slices.ContainsFunc(l.ports, func(p Port) bool {
				return p.Protocol == set.protocol && p.Number == number && p.OpenTo == OpenToPublic
			}) {
				continue
			}
			l.add(Port{
				Protocol: set.protocol, Number: number, Service: ServiceApplication, OpenTo: OpenToPublic, Anybody: true,
				Objects: append([]spec.Ref{{Kind: spec.KindNode, Name: l.node}}, l.servedAt(set.protocol, number)...), Purpose: "application, by public_ports of the node",
			})
		}
	}
}

// servedAt returns the load balancers whose application is at that port without a proxy in front of it.
func (l *portList) servedAt(protocol Protocol, number int) []spec.Ref {
	var out []spec.Ref
	for _, hostname := range slices.Sorted(maps.Keys(l.in.LoadBalancers)) {
		lb := l.in.LoadBalancers[hostname]
		if part, ours := lb.Nodes[l.node]; ours && protocol == TCP && part.Port == number && lb.Proxy == nil {
			out = append(out, spec.Ref{Kind: spec.KindLoadBalancer, Name: hostname})
		}
	}
	return out
}
