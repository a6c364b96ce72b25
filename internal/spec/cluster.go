package spec

import (
	"net/netip"
)

// Cluster is what holds for every node of a cluster.
type Cluster struct {
	// MeshCIDR is the private network that mesh addresses are taken from.
	MeshCIDR netip.Prefix `json:"mesh_cidr"`
	Mesh     Mesh         `json:"mesh"`
	Ports    Ports        `json:"ports"`
	// Seeds are endpoints (host:port of an agent's API) that a joining node may ask for the other nodes.
	Seeds []string `json:"seeds,omitempty"`
}

// Ports are the ports that every agent of the cluster listens on.
type Ports struct {
	// API is the port of the agent's API (TCP, TLS with pinned keys).
	API int `json:"api"`
	// Health is the port of the health endpoint (TCP, answers everybody).
	Health int `json:"health"`
	// Gossip is the port of gossip on the mesh address (TCP and UDP).
	Gossip int `json:"gossip"`
	// Map is the port of the live map on the mesh address (TCP, HTTP), 0 when it is not served.
	Map int `json:"map,omitempty"`
}

// DefaultPorts returns the ports of a cluster that names none.
func DefaultPorts() Ports { return Ports{API: 7443, Health: 7480, Gossip: 7946} }

// Smallest and largest mesh network. /29 is the smallest that holds three nodes and one in replacement; shorter than /8
// is not private.
const (
	MinMeshPrefixBits = 8
	MaxMeshPrefixBits = 29
)

// Kind returns KindCluster.
func (Cluster) Kind() Kind { return KindCluster }

// Validate implements Body.
func (c Cluster) Validate() Problems {
	var ps Problems
	ps = append(ps, validateMeshCIDR(c.MeshCIDR)...)
	ps = append(ps, c.Mesh.Validate().Under("mesh")...)
	ports := map[int]string{}
	for _, p := range []struct {
		name string
		port int
	}{{"mesh.port", c.Mesh.Port}, {"ports.api", c.Ports.API}, {"ports.health", c.Ports.Health}, {"ports.gossip", c.Ports.Gossip}, {"ports.map", c.Ports.Map}} {
		if p.port == 0 && p.name == "ports.map" {
			continue // it is not served
		}
		if p.port < 1 || p.port > 65535 {
			ps.add(p.name, "choose one from 1 to 65535", "%d is not a port", p.port)
			continue
		}
		if other, taken := ports[p.port]; taken {
			ps.add(p.name, "choose another", "%d is also %s", p.port, other)
		}
		ports[p.port] = p.name
	}
	for _, seed := range c.Seeds {
		ps = append(ps, ValidateEndpoint("seeds", seed)...)
	}
	return ps
}

func validateMeshCIDR(cidr netip.Prefix) Problems {
	var ps Problems
	const remedy = "use a free private range such as 10.66.0.0/16"
	switch {
	case !cidr.IsValid():
		ps.add("mesh_cidr", remedy, "is not a network")
	case !cidr.Addr().Is4():
		ps.add("mesh_cidr", remedy, "%s is not IPv4", cidr)
	case cidr.Masked() != cidr:
		ps.add("mesh_cidr", "write "+cidr.Masked().String(), "%s has host bits set", cidr)
	case cidr.Bits() < MinMeshPrefixBits || cidr.Bits() > MaxMeshPrefixBits:
		ps.add("mesh_cidr", remedy, "/%d is not between /%d and /%d", cidr.Bits(), MinMeshPrefixBits, MaxMeshPrefixBits)
	case !privateRange(cidr):
		ps.add("mesh_cidr", remedy, "%s overlaps public addresses", cidr)
	}
	return ps
}

// privateRange tells whether cidr lies in a range that the public Internet does not route: RFC 1918 and RFC 6598 (shared
// address space, which overlay networks use).
func privateRange(cidr netip.Prefix) bool {
	for _, r := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"} {
		outer := netip.MustParsePrefix(r)
		if outer.Contains(cidr.Addr()) && outer.Bits() <= cidr.Bits() {
			return true
		}
	}
	return false
}
