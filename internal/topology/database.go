package topology

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Database is a database as a node that has a part in it has to see it.
type Database struct {
	Name string
	spec.Database
	// Self is the part of the node whose view this is.
	Self DatabaseMember
	// Members are all voting members that the cluster knows of, this node among them when it votes, sorted by node.
	Members []DatabaseMember
	// Recovery is what the operator has decided about an outage, nil for nothing.
	Recovery *spec.Recovery
}

// DatabaseMember is one node's part in a database.
type DatabaseMember struct {
	spec.Member
	// MeshAddress is where the member's server listens, at the database's port.
	MeshAddress netip.Addr
	// Admitted tells whether the node is an admitted member of the cluster.
	Admitted bool
	// Provider and Site are the node's failure domain.
	Provider, Site string
}

// Database returns the database of that name and whether the node has a part in one.
func (v *View) Database(name string) (Database, bool) {
	i, ok := slices.BinarySearchFunc(v.Databases, name, func(d Database, name string) int { return strings.Compare(d.Name, name) })
	if !ok {
		return Database{}, false
	}
	return v.Databases[i], true
}

// Member returns the voting member on that node and whether there is one.
func (d Database) Member(node string) (DatabaseMember, bool) {
	i := slices.IndexFunc(d.Members, func(m DatabaseMember) bool { return m.Node == node })
	if i < 0 {
		return DatabaseMember{}, false
	}
	return d.Members[i], true
}

// SelfVotes tells whether the node itself has data and a vote.
func (d Database) SelfVotes() bool { return d.Self.Role == spec.MemberVoter }

// databases returns those that self has a part in, sorted by name. A member whose node the cluster does not have is left out.
func (v *View) databases(in Input) []Database {
	var out []Database
	for _, name := range slices.Sorted(maps.Keys(in.Databases)) {
		self, ours := in.DatabaseMembers[spec.MemberName(name, v.Self.Name)]
		if !ours {
			continue
		}
		d := Database{Name: name, Database: in.Databases[name], Self: databaseMember(in, self)}
		for _, key := range slices.Sorted(maps.Keys(in.DatabaseMembers)) {
			m := in.DatabaseMembers[key]
			if _, there := in.Nodes[m.Node]; there && m.Database == name && m.Role == spec.MemberVoter {
				d.Members = append(d.Members, databaseMember(in, m))
			}
		}
		if r, ok := in.Recoveries[name]; ok {
			d.Recovery = &r
		}
		out = append(out, d)
	}
	return out
}

func databaseMember(in Input, m spec.Member) DatabaseMember {
	n := in.Nodes[m.Node]
	return DatabaseMember{
		Member: m, MeshAddress: n.MeshAddress, Admitted: in.MeshKeys[m.Node] != "", Provider: n.Provider, Site: n.Site,
	}
}
