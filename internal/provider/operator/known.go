package operator

import (
	"net/netip"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Known is what the records of one agent say, each verified against the signing key. What does not verify is left out.
type Known struct {
	// Cluster is nil when the agent holds no cluster object.
	Cluster *reference.Signed
	Nodes   map[string]spec.Node
	Links   map[string]spec.Link
	// LoadBalancers are by hostname.
	LoadBalancers map[string]spec.LoadBalancer
	// Databases and Recoveries are by the database's name, DatabaseMembers by the member's.
	Databases       map[string]spec.Database
	DatabaseMembers map[string]spec.Member
	Recoveries      map[string]spec.Recovery
	// Pairs are by name.
	Pairs   map[string]spec.Pair
	Members map[string]trust.Member
	// Generations holds the newest generation of each object, tombstones included.
	Generations map[spec.Ref]uint64
	Signed      map[spec.Ref]trust.Envelope
}

// readRecords verifies and sorts an agent's records.
func (m *memory) readRecords(root trust.Root, records []store.Record) Known {
	k := Known{
		Nodes: map[string]spec.Node{}, Links: map[string]spec.Link{}, LoadBalancers: map[string]spec.LoadBalancer{},
		Databases: map[string]spec.Database{}, DatabaseMembers: map[string]spec.Member{}, Recoveries: map[string]spec.Recovery{},
		Pairs:       map[string]spec.Pair{},
		Members:     map[string]trust.Member{},
		Generations: map[spec.Ref]uint64{}, Signed: map[spec.Ref]trust.Envelope{},
	}
	for _, r := range records {
		switch {
		case r.Object != nil:
			k.add(m, root, *r.Object)
		case r.Proof != nil:
			if member, err := m.proof(root, *r.Proof); err == nil {
				k.Members[member.Node] = member
			}
		}
	}
	return k
}

func (k *Known) add(m *memory, root trust.Root, e trust.Envelope) {
	o, err := m.object(root, e)
	if err != nil {
		return
	}
	ref := o.Ref()
	if o.Generation < k.Generations[ref] {
		return // a node's tombstone from before it was made again
	}
	k.Generations[ref] = o.Generation
	k.Signed[ref] = e
	if ref.Kind == spec.KindNode {
		delete(k.Nodes, ref.Name)
	}
	if o.Deleted {
		return
	}
	body, err := o.Decode()
	if err != nil {
		return
	}
	switch b := body.(type) {
	case spec.Cluster:
		k.Cluster = &reference.Signed{Envelope: e, Object: o, Cluster: b}
	case spec.Node:
		k.Nodes[ref.Name] = b
	case spec.Link:
		k.Links[ref.Name] = b
	case spec.LoadBalancer:
		k.LoadBalancers[ref.Name] = b
	case spec.Database:
		k.Databases[ref.Name] = b
	case spec.Member:
		k.DatabaseMembers[ref.Name] = b
	case spec.Recovery:
		k.Recoveries[ref.Name] = b
	case spec.Pair:
		k.Pairs[ref.Name] = b
	}
}

// Introduction returns the records that make a node known to others.
func (k Known) Introduction(node string) []store.Record {
	var out []store.Record
	ref := spec.Ref{Kind: spec.KindNode, Name: node}
	if _, alive := k.Nodes[node]; alive {
		out = append(out, store.ObjectRecord(k.Signed[ref]))
	}
	if m, ok := k.Members[node]; ok {
		out = append(out, store.ProofRecord(m.Proof))
	}
	return out
}

// Endpoints returns where the API of each node but name listens, by node.
func (k Known) Endpoints(name string) map[string][]string {
	port := spec.DefaultPorts().API
	if k.Cluster != nil {
		port = k.Cluster.Cluster.Ports.API
	}
	out := map[string][]string{}
	for n, node := range k.Nodes {
		if n != name && len(node.Addresses) > 0 {
			out[n] = node.Endpoints(port)
		}
	}
	return out
}

// MeshAddresses returns the mesh addresses in use.
func (k Known) MeshAddresses() map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for name, n := range k.Nodes {
		out[n.MeshAddress] = name
	}
	return out
}
