package analysis

import (
	"cmp"
	"maps"
	"slices"

	"github.com/bits-and-blooms/bitset"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// lost are nodes that are lost together, by one name or by several.
type lost struct {
	losses []Loss
	nodes  *bitset.BitSet
}

// domains returns every node, site and provider, the fewest nodes first. Those that are the same nodes are one. Sites are told apart by
// their names alone: two providers in one place have its power and its cables in common.
func (s *simulation) domains() []lost {
	sites, providers := map[string][]string{}, map[string][]string{}
	var out []lost
	for _, name := range s.names {
		n := s.Nodes[name]
		out = append(out, lost{[]Loss{{LossNode, name}}, s.nodes([]string{name})})
		if n.Site != "" {
			sites[n.Site] = append(sites[n.Site], name)
		}
		if n.Provider != "" {
			providers[n.Provider] = append(providers[n.Provider], name)
		}
	}
	for _, domain := range []struct {
		kind LossKind
		of   map[string][]string
	}{{LossSite, sites}, {LossProvider, providers}} {
		for _, name := range slices.Sorted(maps.Keys(domain.of)) {
			loss, nodes := Loss{domain.kind, name}, s.nodes(domain.of[name])
			if same := slices.IndexFunc(out, func(l lost) bool { return l.nodes.Equal(nodes) }); same >= 0 {
				out[same].losses = append(out[same].losses, loss)
			} else {
				out = append(out, lost{[]Loss{loss}, nodes})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b lost) int { return cmp.Compare(a.nodes.Count(), b.nodes.Count()) })
	return out
}

// losses loses one thing after the other.
func (s *simulation) losses() ([]Finding, []Impact) {
	var findings []Finding
	var impacts []Impact
	// reasons are the smallest losses that were found to stop a subject.
	reasons := make([][]*bitset.BitSet, len(s.subjects))
	for _, l := range s.domains() {
		left := s.all.Difference(l.nodes)
		w := world{alive: left}
		broken := s.broken(w)
		if len(broken) == 0 {
			continue
		}
		for _, loss := range l.losses {
			impacts = append(impacts, Impact{Loss: loss, Nodes: s.namesOf(l.nodes), Stops: s.refs(broken)})
		}
		for _, i := range broken {
			implied := slices.ContainsFunc(reasons[i], l.nodes.IsSuperSet)
			reasons[i] = append(reasons[i], l.nodes)
			// Where nothing is left, that is all there is to say.
			if implied || left.None() && s.subjects[i].problem != NoNode {
				continue
			}
			findings = append(findings, s.risk(s.subjects[i], l, world{alive: left}))
		}
	}
	for a, b := range s.g.bridges(s.all) {
		w := world{alive: s.all, cut: &[2]uint{a, b}}
		loss := Loss{LossLink, spec.LinkName(s.names[a], s.names[b])}
		broken := s.broken(w)
		impacts = append(impacts, Impact{Loss: loss, Nodes: []string{}, Stops: s.refs(broken)})
		for _, i := range broken {
			findings = append(findings, s.risk(s.subjects[i], lost{[]Loss{loss}, bitset.New(s.all.Len())}, w))
		}
	}
	edge := Impact{Loss: Loss{LossEdge, EdgeVendor}, Nodes: []string{}}
	for _, hostname := range slices.Sorted(maps.Keys(s.LoadBalancers)) {
		ref := spec.Ref{Kind: spec.KindLoadBalancer, Name: hostname}
		edge.Stops = append(edge.Stops, ref)
		findings = append(findings, s.edgeRisk(ref, edge.Loss))
	}
	if len(edge.Stops) > 0 {
		impacts = append(impacts, edge)
	}
	order := []LossKind{LossNode, LossSite, LossProvider, LossLink, LossEdge}
	slices.SortStableFunc(impacts, func(a, b Impact) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Loss.Kind), slices.Index(order, b.Loss.Kind)), cmp.Compare(a.Loss.Name, b.Loss.Name))
	})
	return findings, impacts
}

// accepts tells whether one of the losses may stop all of these, by what the input says.
func (s *simulation) accepts(losses []Loss, refs []spec.Ref) bool {
	out := false
	for _, loss := range losses {
		accepted := s.Accept[loss.String()]
		if slices.ContainsFunc(refs, func(ref spec.Ref) bool { return !slices.Contains(accepted, ref.String()) }) {
			continue
		}
		out = true
		for _, ref := range refs {
			s.used[loss.String()+": "+ref.String()] = true
		}
	}
	return out
}

// unused returns the entries of Accept that were of no use.
func (s *simulation) unused() []string {
	var out []string
	for _, loss := range slices.Sorted(maps.Keys(s.Accept)) {
		for _, ref := range s.Accept[loss] {
			if entry := loss + ": " + ref; !s.used[entry] {
				out = append(out, entry)
			}
		}
	}
	return out
}
