package agent

import (
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// reunionPatience is how long a peer that was found dead may answer at its public address without being reached over the mesh until
// its silence there counts as the mesh's. Reaching each other again takes the mesh three to five seconds.
const reunionPatience = 10 * time.Second

// lostPeers is when each peer was last found dead. One goroutine uses it.
type lostPeers map[string]time.Time

// findsOthersDead tells whether every other node of a load balancer that this one does not reach over the mesh is silent at its public
// address as well. Then this node cannot tell whether it has lost the others or they have lost it: it may be the last one that is
// there. Those that the operator has taken out do not count.
func (s *session) findsOthersDead(lb topology.LoadBalancer, in input, peers map[string]spec.PeerStatus) bool {
	s.mu.Lock()
	running := s.running
	s.mu.Unlock()
	var names []string
	for _, p := range lb.Peers {
		if _, away := in.snapshot.Maintenance[p.Name]; !away {
			names = append(names, p.Name)
		}
	}
	return running && s.lost.all(names, peers, s.public.unanswered, time.Now())
}

// found drops what is known of the deaths of peers that are reached. Who died, came back and is then lost to the mesh alone lives.
func (l lostPeers) found(peers map[string]spec.PeerStatus) {
	for name := range l {
		if peers[name].Reachable {
			delete(l, name)
		}
	}
}

// all tells whether each of the peers that are not reached is dead, or was until a moment ago, and that there is one. A peer that has not
// answered what it was asked last at its public address is about to be found dead, or to answer: the mesh may notice a death first.
func (l lostPeers) all(names []string, peers map[string]spec.PeerStatus, unanswered func(string) bool, now time.Time) bool {
	some, others := false, false
	for _, name := range names {
		seen := peers[name]
		switch {
		case seen.Reachable:
			continue
		case seen.Public != nil && seen.Public.Dead:
			l[name] = now
		}
		if at, was := l[name]; was && now.Sub(at) < reunionPatience || unanswered(name) {
			some = true
		} else {
			others = true
		}
	}
	return some && !others
}
