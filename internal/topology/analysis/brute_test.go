package analysis_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology/analysis"
)

// brute is the same questions answered in the plainest way, with nothing taken from the package.
type brute struct{ in analysis.Input }

func (b brute) names() []string { return slices.Sorted(maps.Keys(b.in.Nodes)) }

// passes tells whether one of the rules, as far as is known, may let a TCP connection to the mesh's port through.
func (b brute) passes(rules []spec.FirewallRule, peer string) bool {
	if rules == nil {
		return true
	}
	n := b.in.Nodes[peer]
	for _, r := range rules {
		if r.Protocol != "tcp" {
			continue
		}
		if len(r.Ports) > 0 && r.Ports[0] != "600-700" {
			panic("a port that this model does not know")
		}
		if r.Peers == nil || slices.Contains(r.Peers, peer) {
			return true
		}
		for _, text := range r.Peers {
			if _, err := netip.ParseAddr(text); err == nil && (len(n.Addresses) == 0 || slices.Contains(n.Addresses, text)) {
				return true
			}
		}
	}
	return false
}

func (b brute) dials(from, to string) bool {
	if len(b.in.Nodes[to].Addresses) == 0 && !b.in.Unsure[to] {
		return false
	}
	if f := b.in.Nodes[to].Firewall; f != nil && !b.passes(f.Inbound, from) {
		return false
	}
	f := b.in.Nodes[from].Firewall
	return f == nil || b.passes(f.Outbound, to)
}

// reached closes the links over by Warshall's algorithm. A cut link is given by both names.
func (b brute) reached(left []string, cut string) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for _, x := range left {
		out[x] = map[string]bool{x: true}
		for _, y := range left {
			out[x][y] = x == y || (b.dials(x, y) || b.dials(y, x)) && spec.LinkName(x, y) != cut
		}
	}
	for _, k := range left {
		for _, i := range left {
			for _, j := range left {
				out[i][j] = out[i][j] || out[i][k] && out[k][j]
			}
		}
	}
	return out
}

// stopped returns what does not work.
func (b brute) stopped(left []string, cut string) map[spec.Ref]bool {
	out := map[spec.Ref]bool{}
	now, before := b.reached(left, cut), b.reached(b.names(), "")
	for _, x := range left {
		for _, y := range left {
			if before[x][y] && !now[x][y] {
				out[spec.Ref{Kind: spec.KindCluster, Name: "web"}] = true
			}
		}
	}
	if len(left) == 0 {
		out[spec.Ref{Kind: spec.KindCluster, Name: "web"}] = true
	}
	for name, d := range b.in.Databases {
		best := 0
		for _, x := range left {
			votes := 0
			for _, m := range b.in.DatabaseMembers {
				if m.Database == name && now[x][m.Node] {
					votes++
				}
			}
			best = max(best, votes)
		}
		if best <= d.Votes/2 {
			out[spec.Ref{Kind: spec.KindDatabase, Name: name}] = true
		}
	}
	for hostname, lb := range b.in.LoadBalancers {
		if !slices.ContainsFunc(left, func(x string) bool { return lb.Nodes[x].Enabled }) {
			out[spec.Ref{Kind: spec.KindLoadBalancer, Name: hostname}] = true
		}
	}
	for name, p := range b.in.Pairs {
		if !slices.ContainsFunc(left, func(x string) bool { _, ours := p.Ends[x]; return ours }) {
			out[spec.Ref{Kind: spec.KindPair, Name: name}] = true
		}
	}
	for name := range b.in.Pairs {
		if b.torn(left, name) {
			out[spec.Ref{Kind: spec.KindPair, Name: name}] = true
		}
	}
	return out
}

