package topology_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

func app() spec.Database {
	return spec.Database{
		Engine: spec.DatabaseMySQL, Votes: 3, Bootstrap: spec.Bootstrap{Node: "a", Epoch: 1}, Port: 3306,
		Router: spec.DatabaseRouter{Driver: spec.RouterMySQL, WritePort: 6446, ReadPort: 6447},
	}
}

func part(database, node string, role spec.MemberRole) spec.Member {
	return spec.Member{Database: database, Node: node, Role: role}
}

// stored is a cluster of five nodes at three providers with the given databases and members.
func stored(databases map[string]spec.Database, members ...spec.Member) topology.Input {
	in := topology.Input{
		ClusterName: "web", Cluster: testCluster("10.66.0.0/16"), Nodes: map[string]spec.Node{},
		MeshKeys: map[string]string{"a": "KEY-A", "b": "KEY-B", "c": "KEY-C"}, Databases: databases, DatabaseMembers: map[string]spec.Member{},
	}
	for name, at := range map[string][3]string{
		"a": {"10.66.0.1", "colo", "hong-kong"}, "b": {"10.66.0.2", "vps", "hong-kong"}, "c": {"10.66.0.3", "linode", "singapore"},
		"d": {"10.66.0.4", "linode", "tokyo"}, "e": {"10.66.0.5", "other", "berlin"},
	} {
		n := testNode(at[0])
		n.Provider, n.Site = at[1], at[2]
		in.Nodes[name] = n
	}
	for _, m := range members {
		in.DatabaseMembers[m.Name()] = m
	}
	return in
}

func TestDatabasesOfANode(t *testing.T) {
	t.Parallel()
	in := stored(map[string]spec.Database{"app": app()},
		part("app", "a", spec.MemberVoter), part("app", "c", spec.MemberVoter), part("app", "d", spec.MemberVoter),
		part("app", "b", spec.MemberClient), part("app", "gone", spec.MemberVoter))
	in.Databases["app"] = with(in.Databases["app"], func(d *spec.Database) { d.Accept.Providers = []string{"linode"} })
	in.Recoveries = map[string]spec.Recovery{"app": {Incarnation: 2}}
	tests := []struct {
		node  string
		there bool
		votes bool
	}{{"a", true, true}, {"b", true, false}, {"e", false, false}}
	for _, tt := range tests {
		v, err := topology.Derive(in, tt.node)
		if err != nil {
			t.Fatal(err)
		}
		d, there := v.Database("app")
		if there != tt.there || d.SelfVotes() != tt.votes {
			t.Errorf("%s: has a part %t, votes %t", tt.node, there, d.SelfVotes())
		}
		if !there {
			continue
		}
		var voters []string
		for _, m := range d.Members {
			voters = append(voters, m.Node)
		}
		if diff := cmp.Diff([]string{"a", "c", "d"}, voters); diff != "" {
			t.Errorf("%s: voters (-want +got):\n%s", tt.node, diff)
		}
		m, ok := d.Member("c")
		if !ok || !m.Admitted || m.Provider != "linode" || m.MeshAddress.String() != "10.66.0.3" || d.Recovery == nil || d.Recovery.Incarnation != 2 {
			t.Errorf("%s: got %+v, %t, recovery %+v", tt.node, m, ok, d.Recovery)
		}
		if m, _ := d.Member("d"); m.Admitted {
			t.Errorf("%s: d is admitted", tt.node)
		}
		if _, ok := d.Member("b"); ok {
			t.Errorf("%s: a client is among the voters", tt.node)
		}
	}
}

func with(d spec.Database, change func(*spec.Database)) spec.Database {
	change(&d)
	return d
}

