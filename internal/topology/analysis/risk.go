package analysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bits-and-blooms/bitset"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// asItStands returns the findings about what does not work before anything is lost. What is only about nodes that are not there is
// topology's to tell.
func (s *simulation) asItStands() []Finding {
	var out []Finding
	if len(s.whole) > 1 {
		out = append(out, Finding{
			Problem: Apart, Severity: Fault, Nodes: s.names, Affected: []spec.Ref{{Kind: spec.KindCluster, Name: s.ClusterName}},
			Message: "the mesh falls into parts that do not reach each other: " + s.parts(s.whole),
			Remedy:  s.join(s.whole),
		})
	}
	for _, one := range s.idle {
		if one.problem != NoQuorum {
			continue
		}
		name := one.ref[0].Name
		votes, here := s.Databases[name].Votes, one.members.Count()
		f := Finding{Problem: NoQuorum, Severity: Risk, Nodes: s.namesOf(one.members), Affected: one.ref}
		f.Message = fmt.Sprintf("database %q has %d of its %d votes and takes no writes", name, here, votes)
		f.Remedy = "describe its other members"
		if majority(votes, one.members, s.all) {
			f.Severity = Fault
			f.Message = fmt.Sprintf("database %q takes no writes, since no %d of its %d votes reach each other: %s", name, votes/2+1, votes, s.parts(s.whole))
			f.Remedy = s.join(s.whole)
		}
		out = append(out, f)
	}
	return out
}

// parts names what the mesh falls into.
func (s *simulation) parts(parts []*bitset.BitSet) string {
	words := make([]string, len(parts))
	for i, part := range parts {
		words[i] = listed(s.namesOf(part))
	}
	if len(words) > atMost {
		words = append(words[:atMost-1], fmt.Sprintf("%d more parts", len(words)-atMost+1))
	}
	return strings.Join(words, " | ")
}

// join says how two parts would come together.
func (s *simulation) join(parts []*bitset.BitSet) string {
	a, _ := parts[0].NextSet(0)
	b, _ := parts[1].NextSet(0)
	return fmt.Sprintf("let a node of each part connect to one of another at port %d of the mesh, such as %s to %s or the other way round", s.Cluster.Mesh.Port, s.names[a], s.names[b])
}

// risk returns the finding that a loss stops a subject.
func (s *simulation) risk(one subject, l lost, w world) Finding {
	f := Finding{Problem: one.problem, Severity: Risk, Losses: l.losses, Affected: one.ref, Nodes: s.namesOf(one.members)}
	switch one.problem {
	case NoNode:
		f.Message, f.Remedy = "nothing is left of the cluster", "add a node "+elsewhere(l.losses)
	case Apart:
		parts := s.partsOf(&w)
		who := "the nodes that are left"
		if w.cut != nil {
			who = "the nodes"
		}
		f.Message, f.Remedy = who+" do not all reach each other: "+s.parts(parts), s.join(parts)
	case NoQuorum:
		s.quorumText(&f, one, l, w)
	case NoCopy:
		f.Message = fmt.Sprintf("pair %q has no copy of its files left (%s)", one.ref[0].Name, listed(f.Nodes))
		f.Remedy = "pair nodes that do not fail together, and keep a backup elsewhere"
	case NoWay:
		left := one.members.Intersection(w.alive)
		f.Message = fmt.Sprintf("changes of files do not get from every node of the tree that is left to the others (%s)", listed(s.namesOf(left)))
		f.Remedy = "be ready to pair the others with another of them; a second way round is refused, since a deletion and a change could chase each other"
	case NoServer:
		f.Message = fmt.Sprintf("nobody serves %s (%s)", one.ref[0].Name, listed(f.Nodes))
		f.Remedy = "let a node serve it that is " + elsewhere(l.losses)
	case Blocked, UnknownPeer, NoLink, NoEdge:
		// Not subjects.
	}
	f.Accept = acceptText(l.losses[0], one.ref)
	f.Accepted = s.accepts(l.losses, one.ref)
	if slices.ContainsFunc(l.losses, func(loss Loss) bool { return slices.Contains(one.accepted, loss) }) {
		f.Accepted = true
	}
	return f
}

func (s *simulation) quorumText(f *Finding, one subject, l lost, w world) {
	name := one.ref[0].Name
	votes := s.Databases[name].Votes
	if left := one.members.Intersection(w.alive); !majority(votes, one.members, w.alive) {
		f.Message = fmt.Sprintf("database %q has %d of its %d votes left (%s) and takes no writes", name, left.Count(), votes, orNone(s.namesOf(left)))
		f.Remedy = "have a majority of its votes " + elsewhere(l.losses)
		if int(one.members.Count()) < votes {
			f.Remedy = fmt.Sprintf("describe all of its %d voting members", votes)
		}
		return
	}
	parts := s.partsOf(&w)
	f.Message = fmt.Sprintf("no %d of the %d votes of database %q reach each other, and it takes no writes: %s", votes/2+1, votes, name, s.parts(parts))
	f.Remedy = s.join(parts)
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return listed(names)
}

// elsewhere says where something has to be that is not lost together with the rest. The largest of the losses counts.
func elsewhere(losses []Loss) string {
	switch last := losses[len(losses)-1]; last.Kind {
	case LossProvider:
		return "at another provider"
	case LossSite:
		return "at another site"
	case LossNode, LossLink, LossEdge:
	}
	return "on another node"
}

// edgeRisk returns the finding that a hostname hangs on who answers for it.
func (s *simulation) edgeRisk(ref spec.Ref, loss Loss) Finding {
	refs := []spec.Ref{ref}
	return Finding{
		Problem: NoEdge, Severity: Risk, Losses: []Loss{loss}, Affected: refs, Nodes: []string{},
		Message: fmt.Sprintf("%s does not lead to the nodes any more, however many of them are well", ref.Name),
		Remedy: "keep a second way ready: a hostname in a zone of another DNS vendor with an address record for each node, and certificates on the nodes " +
			"(local_proxy), or the zone itself at two vendors",
		Accept: acceptText(loss, refs), Accepted: s.accepts([]Loss{loss}, refs),
	}
}

func acceptText(loss Loss, refs []spec.Ref) string {
	words := make([]string, len(refs))
	for i, ref := range refs {
		words[i] = fmt.Sprintf("%q", ref.String())
	}
	return fmt.Sprintf("accept = { %q = [%s] }", loss.String(), strings.Join(words, ", "))
}

// Cause returns what is lost, for people: `node "hk1"`, or `site "hong-kong", which is node "hk1" alone`.
func (f Finding) Cause() string {
	if len(f.Losses) == 0 {
		return ""
	}
	words := make([]string, len(f.Losses))
	for i, l := range f.Losses {
		name := fmt.Sprintf("%s %q", l.Kind, l.Name)
		switch l.Kind {
		case LossEdge:
			name = fmt.Sprintf("the edge vendor %q", l.Name)
		case LossLink:
			a, b, _ := strings.Cut(l.Name, ".")
			name = fmt.Sprintf("the link between %q and %q", a, b)
		case LossNode, LossSite, LossProvider:
		}
		words[i] = name
	}
	if len(words) == 1 {
		return words[0]
	}
	return fmt.Sprintf("%s, which is all of %s", words[0], strings.Join(words[1:], " and "))
}
