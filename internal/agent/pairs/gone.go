package pairs

import "github.com/atollhq/terraform-provider-atoll/internal/spec"

// Gone tells whether more than half of a cluster's members find a node dead: they neither reach it over the mesh nor hear of it. How a member sees others is in its
// status, and for self in peers. What it has said long ago (fresh), or before self has lost it, does not count: so two parts of a cluster that have lost each other
// never both find somebody dead.
func Gone(node, self string, members []string, peers map[string]spec.PeerStatus, statuses map[string]spec.Status, fresh func(member string) bool) bool {
	find := 0
	for _, member := range members {
		if member == node {
			continue
		}
		seen, known := statuses[member].Peers[node]
		if own := peers[member]; member == self {
			seen, known = peers[node]
		} else if !own.Reachable && !own.Alive || !fresh(member) {
			known = false
		}
		if known && !seen.Reachable && !seen.Alive {
			find++
		}
	}
	return 2*find > len(members)
}