func TestCheckDatabases(t *testing.T) {
	t.Parallel()
	voter := func(node string) spec.Member { return part("app", node, spec.MemberVoter) }
	one := func(changes ...func(*spec.Database)) map[string]spec.Database {
		d := app()
		for _, change := range changes {
			change(&d)
		}
		return map[string]spec.Database{"app": d}
	}
	second := with(app(), func(d *spec.Database) { d.Bootstrap.Node = "d" })
	tests := []struct {
		name string
		in   topology.Input
		// want are the fields and what their messages say.
		want [][2]string
		// partly tells that a part of the cluster shows it, too.
		partly bool
	}{
		{"fine", stored(one(), voter("a"), voter("c"), voter("e"), part("app", "b", spec.MemberClient)), nil, true},
		{"not complete yet", stored(one(), voter("a"), voter("c")), nil, true},
		{
			"a site", stored(one(), voter("a"), voter("b"), voter("c")),
			[][2]string{{"member/app.b.node", `site "hong-kong" has 2 of the 3 votes of database "app" (a, b)`}},
			true,
		},
		{"an accepted site", stored(one(func(d *spec.Database) { d.Accept.Sites = []string{"hong-kong"} }), voter("a"), voter("b"), voter("c")), nil, true},
		{
			"a provider", stored(one(), voter("a"), voter("c"), voter("d")),
			[][2]string{{"member/app.d.node", `provider "linode" has 2 of the 3 votes`}},
			true,
		},
		{
			"another one is accepted", stored(one(func(d *spec.Database) { d.Accept.Providers = []string{"colo"} }), voter("a"), voter("c"), voter("d")),
			[][2]string{{"member/app.d.node", `provider "linode"`}},
			true,
		},
		{"two of five are no majority", stored(one(func(d *spec.Database) { d.Votes = 5 }), voter("a"), voter("b"), voter("c"), voter("d"), voter("e")), nil, true},
		{
			"too many", stored(one(), voter("a"), voter("b"), voter("c"), voter("e")),
			[][2]string{{"member/app.e.role", "3 votes and 4 voters"}, {"member/app.b.node", "hong-kong"}},
			true,
		},
		{"begins where no data is", stored(one(), part("app", "a", spec.MemberClient)), [][2]string{{"member/app.a.role", "has no data as a client"}}, true},
		{
			"two servers on a node", stored(map[string]spec.Database{"app": app(), "shop": second}, voter("c"), part("shop", "c", spec.MemberVoter)),
			[][2]string{
				{"member/shop.c.database", `port 3306 of database "shop" is taken on node "c" by port of database "app"`},
				{"member/shop.c.database", "router.write_port 6446"},
				{"member/shop.c.database", "router.read_port 6447"},
				{"member/shop.c.node", `has the data of database "app" already`},
			},
			true,
		},
		{
			"two routers on a node", stored(map[string]spec.Database{"app": app(), "shop": with(second, func(d *spec.Database) { d.Router.WritePort = 7446 })},
				part("app", "c", spec.MemberClient), part("shop", "c", spec.MemberVoter)),
			[][2]string{{"member/shop.c.database", "router.read_port 6447"}},
			true,
		},
		{"unknown database", stored(one(), part("shop", "a", spec.MemberVoter)), [][2]string{{"member/shop.a.database", "not in the cluster"}}, false},
		{"unknown node", stored(one(), voter("gone")), [][2]string{{"member/app.gone.node", "not in the cluster"}}, false},
		{
			"the agents' port", stored(one(func(d *spec.Database) { d.Port = 7443 }), voter("a")),
			[][2]string{{"database/app.port", `7443 is the port of the cluster's API on node "a"`}},
			false,
		},
		{
			"the router where gossip is", stored(one(func(d *spec.Database) { d.Router.ReadPort = 7946 }), part("app", "b", spec.MemberClient)),
			[][2]string{{"database/app.router.read_port", "the port of gossip"}},
			false,
		},
		{
			"the router where members say who takes writes", stored(one(func(d *spec.Database) {
				d.Router = spec.DatabaseRouter{Driver: spec.RouterHAProxy, WritePort: 6446, ReadPort: spec.RolePort}
			}), voter("a")),
			[][2]string{{"member/app.a.database", `router.driver 7481 of database "app" is taken on node "a" by router.read_port`}},
			true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v, err := topology.Derive(tt.in, "a")
			if err != nil {
				t.Fatal(err)
			}
			checkProblems(t, v.Problems, tt.want)
			want := tt.want
			if !tt.partly {
				want = nil
			}
			checkProblems(t, topology.CheckMembers(tt.in), want)
		})
	}
}

func checkProblems(t *testing.T, got spec.Problems, want [][2]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %v, want %q", got, want)
		return
	}
	for i, w := range want {
		if got[i].Field != w[0] || !strings.Contains(got[i].Message, w[1]) || got[i].Remedy == "" {
			t.Errorf("got %v, want %q", got[i], w)
		}
	}
}