// torn tells whether two nodes that are left and have the pair's tree have no way of pairs between them any more.
func (b brute) torn(left []string, name string) bool {
	tree := ""
	for _, end := range b.in.Pairs[name].Ends {
		tree = end.Path
	}
	near := func(nodes []string) map[string]map[string]bool {
		out := map[string]map[string]bool{}
		for _, x := range nodes {
			out[x] = map[string]bool{x: true}
			for _, p := range b.in.Pairs {
				for _, y := range nodes {
					ex, okx := p.Ends[x]
					ey, oky := p.Ends[y]
					if x != y && okx && oky && ex.Path == tree && ey.Path == tree {
						out[x][y] = true
					}
				}
			}
		}
		for _, k := range nodes {
			for _, i := range nodes {
				for _, j := range nodes {
					if out[i][k] && out[k][j] {
						out[i][j] = true
					}
				}
			}
		}
		return out
	}
	before, now := near(b.names()), near(left)
	for _, x := range left {
		for _, y := range left {
			if before[b.in.Pairs[name].Nodes()[0]][x] && before[x][y] && !now[x][y] {
				return true
			}
		}
	}
	return false
}

// TestAgreesWithBruteForce compares every set of lost nodes, and every lost link, with the plain model.
func TestAgreesWithBruteForce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawn(t)
		b := brute{in}
		names := b.names()
		idle := b.stopped(names, "")
		want := func(left []string, cut string) []string {
			out := []string{}
			for ref := range b.stopped(left, cut) {
				if !idle[ref] {
					out = append(out, ref.String())
				}
			}
			slices.Sort(out)
			return out
		}
		for lost := range 1 << len(names) {
			var left, gone []string
			for i, name := range names {
				if lost>>i&1 == 1 {
					gone = append(gone, name)
				} else {
					left = append(left, name)
				}
			}
			if diff := cmp.Diff(want(left, ""), texts(analysis.Lose(in, gone...))); diff != "" {
				t.Fatalf("without %v (-want +got):\n%s", gone, diff)
			}
		}
		links := map[string][]string{}
		for i, x := range names {
			for _, y := range names[i+1:] {
				if stops := want(names, x+"."+y); len(stops) > 0 {
					links[x+"."+y] = stops
				}
			}
		}
		got := map[string][]string{}
		for _, i := range analysis.Analyze(in).Impacts {
			if i.Loss.Kind == analysis.LossLink {
				got[i.Loss.Name] = texts(i.Stops)
			}
		}
		if diff := cmp.Diff(links, got); diff != "" {
			t.Fatalf("lost links (-want +got):\n%s", diff)
		}
	})
}

func texts(refs []spec.Ref) []string {
	out := []string{}
	for _, ref := range refs {
		out = append(out, ref.String())
	}
	slices.Sort(out)
	return out
}

// TestEveryImpactIsToldOnce: every loss that stops something is told, by itself or by one that is part of it, and no finding is
// without its loss.
func TestEveryImpactIsToldOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawn(t)
		r := analysis.Analyze(in)
		seen := map[string]bool{}
		for _, f := range r.Findings {
			key := fmt.Sprint(f.Problem, f.Losses, f.Affected, f.Nodes)
			if seen[key] && f.Problem != analysis.Blocked {
				t.Fatalf("told twice: %s", key)
			}
			seen[key] = true
		}
		lost := map[string][]string{}
		for _, i := range r.Impacts {
			lost[i.Loss.String()] = i.Nodes
		}
		for _, i := range r.Impacts {
			for _, ref := range i.Stops {
				told := slices.ContainsFunc(r.Findings, func(f analysis.Finding) bool {
					if len(f.Losses) == 0 || !slices.Contains(f.Affected, ref) && f.Problem != analysis.NoNode {
						return false
					}
					return slices.Contains(f.Losses, i.Loss) || !slices.ContainsFunc(lost[f.Losses[0].String()], func(n string) bool { return !slices.Contains(i.Nodes, n) })
				})
				if !told {
					t.Fatalf("losing %s stops %s, and no finding says so: %v", i.Loss, ref, lines(r))
				}
			}
		}
	})
}
