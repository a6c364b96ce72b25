package clustermap

import (
	"maps"
	"slices"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// roles returns the parts that a node has, in the order of databases, pairs and load balancers, each by name.
func roles(node string, s api.ClusterStatus) []Role {
	var out []Role
	for _, name := range slices.Sorted(maps.Keys(s.Databases)) {
		if m, ours := s.Databases[name].Members[node]; ours {
			r := databaseRole(m)
			r.Name = name
			out = append(out, r)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Pairs)) {
		p := s.Pairs[name]
		if side, ours := p.Sides[node]; ours {
			r := pairRole(side)
			r.Name, r.Role = name, "follower"
			if p.Leader == node {
				r.Role = "leader"
			}
			out = append(out, r)
		}
	}
	for _, hostname := range slices.Sorted(maps.Keys(s.LoadBalancers)) {
		if n, ours := s.LoadBalancers[hostname].Nodes[node]; ours {
			out = append(out, Role{Kind: RoleLoadBalancer, Name: hostname, Role: "edge", State: string(n.State), Level: servingLevel(n.State)})
		}
	}
	return out
}

func databaseRole(m api.DatabaseMemberView) Role {
	r := Role{Kind: RoleDatabase, Role: "voter", State: string(m.State), Level: Degraded}
	switch {
	case m.Role == spec.MemberClient:
		r.Role = "client"
	case m.Primary && !m.Stale:
		r.Role = "primary"
	case m.State == spec.MemberOnline || m.State == spec.MemberRecovering || m.State == spec.MemberBlocked:
		r.Role = "secondary"
	}
	switch {
	case m.Stale || m.State == api.MemberUnknown:
		r.Level, r.State = Unknown, string(api.MemberUnknown)
		if r.Role == "secondary" {
			r.Role = "voter"
		}
	case m.State == spec.MemberDown || m.State == spec.MemberFailed || m.State == spec.MemberStranded:
		r.Level = Down
	case m.State == spec.MemberOnline || m.State == spec.MemberClientOnly:
		// Without a way to a server that takes writes, applications on the node are as good as without the database.
		if m.Problem == "" && m.Router.Running && m.Router.Writable {
			r.Level = Good
		}
	}
	return r
}

func pairRole(side api.PairSideView) Role {
	r := Role{Kind: RolePair, State: string(side.State), Level: Degraded}
	switch {
	case side.Stale || side.State == api.PairUnknown:
		r.Level, r.State = Unknown, string(api.PairUnknown)
	case side.State == spec.PairFailed:
		r.Level = Down
	case side.Problem == "" && (side.State == spec.PairSynced || side.State == spec.PairSyncing || side.State == spec.PairStandingBy):
		r.Level = Good
	}
	return r
}

func servingLevel(s api.ServingState) Level {
	switch s {
	case api.ServingIn:
		return Good
	case api.ServingKept:
		return Degraded
	case api.ServingOut:
		return Down
	case api.ServingMaintenance, api.ServingDisabled:
		return Paused
	case api.ServingUnknown:
	}
	return Unknown
}
