package agent

import (
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// server is one node of a load balancer as the floor counts it.
type server struct {
	name string
	// well tells that the node serves in its own right; nodes that are kept in service do not.
	well bool
	// keepable tells that nothing is wrong with the node but its application's check and its database, or that it finds all others
	// dead.
	keepable bool
}

// keptInService returns the nodes that stay in service although their applications are unwell or they have lost the others, because
// fewer than minimum would be left without them: the first by name of those with no other trouble. What makes the check fail on
// every node at once, such as a service that all of them ask, is not made better by taking all of them away, and neither are the
// deaths of others by the silence of whoever is left. The answer is the same wherever the same is known; whoever knows less of the
// others keeps more.
func keptInService(minimum int, servers []server) map[string]bool {
	var candidates []string
	for _, s := range servers {
		switch {
		case s.well:
			minimum--
		case s.keepable:
			candidates = append(candidates, s.name)
		}
	}
	slices.Sort(candidates)
	kept := map[string]bool{}
	for _, name := range candidates[:max(0, min(minimum, len(candidates)))] {
		kept[name] = true
	}
	return kept
}

// others returns the other nodes of a load balancer as the floor counts them. A node that the operator has taken out, one
// that is found dead, one that gets no traffic from the vendor (out), and one whose last report is too old are none to count on.
// A node that has lost its way to the database goes by how theirs is by now: they call themselves unfit only when they have been without
// one for a while, so whoever loses it with all others at once would count on them. A node that has lost the mesh counts on nobody whom it
// does not reach: that gossip still takes them to live, as for some seconds after their deaths, is no reason to step back for them.
func others(lb topology.LoadBalancer, in input, peers map[string]spec.PeerStatus, out []string, now time.Time, problems map[string]string) []server {
	database, apart := problems[partDatabase] != "", problems[partMesh] != ""
	var servers []server
	for _, p := range lb.Peers {
		if apart && !peers[p.Name].Reachable {
			continue
		}
		if _, away := in.snapshot.Maintenance[p.Name]; away || !p.Enabled || slices.Contains(out, p.Name) || !believed(p.Name, in.snapshot, peers, now) {
			continue
		}
		s, lost := in.snapshot.Statuses[p.Name].Serving[lb.Hostname], database && lostDatabase(in.snapshot.Statuses[p.Name])
		servers = append(servers, server{
			name: p.Name, well: s.Fit && s.Node == "" && s.Application == "" && !lost,
			keepable: s.Kept || !s.Barred && (s.Node == partDatabase || s.Node == partFiles || s.Node == "" && (s.Application != "" || lost)),
		})
	}
	slices.SortFunc(servers, func(a, b server) int { return strings.Compare(a.name, b.name) })
	return servers
}

// lostDatabase tells whether some database's router on a node leads to no member that takes writes, or none runs.
func lostDatabase(status spec.Status) bool {
	for _, d := range status.Databases {
		if !d.Router.Writable {
			return true
		}
	}
	return false
}

// hearsAll tells whether this node knows of every other node of a load balancer how that is now, but for those that get no traffic: by
// the operator's will, or because a majority has found them dead.
func hearsAll(lb topology.LoadBalancer, in input, peers map[string]spec.PeerStatus, out []string, now time.Time) bool {
	return !slices.ContainsFunc(lb.Peers, func(p topology.ServingPeer) bool {
		_, away := in.snapshot.Maintenance[p.Name]
		return !away && p.Enabled && !slices.Contains(out, p.Name) && !believed(p.Name, in.snapshot, peers, now)
	})
}

// believed tells whether what a peer last reported is still true as far as this node can see.
func believed(name string, snapshot *store.Snapshot, peers map[string]spec.PeerStatus, now time.Time) bool {
	if seen, looked := peers[name]; looked && !seen.Reachable && !seen.Alive {
		return false
	}
	received, reported := snapshot.Received[name]
	return reported && api.Fresh(received, now)
}
