package operator

import (
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// Cluster is what one run knows of one cluster's nodes. It lets nodes that are made at the same time avoid each other's
// mesh address and get to know each other. Safe for concurrent use.
type Cluster struct {
	name string
	// firewalls is held while firewalls at vendors are changed.
	firewalls sync.Mutex

	mu      sync.Mutex
	nodes   map[string]Peer
	planned map[string]Planned
	// heard are nodes of which only the endpoints are known, from links and from nodes that were removed in this run.
	heard map[string][]string
	// buried holds the generation of the tombstone of each node that this run removed.
	buried map[string]uint64
	// members are the planned members of databases, by their names, and pushed the generation of each object that nodes were told in
	// this run.
	members map[string]PlannedMember
	pushed  map[spec.Ref]uint64
	// pairs are the planned pairs by name, and leaving those that are going to be removed.
	pairs   map[string]PlannedPair
	leaving map[string]bool
	// described is the cluster as it is planned, nil when that is not known, and places where its planned nodes are, by name.
	described *spec.Cluster
	places    map[string]PlannedPlace
}

// Peer is a node that has joined.
type Peer struct {
	Name      string
	Endpoints []string
	Identity  string
	// Ticket is the id of the ticket that the node must have joined by; empty for any.
	Ticket string
	// Records are the node's own object and proof, which make it known to others.
	Records []store.Record
}

// Planned is what is known of a node before it exists.
type Planned struct {
	MeshAddress netip.Addr
	Addresses   []string
	// Origin tells configurations apart: two nodes of one name with different origins are a mistake. Empty says nothing.
	Origin string
	// New tells that the node is to be made. Terraform plans that once in a run, so a second time is a second resource,
	// even if it is configured to the letter like the first.
	New bool
}

// Plan notes what a node is going to be and returns the problems that this adds to the cluster: addresses that other nodes
// have, a network that is too small. Planning the same node again replaces what was noted; other tells that it was planned
// with another origin, or to be made twice.
func (c *Cluster) Plan(cidr netip.Prefix, name string, p Planned) (problems spec.Problems, other bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.planned[name]
	other = old.Origin != "" && p.Origin != "" && old.Origin != p.Origin || old.New && p.New
	if p.Origin == "" {
		p.Origin = old.Origin
	}
	delete(c.planned, name)
	before := c.check(cidr)
	c.planned[name] = p
	for _, problem := range c.check(cidr) {
		if !slices.Contains(before, problem) {
			problems = append(problems, problem)
		}
	}
	return problems, other
}

func (c *Cluster) check(cidr netip.Prefix) spec.Problems {
	nodes := make(map[string]spec.Node, len(c.planned))
	for name, p := range c.planned {
		nodes[name] = spec.Node{MeshAddress: p.MeshAddress, Addresses: p.Addresses}
	}
	return topology.Check(c.name, spec.Cluster{MeshCIDR: cidr}, nodes)
}

// Allocate chooses and notes a mesh address for a node. Others are addresses in use that this run has not planned.
func (c *Cluster) Allocate(cidr netip.Prefix, name string, others map[netip.Addr]string) (netip.Addr, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := maps.Clone(others)
	if taken == nil {
		taken = map[netip.Addr]string{}
	}
	for other, p := range c.planned {
		if other != name && p.MeshAddress.IsValid() {
			taken[p.MeshAddress] = other
		}
	}
	addr, err := topology.AllocateMeshAddress(cidr, name, taken)
	if err != nil {
		return netip.Addr{}, err
	}
	p := c.planned[name]
	p.MeshAddress = addr
	c.planned[name] = p
	return addr, nil
}

// Learn notes a node that has joined.
func (c *Cluster) Learn(p Peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[p.Name] = p
}

// Forget notes that a node is being removed.
func (c *Cluster) Forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[name] = Peer{Name: name}
	delete(c.planned, name)
	delete(c.places, name)
}

// Hear notes where nodes are of which nothing else is known. A node that is made again in this run asks them, and one that
// is removed tells them.
func (c *Cluster) Hear(endpoints map[string][]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(c.heard, endpoints)
}

// Heard returns the nodes that were heard of, but name and those that have been learnt or removed.
func (c *Cluster) Heard(name string) map[string][]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string][]string{}
	for n, endpoints := range c.heard {
		if _, known := c.nodes[n]; !known && n != name {
			out[n] = endpoints
		}
	}
	return out
}

// Bury notes the generation of a removed node's tombstone, which its successor must exceed.
func (c *Cluster) Bury(name string, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buried[name] = max(c.buried[name], generation)
}

// Buried returns the generation of the tombstone of a node that this run removed, 0 when it removed none of that name.
func (c *Cluster) Buried(name string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buried[name]
}

// PlansOthers tells whether this run has planned any node but name.
func (c *Cluster) PlansOthers(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for other := range c.planned {
		if other != name {
			return true
		}
	}
	return false
}

// Removed tells whether this run has begun to remove the node.
func (c *Cluster) Removed(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, known := c.nodes[name]
	return known && len(p.Records) == 0
}

// Others returns the joined nodes but name, sorted by name.
func (c *Cluster) Others(name string) []Peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Peer
	for _, n := range slices.Sorted(maps.Keys(c.nodes)) {
		if n != name && len(c.nodes[n].Records) > 0 {
			out = append(out, c.nodes[n])
		}
	}
	return out
}
