package spec

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Node is a machine that runs the agent.
type Node struct {
	// Provider and Site together are the node's failure domain: whose machine it is, and where.
	Provider string `json:"provider"`
	Site     string `json:"site"`
	// MeshAddress is the node's address in the cluster's mesh network.
	MeshAddress netip.Addr `json:"mesh_address"`
	// Addresses are the public addresses or host names at which other nodes and the operator reach the node, best first.
	// Empty is allowed for a node that can reach others but not be reached.
	Addresses []string `json:"addresses,omitempty"`
	// Identity pins the node's identity key ("ed25519:…") once the operator has seen it: no other identity is admitted
	// under this name, and this one stays admitted after its ticket has expired.
	Identity string  `json:"identity,omitempty"`
	Machine  Machine `json:"machine"`
	// PublicPorts are the ports of applications that the firewall of Atoll's image lets everybody reach, beside the cluster's
	// own. A machine with a firewall of its own keeps that as it is.
	PublicPorts PublicPorts `json:"public_ports,omitzero"`
	// Firewall is what else stands between the node and the others; nil for nothing that is known. Older agents do not know the field
	// and refuse a node that has it.
	Firewall *Firewall `json:"firewall,omitempty"`
	// HostFirewall is the node's own packet filter, which its agent keeps; nil for none. Older agents refuse a node that has it.
	HostFirewall *HostFirewall `json:"host_firewall,omitempty"`
	// CloudFirewall is the firewall that Atoll keeps at the vendor of a machine that it made; nil for none. Older agents refuse a node
	// that has it.
	CloudFirewall *CloudFirewall `json:"cloud_firewall,omitempty"`
}

// PublicPorts are ports that a node opens to everybody: sets, in ascending order where Atoll makes them.
type PublicPorts struct {
	TCP []int `json:"tcp,omitempty"`
	UDP []int `json:"udp,omitempty"`
}

// IsZero tells whether there is none, which the JSON form leaves out: older agents know nothing of these ports.
func (p PublicPorts) IsZero() bool { return len(p.TCP) == 0 && len(p.UDP) == 0 }

func (p PublicPorts) validate() Problems {
	var ps Problems
	for _, set := range []struct {
		name  string
		ports []int
	}{{"tcp", p.TCP}, {"udp", p.UDP}} {
		for i, port := range set.ports {
			switch {
			case port < 1 || port > 65535:
				ps.add(set.name, "choose one from 1 to 65535", "%d is not a port", port)
			case slices.Contains(set.ports[:i], port):
				ps.add(set.name, "name it once", "%d is there twice", port)
			}
		}
	}
	return ps
}

// MachineVariant tells how a node's machine came to be.
type MachineVariant string

// The machine variants.
const (
	// MachineLinode is an instance that Atoll created at Linode.
	MachineLinode MachineVariant = "linode"
	// MachineSSH is an existing machine that Atoll adopted over SSH.
	MachineSSH MachineVariant = "ssh"
	// MachineManual is a machine that somebody gave a ticket by hand.
	MachineManual MachineVariant = "manual"
)

// MachineVariants lists every machine variant.
func MachineVariants() []MachineVariant {
	return []MachineVariant{MachineLinode, MachineSSH, MachineManual}
}

// Machine tells where a node's machine came from, so that the node can be imported and found again.
type Machine struct {
	Variant MachineVariant `json:"variant"`
	// ID is the vendor's id of the machine, such as a Linode's number; empty where there is none.
	ID string `json:"id,omitempty"`
}

// Kind returns KindNode.
func (Node) Kind() Kind { return KindNode }

// Endpoints returns host:port of the node's API at each of its public addresses.
func (n Node) Endpoints(apiPort int) []string {
	out := make([]string, len(n.Addresses))
	for i, a := range n.Addresses {
		out[i] = net.JoinHostPort(a, strconv.Itoa(apiPort))
	}
	return out
}

// Validate implements Body.
func (n Node) Validate() Problems {
	var ps Problems
	if strings.TrimSpace(n.Provider) == "" {
		ps.add("provider", "name whose machine it is, for example \"linode\"", "is empty")
	}
	if strings.TrimSpace(n.Site) == "" {
		ps.add("site", "name where the machine stands, for example \"singapore\"", "is empty")
	}
	if !n.MeshAddress.IsValid() || !n.MeshAddress.Is4() {
		ps.add("mesh_address", "give an IPv4 address inside the cluster's mesh_cidr", "is not an IPv4 address")
	}
	for _, a := range n.Addresses {
		ps = append(ps, ValidateHost("addresses", a)...)
	}
	known := false
	for _, v := range MachineVariants() {
		known = known || v == n.Machine.Variant
	}
	if !known {
		ps.add("machine.variant", "", "%q is unknown", n.Machine.Variant)
	}
	if n.Firewall != nil {
		ps = append(ps, n.Firewall.validate().Under("firewall")...)
	}
	if n.HostFirewall != nil {
		ps = append(ps, n.HostFirewall.validate().Under("host_firewall")...)
	}
	if n.CloudFirewall != nil {
		ps = append(ps, n.CloudFirewall.validate().Under("cloud_firewall")...)
		if n.Machine.Variant != MachineLinode {
			ps.add("cloud_firewall", "leave it out", "is for machines that Atoll makes at Linode")
		}
	}
	return append(ps, n.PublicPorts.validate().Under("public_ports")...)
}
