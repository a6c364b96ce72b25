package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// WireVersion is the version of the signed form of objects, tickets, claims and statuses. An agent refuses what is newer
// than it knows and says so; nothing is guessed.
//
//	1: cluster, node, link, loadbalancer, maintenance, database, member, recovery and pair objects (first release).
const WireVersion = 1

// Kind is the kind of an object.
type Kind string

// The kinds of objects.
const (
	KindCluster      Kind = "cluster"
	KindNode         Kind = "node"
	KindLink         Kind = "link"
	KindLoadBalancer Kind = "loadbalancer"
	KindMaintenance  Kind = "maintenance"
	KindDatabase     Kind = "database"
	KindMember       Kind = "member"
	KindRecovery     Kind = "recovery"
	KindPair         Kind = "pair"
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{KindCluster, KindNode, KindLink, KindLoadBalancer, KindMaintenance, KindDatabase, KindMember, KindRecovery, KindPair}
}

// Ref names an object within its cluster.
type Ref struct {
	Kind Kind
	Name string
}

// String returns the reference as "kind/name".
func (r Ref) String() string { return string(r.Kind) + "/" + r.Name }

// MarshalText returns the reference as "kind/name", which makes it a JSON map key.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads "kind/name".
func (r *Ref) UnmarshalText(text []byte) error {
	kind, name, ok := strings.Cut(string(text), "/")
	if !ok || kind == "" || name == "" {
		return fmt.Errorf("%q is not a reference of the form kind/name", text)
	}
	*r = Ref{Kind: Kind(kind), Name: name}
	return nil
}

// Body is what an object of one kind says: a Cluster, a Node, a Link, a LoadBalancer, a Maintenance, a Database, a Member, a
// Recovery or a Pair.
type Body interface {
	// Kind returns the kind of objects that have such a body.
	Kind() Kind
	// Validate returns everything that is wrong with the body by itself; what only shows beside other objects is
	// topology's to find.
	Validate() Problems
}

// Object is one piece of desired state in the form that is signed. The higher Generation of one reference wins.
type Object struct {
	Wire       int    `json:"wire"`
	Kind       Kind   `json:"kind"`
	Cluster    string `json:"cluster"`
	Name       string `json:"name"`
	Generation uint64 `json:"generation"`
	// Signed is when the operator signed the object, in milliseconds since the Unix epoch. A tombstone revokes every
	// ticket that was issued before it.
	Signed uint64 `json:"signed"`
	// Deleted makes the object a tombstone: it has no body, and what it named is removed everywhere.
	Deleted bool            `json:"deleted,omitempty"`
	Body    json.RawMessage `json:"body,omitempty"`
}

// NewObject returns an object of cluster that carries body. Name is the node's, link's, database's, member's or pair's name, a load
// balancer's hostname, the name of the node in maintenance or of the database to recover, and the cluster's own name for a
// cluster object.
func NewObject(cluster, name string, generation, signed uint64, body Body) (Object, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return Object{}, fmt.Errorf("encode %s %q: %w", body.Kind(), name, err)
	}
	return Object{
		Wire: WireVersion, Kind: body.Kind(), Cluster: cluster, Name: name,
		Generation: generation, Signed: signed, Body: raw,
	}, nil
}

// NewTombstone returns the object that deletes ref from cluster.
func NewTombstone(cluster string, ref Ref, generation, signed uint64) Object {
	return Object{
		Wire: WireVersion, Kind: ref.Kind, Cluster: cluster, Name: ref.Name,
		Generation: generation, Signed: signed, Deleted: true,
	}
}

// Ref returns what the object names.
func (o Object) Ref() Ref { return Ref{Kind: o.Kind, Name: o.Name} }

// Decode returns the object's body. Unknown fields are an error, since a field that is not understood cannot be obeyed.
func (o Object) Decode() (Body, error) {
	switch o.Kind {
	case KindCluster:
		return decode[Cluster](o)
	case KindNode:
		return decode[Node](o)
	case KindLink:
		return decode[Link](o)
	case KindLoadBalancer:
		return decode[LoadBalancer](o)
	case KindMaintenance:
		return decode[Maintenance](o)
	case KindDatabase:
		return decode[Database](o)
	case KindMember:
		return decode[Member](o)
	case KindRecovery:
		return decode[Recovery](o)
	case KindPair:
		return decode[Pair](o)
	default:
		return nil, fmt.Errorf("decode object %s: unknown kind %q", o.Ref(), o.Kind)
	}
}

func decode[T Body](o Object) (Body, error) {
	var body T
	d := json.NewDecoder(bytes.NewReader(o.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		return nil, fmt.Errorf("decode object %s: %w", o.Ref(), err)
	}
	return body, nil
}

// Validate returns everything that is wrong with the object, its body included.
func (o Object) Validate() Problems {
	var ps Problems
	if o.Wire != WireVersion {
		ps.add("wire", "update the agent", "is %d, this software knows version %d", o.Wire, WireVersion)
		return ps
	}
	ps = append(ps, ValidateName("cluster", o.Cluster)...)
	if o.Generation == 0 {
		ps.add("generation", "", "is 0")
	}
	ps = append(ps, o.validateName()...)
	switch {
	case o.Deleted && len(o.Body) != 0:
		ps.add("body", "", "a tombstone has none")
	case o.Deleted && o.Kind == KindCluster:
		ps.add("deleted", "remove the nodes instead", "a cluster ends when its last node is removed")
	case !o.Deleted:
		body, err := o.Decode()
		if err != nil {
			ps.add("body", "", "%v", err)
			return ps
		}
		ps = append(ps, body.Validate()...)
		if link, ok := body.(Link); ok && link.Name() != o.Name {
			ps.add("name", "", "is %q, the link's ends make it %q", o.Name, link.Name())
		}
		if member, ok := body.(Member); ok && member.Name() != o.Name {
			ps.add("name", "", "is %q, the member's database and node make it %q", o.Name, member.Name())
		}
	}
	return ps
}

func (o Object) validateName() Problems {
	switch o.Kind {
	case KindCluster:
		if o.Name != o.Cluster {
			return Problems{{Field: "name", Message: fmt.Sprintf("is %q, a cluster object has the cluster's name %q", o.Name, o.Cluster)}}
		}
		return nil
	case KindNode, KindMaintenance, KindDatabase, KindRecovery, KindPair:
		return ValidateName("name", o.Name)
	case KindLoadBalancer:
		ps := ValidateHost("name", o.Name)
		if lower := strings.ToLower(o.Name); lower != o.Name {
			ps.add("name", "write "+lower, "%q has capital letters, which mean nothing in a hostname", o.Name)
		}
		return ps
	case KindLink:
		a, b, ok := strings.Cut(o.Name, ".")
		if !ok {
			return Problems{{Field: "name", Message: fmt.Sprintf("%q is not the name of a link (two node names joined by a dot)", o.Name)}}
		}
		return append(ValidateName("name", a), ValidateName("name", b)...)
	case KindMember:
		database, node, ok := strings.Cut(o.Name, ".")
		if !ok {
			return Problems{{Field: "name", Message: fmt.Sprintf("%q is not the name of a member (a database's and a node's name joined by a dot)", o.Name)}}
		}
		return append(ValidateName("name", database), ValidateName("name", node)...)
	default:
		return Problems{{Field: "kind", Message: fmt.Sprintf("%q is unknown", o.Kind), Remedy: "update the agent"}}
	}
}
