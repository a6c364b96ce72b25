package topology

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Check returns what is wrong between a cluster and its nodes although each is valid by itself: mesh addresses used twice or
// outside the mesh network, a mesh network that holds a node's public address or is too small. Each problem's Field begins
// with the object it belongs to ("node/hk1.mesh_address"); see ProblemsOf. The order is by object, the same for every
// order of the input.
func Check(clusterName string, cluster spec.Cluster, nodes map[string]spec.Node) spec.Problems {
	var ps spec.Problems
	names := slices.Sorted(maps.Keys(nodes))
	ps = append(ps, checkNetwork(clusterName, cluster.MeshCIDR, names, nodes)...)
	ps = append(ps, checkMeshAddresses(cluster.MeshCIDR, names, nodes)...)
	return append(ps, checkPublicAddresses(names, nodes)...)
}

// ProblemsOf returns those problems that belong to the object ref, with Field as the path inside that object.
func ProblemsOf(ps spec.Problems, ref spec.Ref) spec.Problems {
	var out spec.Problems
	for _, p := range ps {
		if field, ok := strings.CutPrefix(p.Field, ref.String()+"."); ok {
			p.Field = field
			out = append(out, p)
		}
	}
	return out
}

func problem(kind spec.Kind, name, field, remedy, format string, args ...any) spec.Problem {
	return spec.Problem{
		Field:   spec.Ref{Kind: kind, Name: name}.String() + "." + field,
		Message: fmt.Sprintf(format, args...),
		Remedy:  remedy,
	}
}

func checkNetwork(clusterName string, cidr netip.Prefix, names []string, nodes map[string]spec.Node) spec.Problems {
	if !cidr.IsValid() {
		return nil // the cluster's own Validate says so
	}
	var ps spec.Problems
	if room := hosts(cidr); uint64(len(names)) > room {
		ps = append(ps, problem(spec.KindCluster, clusterName, "mesh_cidr", "use a larger network, for example a /16",
			"%s has room for %d nodes, the cluster has %d", cidr, room, len(names)))
	}
	for _, name := range names {
		for _, a := range nodes[name].Addresses {
			addr, err := netip.ParseAddr(a)
			if err != nil || !cidr.Contains(addr.Unmap()) {
				continue // a host name says nothing at plan time
			}
			ps = append(ps, problem(spec.KindCluster, clusterName, "mesh_cidr",
				"choose a network that no node has a public address in; traffic to that address would go into the mesh itself",
				"%s contains %s, a public address of node %q", cidr, addr, name))
		}
	}
	return ps
}

func checkMeshAddresses(cidr netip.Prefix, names []string, nodes map[string]spec.Node) spec.Problems {
	var ps spec.Problems
	owner := map[netip.Addr]string{}
	for _, name := range names {
		addr := nodes[name].MeshAddress
		if !addr.IsValid() {
			continue // the node's own Validate says so
		}
		if first, taken := owner[addr]; taken {
			ps = append(ps, problem(spec.KindNode, name, "mesh_address", "give one of them another address, or leave it out to have one chosen",
				"%s is also the mesh address of node %q", addr, first))
		} else {
			owner[addr] = name
		}
		if !cidr.IsValid() {
			continue
		}
		inside := fmt.Sprintf("use an address from %s to %s, or leave it out to have one chosen", first(cidr), last(cidr).Prev())
		switch {
		case !cidr.Contains(addr):
			ps = append(ps, problem(spec.KindNode, name, "mesh_address", inside, "%s is outside the cluster's mesh_cidr %s", addr, cidr))
		case addr == cidr.Masked().Addr():
			ps = append(ps, problem(spec.KindNode, name, "mesh_address", inside, "%s is the network address of %s", addr, cidr))
		case addr == last(cidr):
			ps = append(ps, problem(spec.KindNode, name, "mesh_address", inside, "%s is the broadcast address of %s", addr, cidr))
		}
	}
	return ps
}

func checkPublicAddresses(names []string, nodes map[string]spec.Node) spec.Problems {
	var ps spec.Problems
	owner := map[string]string{}
	for _, name := range names {
		for _, a := range nodes[name].Addresses {
			key := strings.ToLower(a)
			if addr, err := netip.ParseAddr(a); err == nil {
				key = addr.Unmap().String()
			}
			first, taken := owner[key]
			switch {
			case taken && first != name:
				ps = append(ps, problem(spec.KindNode, name, "addresses", "give each node its own address; two nodes behind one address cannot be told apart",
					"%s is also a public address of node %q", a, first))
			case !taken:
				owner[key] = name
			}
		}
	}
	return ps
}

func checkLinks(driver spec.MeshDriver, nodes map[string]spec.Node, links map[string]spec.Link) spec.Problems {
	var ps spec.Problems
	for _, name := range slices.Sorted(maps.Keys(links)) {
		l := links[name]
		ps = append(ps, l.Settings.Suit(driver).Under(spec.Ref{Kind: spec.KindLink, Name: name}.String()+".settings")...)
		for _, end := range []struct{ field, node string }{{"from", l.From}, {"to", l.To}} {
			if _, ok := nodes[end.node]; !ok {
				ps = append(ps, problem(spec.KindLink, name, end.field, "add the node or remove the link; until then the link has no effect",
					"node %q is not in the cluster", end.node))
			}
		}
	}
	return ps
}
