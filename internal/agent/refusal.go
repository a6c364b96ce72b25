package agent

import (
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// refusalInput is what the decision to refuse connections follows from.
type refusalInput struct {
	balancers []topology.LoadBalancer
	// fit returns how fit this node is, and whether that is known.
	fit func(hostname string) (spec.ServingStatus, bool)
	// statuses are what the other nodes report, received when that arrived; peers is how this node sees them.
	statuses map[string]spec.Status
	received map[string]time.Time
	peers    map[string]spec.PeerStatus
	// out returns the nodes that get no traffic from the vendor.
	out func(topology.LoadBalancer) []string
	now time.Time
	// kept tells whether a floor has kept this node in service until lately.
	kept func(hostname string) bool
	// before are the ports that are refused now.
	before []int
}

// refusedPorts returns the ports of local proxies that this node refuses strangers at: those of load balancers that it is unfit
// to serve, while it knows of a fit node that takes what comes. An edge sends its traffic somewhere even when it finds every
// node unwell, and then a node that might still answer must not refuse it. Of a port that several share, all must be refused.
// While nothing is known yet, as after a start of the agent, a port stays as it is.
func refusedPorts(in refusalInput) []int {
	refuse := map[int]bool{}
	for _, b := range in.balancers {
		if b.Proxy == nil {
			continue
		}
		own, known := in.fit(b.Hostname)
		for _, port := range []int{b.Proxy.Port, b.Proxy.TLSPort} {
			if port == 0 {
				continue
			}
			want := !own.Fit && in.othersServe(b, own)
			if !known {
				want = slices.Contains(in.before, port)
			}
			if before, shared := refuse[port]; shared {
				want = want && before
			}
			refuse[port] = want
		}
	}
	var out []int
	for port, is := range refuse {
		if is {
			out = append(out, port)
		}
	}
	slices.Sort(out)
	return out
}

// othersServe tells whether another node serves a load balancer, as far as this one knows: it said not long ago that it is fit,
// and has not fallen silent since, in the mesh or in public, nor is it removed at the vendor. A node that hears nobody at all is no
// judge of who is silent in the mesh. In public it need not be: not to refuse what another node would have taken costs little,
// since the proxy passes it on.
//
// A node whose proxy can do that refuses nobody for the sake of one that is no better: that is kept in service by a floor, or has the same
// trouble and calls itself fit for a moment longer. Not all would find that one, since an edge tries one other node, which may refuse
// as well. Nor does a node refuse that was kept itself until lately: to the edge it may be the only one that is well.
func (in refusalInput) othersServe(b topology.LoadBalancer, own spec.ServingStatus) bool {
	passing := passesOn(own)
	if passing && in.kept(b.Hostname) {
		return false
	}
	heard := false
	for _, p := range in.peers {
		heard = heard || p.Reachable || p.Alive
	}
	out := in.out(b)
	for _, p := range b.Peers {
		report, at := in.statuses[p.Name], in.received[p.Name]
		seen := in.peers[p.Name]
		silent := heard && !seen.Reachable && !seen.Alive
		hidden := seen.Public != nil && !seen.Public.Answers
		serving := report.Serving[b.Hostname]
		if passing && (serving.Kept || own.Node == partDatabase && lostDatabase(report) || own.Node == "" && serving.Application != "") {
			continue
		}
		if p.Enabled && serving.Fit && api.Fresh(at, in.now) && !silent && !hidden && !slices.Contains(out, p.Name) {
			return true
		}
	}
	return false
}

// passesOn tells whether the proxy of a node with some trouble can pass requests on to others.
func passesOn(own spec.ServingStatus) bool {
	return own.Node == partDatabase || own.Node == partFiles || own.Node == "" && own.Application != ""
}
