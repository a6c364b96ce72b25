package analysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// atMost is how many of a list are named, since a cluster can have many nodes.
const atMost = 6

// listed joins names, and counts those that are too many to be named.
func listed(names []string) string {
	if len(names) > atMost {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:atMost-1], ", "), len(names)-atMost+1)
	}
	return strings.Join(names, ", ")
}

// Ports returns ports as they are written in a firewall: "TCP 655 (mesh), UDP 655 (mesh)".
func Ports(ports []topology.Port) string {
	words := make([]string, len(ports))
	for i, p := range ports {
		words[i] = fmt.Sprintf("%s %d (%s)", strings.ToUpper(string(p.Protocol)), p.Number, p.Service)
	}
	return listed(words)
}

// Text says whom the firewall keeps from what, what comes of it, and what to do.
func (b Barrier) Text() (message, remedy string) {
	at := map[Side]string{
		Inbound: "the firewall of node %[1]q does not let node %[2]q in at %[3]s",
		Mesh:    "the firewall of node %[1]q does not let node %[2]q in over the mesh at %[3]s",
		// The ports are the other's.
		Outbound: "the firewall of node %[1]q does not let it out to node %[2]q at %[3]s",
	}[b.Side]
	message = fmt.Sprintf(at, b.Node(), b.Peer(), Ports(b.Ports))
	if text := b.consequence(); text != "" {
		message += ": " + text
	}
	remedy = fmt.Sprintf("open it there and in firewall.%s, or say that it is meant to be so: accept = { blocked = [%q] } in the firewall of %q", b.Side, b.Peer(), b.Node())
	return message, remedy
}

func (b Barrier) consequence() string {
	has := func(service topology.Service, protocols ...topology.Protocol) bool {
		return slices.ContainsFunc(b.Ports, func(p topology.Port) bool { return p.Service == service && slices.Contains(protocols, p.Protocol) })
	}
	switch {
	case b.Side == Mesh:
		return "what runs there is not reached"
	case b.Cuts && b.Back:
		return fmt.Sprintf("their link hangs on %s connecting to %s, and on other nodes while it does not", b.To, b.From)
	case b.Cuts:
		return "they reach each other only by way of other nodes, and not at all without those"
	case has(topology.ServiceMesh, topology.UDP):
		return "their packets go over TCP, which is slow where packets are lost"
	case has(topology.ServiceAPI, topology.TCP):
		return fmt.Sprintf("%s cannot tell %s anything while the mesh is down", b.From, b.To)
	case has(topology.ServiceHealth, topology.TCP):
		return fmt.Sprintf("%s cannot tell whether %s is dead", b.From, b.To)
	}
	return ""
}

// closure returns the findings about who cannot connect to whom.
func (m *model) closure() []Finding {
	var out []Finding
	for _, b := range m.barriers {
		f := Finding{Problem: Blocked, Severity: Risk, Nodes: []string{b.Node(), b.Peer()}, Told: &b, Accepted: b.Accepted}
		if b.Serious() {
			f.Severity = Fault
		}
		f.Affected = []spec.Ref{{Kind: spec.KindLink, Name: spec.LinkName(b.From, b.To)}}
		f.Message, f.Remedy = b.Text()
		f.Accept = fmt.Sprintf("accept = { blocked = [%q] }", b.Peer())
		out = append(out, f)
	}
	return append(append(out, m.unknownPeers()...), m.noLinks()...)
}

// unknownPeers finds rules for nodes that are not there, which are mostly spelt wrongly.
func (m *model) unknownPeers() []Finding {
	var out []Finding
	for _, name := range m.names {
		f := m.Nodes[name].Firewall
		if f == nil {
			continue
		}
		var told []string
		for _, r := range slices.Concat(f.Inbound, f.Outbound, f.Mesh) {
			for _, peer := range r.Peers {
				_, there := m.Nodes[peer]
				if there || slices.Contains(told, peer) || len(spec.ValidateName("", peer)) > 0 {
					continue
				}
				told = append(told, peer)
				out = append(out, Finding{
					Problem: UnknownPeer, Severity: Risk, Nodes: []string{name}, Affected: []spec.Ref{{Kind: spec.KindNode, Name: name}},
					Message: fmt.Sprintf("the firewall of node %q has a rule for node %q, which is not in the cluster", name, peer),
					Remedy:  "mend its name, or take it out of the rule",
				})
			}
		}
	}
	return out
}

// noLinks finds the pairs of nodes neither of which can be reached from outside.
func (m *model) noLinks() []Finding {
	var hidden []string
	for _, name := range m.names {
		if !m.reachable(name) {
			hidden = append(hidden, name)
		}
	}
	if len(hidden) < 2 {
		return nil
	}
	return []Finding{{
		Problem: NoLink, Severity: Risk, Nodes: hidden, Affected: []spec.Ref{{Kind: spec.KindCluster, Name: m.ClusterName}},
		Message: fmt.Sprintf("no two of nodes %s reach each other except by way of other nodes, since none has a public address", listed(hidden)),
		Remedy:  "give all but one of them an address that the others reach, such as a forwarded port, or keep at least two nodes with addresses",
	}}
}
