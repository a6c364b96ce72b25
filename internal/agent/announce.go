package agent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// announce tells the console what a node that has joined still waits for, until it has been in touch with all its peers
// once. From then on the cluster itself reports of the node; a console is for whoever stands before a machine that is not
// in the cluster yet. It is called by observe alone.
func (s *session) announce(in input) {
	if s.announced {
		return
	}
	s.mu.Lock()
	running, reachable, peers := s.running, s.reachable, s.peers
	s.mu.Unlock()
	self := fmt.Sprintf("node %s of cluster %s", s.m.record.Node, s.m.record.Cluster)
	joined, applied := s.keeper.get(spec.ConditionJoined), s.keeper.get(spec.ConditionApplied)
	network := ""
	if reachable == 0 {
		network = s.a.cfg.Network()
	}
	var text, key string
	switch {
	case joined.Status == spec.ConditionFalse:
		key, text = joined.Reason, joined.Message
	case applied.Status == spec.ConditionFalse:
		key, text = applied.Reason+applied.Message, applied.Message
	case in.view == nil:
		key, text = "objects", "its description from the cluster: the operator's next apply, a seed or another node brings it"
	case !running:
		key, text = "mesh", "its mesh to start"
	case reachable < peers:
		missing := s.missing()
		key = strings.Join(missing, ",")
		text = fmt.Sprintf("its peers: %s of %d do not answer", strings.Join(missing, ", "), peers)
	case peers == 0 && len(s.seeds()) > 0:
		seeds := strings.Join(s.seeds(), ", ")
		key, text = seeds, "its cluster: nobody has answered yet at "+seeds
	case peers == 0:
		s.a.herald.tell("alone", self+" is up: it has no peers yet")
		return
	default:
		s.announced = true
		s.a.herald.done(fmt.Sprintf("%s is up: all %d peers answer", self, peers))
		return
	}
	if network != "" {
		key += network
		text += "; no network: " + network
	}
	s.a.herald.tell(key, fmt.Sprintf("%s waits for %s", self, text))
}

// missing returns the names of the peers that do not answer, sorted.
func (s *session) missing() []string {
	_, peers, _ := s.keeper.snapshot()
	var out []string
	for name, p := range peers {
		if !p.Reachable {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
