package analysis

import (
	"maps"
	"slices"

	"github.com/bits-and-blooms/bitset"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// world is what is left after a loss.
type world struct {
	alive *bitset.BitSet
	// cut is a link that is lost, nil for none.
	cut *[2]uint
	// parts are what the mesh falls into. They are found when first asked for.
	parts []*bitset.BitSet
}

// subject is something that a loss may stop.
type subject struct {
	ref     []spec.Ref
	problem Problem
	// works tells whether it does in a world.
	works func(*world) bool
	// members are the nodes that it is made of, for the text.
	members *bitset.BitSet
	// accepted are losses that its own object accepts.
	accepted []Loss
}

// simulation loses things and looks what stops.
type simulation struct {
	*model
	g   graph
	all *bitset.BitSet
	// subjects are what worked as it stands, idle what did not.
	subjects, idle []subject
	// whole are the parts of the mesh as it stands.
	whole []*bitset.BitSet
	// used are the entries of Accept that were of use.
	used map[string]bool
}

func newSimulation(m *model) *simulation {
	n := uint(len(m.names))
	s := &simulation{model: m, g: m.graph(), all: bitset.New(n).SetRange(0, n), used: map[string]bool{}}
	s.whole = s.g.components(s.all)
	now := world{alive: s.all}
	for _, one := range slices.Concat(s.clusterSubjects(), s.databaseSubjects(), s.pairSubjects(), s.treeSubjects(), s.balancerSubjects()) {
		if one.works(&now) {
			s.subjects = append(s.subjects, one)
		} else {
			s.idle = append(s.idle, one)
		}
	}
	return s
}

// broken returns which subjects do not work in a world, by their places.
func (s *simulation) broken(w world) []int {
	var out []int
	for i, one := range s.subjects {
		if !one.works(&w) {
			out = append(out, i)
		}
	}
	return out
}

func (s *simulation) refs(broken []int) []spec.Ref {
	var out []spec.Ref
	for _, i := range broken {
		for _, ref := range s.subjects[i].ref {
			if !slices.Contains(out, ref) {
				out = append(out, ref)
			}
		}
	}
	slices.SortFunc(out, func(a, b spec.Ref) int { return compareStrings(string(a.Kind), string(b.Kind), a.Name, b.Name) })
	return out
}

func (s *simulation) partsOf(w *world) []*bitset.BitSet {
	if w.parts == nil {
		if w.cut != nil {
			s.g.cut(w.cut[0], w.cut[1])
		}
		w.parts = s.g.components(w.alive)
		if w.cut != nil {
			s.g.join(w.cut[0], w.cut[1])
		}
	}
	return w.parts
}

func (s *simulation) nodes(names []string) *bitset.BitSet {
	out := bitset.New(s.all.Len())
	for _, name := range names {
		if i, there := s.index[name]; there {
			out.Set(i)
		}
	}
	return out
}

func (s *simulation) namesOf(set *bitset.BitSet) []string {
	var out []string
	for i := range set.EachSet() {
		out = append(out, s.names[i])
	}
	return out
}

// clusterSubjects are the cluster, which works as long as a node is left, and its mesh, which works as long as nodes that are left reach
// each other that do as it stands.
func (s *simulation) clusterSubjects() []subject {
	ref := []spec.Ref{{Kind: spec.KindCluster, Name: s.ClusterName}}
	return []subject{
		{ref: ref, problem: NoNode, members: s.all, works: func(w *world) bool { return w.alive.Any() }},
		{ref: ref, problem: Apart, members: s.all, works: func(w *world) bool {
			before := 0
			for _, part := range s.whole {
				if part.IntersectionCardinality(w.alive) > 0 {
					before++
				}
			}
			return len(s.partsOf(w)) <= before
		}},
	}
}

// databaseSubjects work as long as most votes are at nodes that reach each other. A database whose votes are not known yet is left
// out.
func (s *simulation) databaseSubjects() []subject {
	voters := map[string][]string{}
	for _, m := range s.DatabaseMembers {
		if m.Role == spec.MemberVoter {
			voters[m.Database] = append(voters[m.Database], m.Node)
		}
	}
	var out []subject
	for _, name := range slices.Sorted(maps.Keys(s.Databases)) {
		d := s.Databases[name]
		if d.Votes == 0 {
			continue
		}
		members := s.nodes(voters[name])
		one := subject{ref: []spec.Ref{{Kind: spec.KindDatabase, Name: name}}, problem: NoQuorum, members: members}
		for _, p := range d.Accept.Providers {
			one.accepted = append(one.accepted, Loss{LossProvider, p})
		}
		for _, site := range d.Accept.Sites {
			one.accepted = append(one.accepted, Loss{LossSite, site})
		}
		one.works = func(w *world) bool {
			if majority(d.Votes, members, w.alive) {
				return slices.ContainsFunc(s.partsOf(w), func(part *bitset.BitSet) bool { return majority(d.Votes, members, part) })
			}
			return false
		}
		out = append(out, one)
	}
	return out
}

func majority(votes int, voters, at *bitset.BitSet) bool {
	return int(voters.IntersectionCardinality(at))*2 > votes
}

// pairSubjects work as long as one copy is left.
func (s *simulation) pairSubjects() []subject {
	var out []subject
	for _, name := range slices.Sorted(maps.Keys(s.Pairs)) {
		members := s.nodes(s.Pairs[name].Nodes())
		out = append(out, subject{
			ref: []spec.Ref{{Kind: spec.KindPair, Name: name}}, problem: NoCopy, members: members,
			works: func(w *world) bool { return members.IntersectionCardinality(w.alive) > 0 },
		})
	}
	return out
}

// tree is one directory tree on several nodes, with the pairs that keep it equal.
type tree struct {
	pairs []string
	links graph
	nodes *bitset.BitSet
}

// treeSubjects are the trees of more than two nodes: they work as long as changes get from every node that is left to every other.
func (s *simulation) treeSubjects() []subject {
	type root struct {
		node uint
		path string
	}
	of := map[root]*tree{}
	var trees []*tree
	for _, name := range slices.Sorted(maps.Keys(s.Pairs)) {
		var roots []root
		for _, node := range s.Pairs[name].Nodes() {
			if i, there := s.index[node]; there {
				roots = append(roots, root{i, s.Pairs[name].Ends[node].Path})
			}
		}
		if len(roots) != 2 {
			continue
		}
		t := &tree{pairs: []string{name}, nodes: bitset.New(s.all.Len())}
		for _, r := range roots {
			t.nodes.Set(r.node)
			if have := of[r]; have != nil && have != t {
				t.pairs = append(t.pairs, have.pairs...)
				t.nodes.InPlaceUnion(have.nodes)
				trees = slices.DeleteFunc(trees, func(other *tree) bool { return other == have })
				for key, other := range of {
					if other == have {
						of[key] = t
					}
				}
			}
			of[r] = t
		}
		trees = append(trees, t)
	}
	var out []subject
	for _, t := range trees {
		if len(t.pairs) > 1 {
			out = append(out, s.treeSubject(t))
		}
	}
	return out
}

func (s *simulation) treeSubject(t *tree) subject {
	slices.Sort(t.pairs)
	one := subject{problem: NoWay, members: t.nodes}
	t.links = make(graph, s.all.Len())
	for i := range t.nodes.EachSet() {
		t.links[i] = bitset.New(s.all.Len())
	}
	for _, name := range t.pairs {
		one.ref = append(one.ref, spec.Ref{Kind: spec.KindPair, Name: name})
		ends := s.Pairs[name].Nodes()
		t.links.join(s.index[ends[0]], s.index[ends[1]])
	}
	one.works = func(w *world) bool { return len(t.links.components(t.nodes.Intersection(w.alive))) <= 1 }
	return one
}

// balancerSubjects work as long as a node that may get traffic is left.
func (s *simulation) balancerSubjects() []subject {
	var out []subject
	for _, hostname := range slices.Sorted(maps.Keys(s.LoadBalancers)) {
		var serving []string
		for name, part := range s.LoadBalancers[hostname].Nodes {
			if part.Enabled {
				serving = append(serving, name)
			}
		}
		members := s.nodes(serving)
		out = append(out, subject{
			ref: []spec.Ref{{Kind: spec.KindLoadBalancer, Name: hostname}}, problem: NoServer, members: members,
			works: func(w *world) bool { return members.IntersectionCardinality(w.alive) > 0 },
		})
	}
	return out
}
