// Package topology derives what one node needs to know from all objects of a cluster, and finds what is wrong between
// objects that are each valid by themselves.
//
// It is pure: no I/O, no clock, no chance. The same objects give the same answer in whatever order they came, so two nodes
// that know the same agree on everything that follows from it. All functions are safe for concurrent use.
package topology

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// ErrUnknownNode is returned when the node asked for is none of the cluster's nodes.
var ErrUnknownNode = errors.New("node is not in the cluster")

// Input is everything that a view is derived from.
type Input struct {
	ClusterName string
	Cluster     spec.Cluster
	// Nodes and Links are the cluster's, keyed by their names.
	Nodes map[string]spec.Node
	Links map[string]spec.Link
	// LoadBalancers are the cluster's, by hostname, and Maintenance says which nodes are out of service, by name.
	LoadBalancers map[string]spec.LoadBalancer
	Maintenance   map[string]spec.Maintenance
	// Databases and Recoveries are the cluster's, by the database's name, DatabaseMembers by the member's.
	Databases       map[string]spec.Database
	DatabaseMembers map[string]spec.Member
	Recoveries      map[string]spec.Recovery
	// Pairs are by name.
	Pairs map[string]spec.Pair
	// MeshKeys holds the public mesh key of each admitted member, for the cluster's mesh driver. A node without a key is
	// not admitted (yet) and nobody's peer.
	MeshKeys map[string]string
	// KeyNumbers are the numbers of those keys, for nodes that have changed theirs since they joined, and OtherKeys the second keys
	// under which nodes are to be believed while they change.
	KeyNumbers map[string]int
	OtherKeys  map[string]spec.MeshKey
}

// View is the cluster as one node has to see it.
type View struct {
	// Cluster is the cluster's name.
	Cluster string
	Mesh    spec.Mesh
	// CIDR is the mesh network.
	CIDR netip.Prefix
	// Self is the node whose view this is. Its MeshKey is empty until it is admitted.
	Self Peer
	// PublicPorts are the ports that the node opens to everybody beside the cluster's own.
	PublicPorts spec.PublicPorts
	// HostFirewall is the node's own packet filter, nil when it is to have none.
	HostFirewall *HostFirewall
	// Peers are all other admitted members, sorted by name.
	Peers []Peer
	// LoadBalancers are those that the node belongs to, sorted by hostname.
	LoadBalancers []LoadBalancer
	// Maintenance holds the nodes of the cluster that the operator has taken out of service, by name.
	Maintenance map[string]spec.Maintenance
	// Databases are those that the node has a part in, sorted by name.
	Databases []Database
	// Pairs are those that the node belongs to, sorted by name.
	Pairs []Pair
	// Problems is what is wrong between the objects. A view with problems still holds: whatever is not concerned works.
	Problems spec.Problems
}

// Peer is one node as the mesh sees it.
type Peer struct {
	Name     string
	Provider string
	Site     string
	// MeshAddress is the node's address in the mesh.
	MeshAddress netip.Addr
	// Addresses are the node's public addresses or host names, best first. Empty for a node that cannot be reached.
	Addresses []string
	// MeshKey is the node's public key in the form of the cluster's mesh driver.
	MeshKey string
	// KeyNumber is the number of that key among the node's, 0 for the one that it joined with.
	KeyNumber int
	// OtherKey is a second key under which the node may come, while it changes from one to the other; nil while it does not.
	OtherKey *spec.MeshKey
	// APIPort is the TCP port of the node's agent.
	APIPort int
	// Link holds the settings of the pair that the viewing node and this peer make.
	Link spec.LinkSettings
}

// Derive returns the view that node self has of the cluster. It fails with ErrUnknownNode when there is no such node;
// what is wrong between the objects is in the view's Problems.
func Derive(in Input, self string) (*View, error) {
	own, ok := in.Nodes[self]
	if !ok {
		return nil, fmt.Errorf("derive the view of node %q of cluster %q: %w", self, in.ClusterName, ErrUnknownNode)
	}
	v := &View{
		Cluster:     in.ClusterName,
		Mesh:        in.Cluster.Mesh,
		CIDR:        in.Cluster.MeshCIDR,
		Self:        newPeer(in, self, own),
		PublicPorts: spec.PublicPorts{TCP: slices.Clone(own.PublicPorts.TCP), UDP: slices.Clone(own.PublicPorts.UDP)},
		Maintenance: map[string]spec.Maintenance{},
		Problems:    append(Check(in.ClusterName, in.Cluster, in.Nodes), checkLinks(in.Cluster.Mesh.Driver, in.Nodes, in.Links)...),
	}
	v.Problems = append(v.Problems, checkLoadBalancers(in)...)
	v.Problems = append(v.Problems, checkDatabases(in)...)
	v.Problems = append(v.Problems, checkPairs(in)...)
	for name, m := range in.Maintenance {
		if _, ok := in.Nodes[name]; ok {
			v.Maintenance[name] = m
		}
	}
	for name, node := range in.Nodes {
		if name == self || in.MeshKeys[name] == "" {
			continue
		}
		p := newPeer(in, name, node)
		p.Link = linkSettings(in.Links, self, name)
		v.Peers = append(v.Peers, p)
	}
	slices.SortFunc(v.Peers, func(a, b Peer) int { return strings.Compare(a.Name, b.Name) })
	filter, err := HostFirewallOf(in, self)
	if err != nil {
		return nil, err
	}
	v.HostFirewall = filter
	v.LoadBalancers = v.loadBalancers(in)
	v.Databases = v.databases(in)
	v.Pairs = v.pairs(in)
	return v, nil
}

// Peer returns the peer of that name and whether the view has it.
func (v *View) Peer(name string) (Peer, bool) {
	i, ok := slices.BinarySearchFunc(v.Peers, name, func(p Peer, name string) int { return strings.Compare(p.Name, name) })
	if !ok {
		return Peer{}, false
	}
	return v.Peers[i], true
}

func newPeer(in Input, name string, n spec.Node) Peer {
	p := Peer{
		Name: name, Provider: n.Provider, Site: n.Site,
		MeshAddress: n.MeshAddress, Addresses: slices.Clone(n.Addresses),
		MeshKey: in.MeshKeys[name], KeyNumber: in.KeyNumbers[name], APIPort: in.Cluster.Ports.API,
	}
	if other, changes := in.OtherKeys[name]; changes {
		p.OtherKey = &other
	}
	return p
}

// linkSettings returns the settings of the pair a, b. Links are looked up by name, which is the same for both orders; an
// operator who describes one pair twice makes one object of it.
func linkSettings(links map[string]spec.Link, a, b string) spec.LinkSettings {
	return links[spec.LinkName(a, b)].Settings
}
