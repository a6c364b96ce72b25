package analysis_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology/analysis"
)

// drawn makes a cluster of up to seven nodes with whatever may stand between them.
func drawn(t *rapid.T) analysis.Input {
	n := rapid.IntRange(1, 7).Draw(t, "nodes")
	var domains []string
	for range n {
		domains = append(domains, fmt.Sprintf("p%d/s%d", rapid.IntRange(1, 3).Draw(t, "provider"), rapid.IntRange(1, 4).Draw(t, "site")))
	}
	in := cluster(domains...)
	in.Unsure = map[string]bool{}
	names := slices.Sorted(maps.Keys(in.Nodes))
	some := func(label string) []string {
		return rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID[string]).Draw(t, label)
	}
	for _, name := range names {
		switch rapid.IntRange(0, 7).Draw(t, "what stands before "+name) {
		case 0:
			change(in, name, func(n *spec.Node) { n.Addresses = nil })
		case 1:
			change(in, name, func(n *spec.Node) { n.Addresses = nil })
			in.Unsure[name] = true
		case 2, 3:
			letsIn(in, name, some("let in")...)
		case 4:
			peers := some("let out")
			change(in, name, func(n *spec.Node) {
				n.Firewall = &spec.Firewall{Outbound: []spec.FirewallRule{{Protocol: "tcp", Ports: []string{"600-700"}, Peers: peers}, {Protocol: "udp"}}}
			})
		case 5:
			peers := some("addresses let in")
			for i, p := range peers {
				if a := in.Nodes[p].Addresses; len(a) > 0 {
					peers[i] = a[0]
				}
			}
			letsIn(in, name, peers...)
		}
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "databases") {
		database(in, fmt.Sprintf("d%d", i), rapid.SampledFrom([]int{3, 5}).Draw(t, "votes"), some("voters")...)
	}
	if n > 1 {
		for i := range rapid.IntRange(0, 4).Draw(t, "pairs") {
			ends := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 2, 2, rapid.ID[string]).Draw(t, "ends")
			pair(in, fmt.Sprintf("f%d", i), rapid.SampledFrom([]string{"/srv/x", "/srv/y"}).Draw(t, "tree"), ends...)
		}
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "balancers") {
		balancer(in, fmt.Sprintf("w%d.example.com", i), some("serving")...)
	}
	return in
}

func drawnNodes(t *rapid.T, in analysis.Input, label string) []string {
	return rapid.SliceOfDistinct(rapid.SampledFrom(slices.Sorted(maps.Keys(in.Nodes))), rapid.ID[string]).Draw(t, label)
}

// TestLosingMoreNeverHeals: what stops when some nodes are lost also stops when more are. A mesh may come together again when what was
// apart is lost as well, and the way of a tree's changes too, so these are left out.
func TestLosingMoreNeverHeals(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawn(t)
		in.Pairs = map[string]spec.Pair{}
		some := drawnNodes(t, in, "some")
		more := append(slices.Clone(some), drawnNodes(t, in, "more")...)
		after := analysis.Lose(in, more...)
		for _, ref := range analysis.Lose(in, some...) {
			if ref.Kind != spec.KindCluster && !slices.Contains(after, ref) {
				t.Fatalf("losing %v stops %s, losing %v does not", some, ref, more)
			}
		}
	})
}

// TestOpeningNeverBlocks: a firewall that lets more through has no more findings about who is kept from whom.
func TestOpeningNeverBlocks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawn(t)
		before := barriers(in)
		name := drawnNodes(t, in, "whose")
		peers := drawnNodes(t, in, "for whom")
		for _, n := range name {
			change(in, n, func(n *spec.Node) {
				if n.Firewall != nil {
					open := *n.Firewall
					if open.Inbound != nil {
						open.Inbound = append(slices.Clone(open.Inbound), spec.FirewallRule{Protocol: "tcp", Peers: peers})
					}
					n.Firewall = &open
				}
			})
		}
		for _, b := range barriers(in) {
			if !slices.Contains(before, b) {
				t.Fatalf("%s was not there before", b)
			}
		}
	})
}

// barriers returns what is kept from what, one port each.
func barriers(in analysis.Input) []string {
	var out []string
	for _, b := range analysis.Barriers(in) {
		for _, p := range b.Ports {
			out = append(out, fmt.Sprintf("%s>%s %s %s %d", b.From, b.To, b.Side, p.Protocol, p.Number))
		}
	}
	return out
}

// TestNamesDoNotMatter: nodes that change their names for others' do in everything.
func TestNamesDoNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawn(t)
		names := slices.Sorted(maps.Keys(in.Nodes))
		other := map[string]string{}
		for i, name := range rapid.Permutation(names).Draw(t, "new names") {
			other[names[i]] = name
		}
		lost := drawnNodes(t, in, "lost")
		want := analysis.Lose(in, lost...)
		var renamed []string
		for _, name := range lost {
			renamed = append(renamed, other[name])
		}
		if diff := cmp.Diff(want, analysis.Lose(rename(in, other), renamed...)); diff != "" {
			t.Fatalf("with other names something else stops (-want +got):\n%s", diff)
		}
	})
}

func rename(in analysis.Input, other map[string]string) analysis.Input {
	out := in
	out.Nodes, out.Unsure = map[string]spec.Node{}, map[string]bool{}
	rules := func(list []spec.FirewallRule) []spec.FirewallRule {
		list = slices.Clone(list)
		for i, r := range list {
			r.Peers = slices.Clone(r.Peers)
			for j, p := range r.Peers {
				if name, ok := other[p]; ok {
					r.Peers[j] = name
				}
			}
			list[i] = r
		}
		return list
	}
	for name, n := range in.Nodes {
		if n.Firewall != nil {
			n.Firewall = &spec.Firewall{Inbound: rules(n.Firewall.Inbound), Outbound: rules(n.Firewall.Outbound)}
		}
		out.Nodes[other[name]], out.Unsure[other[name]] = n, in.Unsure[name]
	}
	out.DatabaseMembers = map[string]spec.Member{}
	for _, m := range in.DatabaseMembers {
		m.Node = other[m.Node]
		out.DatabaseMembers[m.Name()] = m
	}
	out.Pairs = map[string]spec.Pair{}
	for name, p := range in.Pairs {
		ends := map[string]spec.PairEnd{}
		for n, end := range p.Ends {
			ends[other[n]] = end
		}
		p.Ends = ends
		out.Pairs[name] = p
	}
	out.LoadBalancers = map[string]spec.LoadBalancer{}
	for hostname, lb := range in.LoadBalancers {
		nodes := map[string]spec.ServingNode{}
		for n, part := range lb.Nodes {
			nodes[other[n]] = part
		}
		lb.Nodes = nodes
		out.LoadBalancers[hostname] = lb
	}
	return out
}

// TestUnknownIsNoFault: what is found while addresses are not known yet is found when they are, whatever they turn out to be.
func TestUnknownIsNoFault(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawn(t)
		before := barriers(in)
		for _, name := range slices.Sorted(maps.Keys(in.Unsure)) {
			if in.Unsure[name] && rapid.Bool().Draw(t, "becomes known") {
				in.Unsure[name] = false
				change(in, name, func(n *spec.Node) {
					n.Addresses = []string{fmt.Sprintf("192.0.2.%d", rapid.IntRange(1, 20).Draw(t, "address"))}
				})
			}
		}
		after := barriers(in)
		for _, b := range before {
			if !slices.Contains(after, b) {
				t.Fatalf("%s was found before and is not any more", b)
			}
		}
	})
}
