package edge

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Sight is what one node knows of the nodes of one load balancer at one moment.
type Sight struct {
	// Self is the node whose sight this is.
	Self     string
	Hostname string
	// Balancer must have Removal.
	Balancer spec.LoadBalancer
	// Balancers is how many load balancers this node looks after: they share the vendor's limit of requests. 0 counts as 1.
	Balancers int
	// Reports are the nodes' statuses that are fresh, by the nodes' names; this node's own is how things are now.
	Reports map[string]spec.Status
}

// Agreement is what most nodes of a load balancer find, as far as one of them knows.
type Agreement struct {
	// Dead holds the nodes that a quorum sees dead, and who does; Well those that a quorum sees well, and who does. A node that is
	// in neither is nobody's business: it is judged by its own health and the vendor's monitors.
	Dead, Well map[string][]string
	// Actors are the nodes that can act at the vendor, in the order in which they are to do so.
	Actors []string
}

// Quorum is how many of a load balancer's nodes must agree: more than half of all of them, dead ones included. So two parts of a
// cluster that cannot see each other never both decide.
func Quorum(nodes int) int { return nodes/2 + 1 }

// Agree returns what the nodes agree on. It is pure.
func Agree(s Sight) Agreement {
	nodes := slices.Sorted(maps.Keys(s.Balancer.Nodes))
	out := Agreement{Dead: map[string][]string{}, Well: map[string][]string{}}
	if len(nodes) < spec.MinRemovalNodes {
		return out
	}
	heard := slices.DeleteFunc(slices.Clone(nodes), func(name string) bool { return !s.hears(name) })
	quorum := Quorum(len(nodes))
	for _, name := range nodes {
		var dead, well []string
		for _, observer := range heard {
			switch p := s.Reports[observer].Peers[name]; {
			case observer == name:
				// It cannot say that it is dead, and its word that it is fit is needed, not only asked for.
				if s.fit(name) {
					well = append(well, observer)
				}
			case p.Public == nil:
			case p.Public.Dead:
				dead = append(dead, observer)
			case p.Public.Answers && p.Reachable:
				well = append(well, observer)
			}
		}
		if len(dead) >= quorum {
			out.Dead[name] = dead
		}
		if len(well) >= quorum && slices.Contains(well, name) {
			out.Well[name] = well
		}
	}
	out.Actors = s.actors(heard, out.Dead)
	return out
}

// hears tells whether what a node reports counts: this node has a fresh report of it and does not find it silent itself. What a
// node said before it died, or before it was cut off, says nothing of how the others are now.
func (s Sight) hears(name string) bool {
	if _, fresh := s.Reports[name]; !fresh {
		return false
	}
	if name == s.Self {
		return true
	}
	p := s.Reports[s.Self].Peers[name]
	return (p.Public == nil || !p.Public.Dead) && (p.Reachable || p.Alive)
}

// fit tells whether a node finds itself fit to serve. One that says nothing of this load balancer has not judged yet.
func (s Sight) fit(name string) bool {
	serving, judged := s.Reports[name].Serving[s.Hostname]
	return judged && serving.Fit
}

// actors returns those that have a token, the ones whose token did not fail them lately first, each by name.
func (s Sight) actors(heard []string, dead map[string][]string) []string {
	var out []string
	for _, name := range heard {
		if s.Balancer.Removal != nil && s.Balancer.Removal.Tokens[name] != "" && dead[name] == nil {
			out = append(out, name)
		}
	}
	hindered := func(name string) int {
		if c, ok := s.Reports[name].Condition(spec.ConditionEdgeReady); ok && c.Status == spec.ConditionFalse {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(out, func(a, b string) int {
		return cmp.Or(cmp.Compare(hindered(a), hindered(b)), strings.Compare(a, b))
	})
	return out
}
