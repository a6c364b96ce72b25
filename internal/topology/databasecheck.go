package topology

import (
	"fmt"
	"maps"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// CheckMembers returns what is wrong with where the members of databases are: more voters than votes, one provider or site with
// a majority of the votes that nobody has accepted, a database that begins at a node without data, two databases at one port of
// a node. All of it stays wrong whatever else is added, so that it may be asked of a part of a cluster. Problems are of the
// members ("member/app.hk1.node"); see ProblemsOf.
func CheckMembers(in Input) spec.Problems {
	var ps spec.Problems
	for _, name := range slices.Sorted(maps.Keys(in.Databases)) {
		d, voters := in.Databases[name], voters(in, name)
		if len(voters) > d.Votes {
			last := voters[len(voters)-1]
			ps = append(ps, problem(spec.KindMember, last.Name(), "role", "raise votes to the next odd number and add members up to it, or make this one a client",
				"database %q has %d votes and %d voters", name, d.Votes, len(voters)))
		}
		ps = append(ps, checkMajorities(in, name, d, voters)...)
		if m, ok := in.DatabaseMembers[spec.MemberName(name, d.Bootstrap.Node)]; ok && m.Role != spec.MemberVoter {
			ps = append(ps, problem(spec.KindMember, m.Name(), "role", "make it a voter, or let the database begin at another node",
				"database %q begins at node %q, which has no data as a %s", name, m.Node, m.Role))
		}
	}
	return append(ps, checkDatabasePorts(in)...)
}

// voters returns the voting members of a database, sorted by node.
func voters(in Input, database string) []spec.Member {
	var out []spec.Member
	for _, key := range slices.Sorted(maps.Keys(in.DatabaseMembers)) {
		if m := in.DatabaseMembers[key]; m.Database == database && m.Role == spec.MemberVoter {
			out = append(out, m)
		}
	}
	return out
}

// checkMajorities finds the providers and sites whose failure stops all writes. Sites are told apart by their names alone: two
// providers in one place have its power and its cables in common.
func checkMajorities(in Input, name string, d spec.Database, voters []spec.Member) spec.Problems {
	var ps spec.Problems
	domains := []struct {
		what     string
		of       func(spec.Node) string
		accepted []string
		argument string
	}{
		{"provider", func(n spec.Node) string { return n.Provider }, d.Accept.Providers, "provider_majority"},
		{"site", func(n spec.Node) string { return n.Site }, d.Accept.Sites, "site_majority"},
	}
	for _, domain := range domains {
		in := held(in, voters, domain.of)
		for _, where := range slices.Sorted(maps.Keys(in)) {
			if len(in[where])*2 <= d.Votes || slices.Contains(domain.accepted, where) {
				continue
			}
			last := in[where][len(in[where])-1]
			ps = append(ps, problem(spec.KindMember, last.Name(), "node",
				fmt.Sprintf("put a member elsewhere, or accept it in the database: accept = { %s = [%q] }", domain.argument, where),
				"%s %q has %d of the %d votes of database %q (%s): its failure stops all writes", domain.what, where, len(in[where]), d.Votes, name, names(in[where])))
		}
	}
	return ps
}

// held returns the voters in each domain, "" being none.
func held(in Input, voters []spec.Member, of func(spec.Node) string) map[string][]spec.Member {
	out := map[string][]spec.Member{}
	for _, m := range voters {
		if n, known := in.Nodes[m.Node]; known && of(n) != "" {
			out[of(n)] = append(out[of(n)], m)
		}
	}
	return out
}

func names(members []spec.Member) string {
	text := ""
	for i, m := range members {
		if i > 0 {
			text += ", "
		}
		text += m.Node
	}
	return text
}

// databasePort is a port that a member takes at its node, and its field in the database's JSON form.
type databasePort struct {
	field  string
	number int
}

// databasePorts returns the TCP ports that a member takes at its node. Those of the router are at loopback, but nothing else that
// listens everywhere gets them then.
func databasePorts(d spec.Database, m spec.Member) []databasePort {
	ports := []databasePort{{"router.write_port", d.Router.WritePort}, {"router.read_port", d.Router.ReadPort}}
	if m.Role == spec.MemberVoter {
		ports = append([]databasePort{{"port", d.Port}}, ports...)
		if d.Router.Driver == spec.RouterHAProxy {
			ports = append(ports, databasePort{"router.driver", spec.RolePort})
		}
	}
	return slices.DeleteFunc(ports, func(p databasePort) bool { return p.number == 0 })
}

// checkDatabasePorts finds databases that want one port of a node.
func checkDatabasePorts(in Input) spec.Problems {
	var ps spec.Problems
	taken := map[string]map[int]string{}
	servers := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(in.DatabaseMembers)) {
		m := in.DatabaseMembers[key]
		d, known := in.Databases[m.Database]
		if !known {
			continue
		}
		if taken[m.Node] == nil {
			taken[m.Node] = map[int]string{}
		}
		for _, port := range databasePorts(d, m) {
			if first, used := taken[m.Node][port.number]; used {
				ps = append(ps, problem(spec.KindMember, m.Name(), "database", "give the databases different ports",
					"%s %d of database %q is taken on node %q by %s", port.field, port.number, m.Database, m.Node, first))
				continue
			}
			taken[m.Node][port.number] = fmt.Sprintf("%s of database %q", port.field, m.Database)
		}
		if m.Role != spec.MemberVoter {
			continue
		}
		if first, there := servers[m.Node]; there {
			ps = append(ps, problem(spec.KindMember, m.Name(), "node", "put one of them on another node, or make one database of both with two schemas",
				"node %q has the data of database %q already, and runs one server", m.Node, first))
			continue
		}
		servers[m.Node] = m.Database
	}
	return ps
}

// checkDatabases returns what is wrong between databases, their members and everything else.
func checkDatabases(in Input) spec.Problems {
	ps := CheckMembers(in)
	for _, key := range slices.Sorted(maps.Keys(in.DatabaseMembers)) {
		m := in.DatabaseMembers[key]
		if _, ok := in.Nodes[m.Node]; !ok {
			ps = append(ps, problem(spec.KindMember, key, "node", "add the node or remove the member; until then it does not count", "node %q is not in the cluster", m.Node))
		}
		d, ok := in.Databases[m.Database]
		if !ok {
			ps = append(ps, problem(spec.KindMember, key, "database", "add the database or remove the member; until then it does nothing", "database %q is not in the cluster", m.Database))
			continue
		}
		owners := portOwners(in, m.Node)
		for _, port := range databasePorts(d, m) {
			if by, used := owners[port.number]; used {
				ps = append(ps, problem(spec.KindDatabase, m.Database, port.field, "choose another port", "%d is %s on node %q", port.number, by.what, m.Node))
			}
		}
	}
	return ps
}
