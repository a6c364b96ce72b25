package database

import (
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// State is one word for how a database is.
type State string

// The states of a database.
const (
	// New has not begun: members are missing or have not all been heard.
	New State = "new"
	// Online has all voting members.
	Online State = "online"
	// Degraded takes writes and misses members.
	Degraded State = "degraded"
	// Blocked has members that are there, none of which takes writes.
	Blocked State = "blocked"
	// Outage has no member that is online.
	Outage State = "outage"
	// Unknown is that of a database of which no node says anything.
	Unknown State = "unknown"
)

// StateOf returns the state of a database in one word.
func StateOf(v api.DatabaseView) State {
	switch {
	case v.Primary != "" && v.Online >= v.Votes:
		return Online
	case v.Primary != "":
		return Degraded
	case v.Incarnation == 0:
		return New
	case v.Outage:
		return Outage
	default:
		return Blocked
	}
}

// The roles of members as they are.
const (
	Primary   = "primary"
	Secondary = "secondary"
	Client    = "client"
)

// RoleOf returns what a member does now.
func RoleOf(m api.DatabaseMemberView) string {
	switch {
	case m.Role == spec.MemberClient:
		return Client
	case m.Primary && !m.Stale:
		return Primary
	default:
		return Secondary
	}
}

// StateOfMember returns what a member is doing, unknown for one that has not been heard of lately.
func StateOfMember(m api.DatabaseMemberView) spec.MemberState {
	if m.Stale || m.State == "" {
		return api.MemberUnknown
	}
	return m.State
}

// LagOf returns how far a member is behind, null where nobody knows.
func LagOf(m api.DatabaseMemberView) types.Float64 {
	if s := StateOfMember(m); s != spec.MemberOnline && s != spec.MemberRecovering {
		return types.Float64Null()
	}
	return types.Float64Value(m.Lag)
}

// Observe sets what was observed. A nil view means that nothing is known.
func (m *Model) Observe(v *api.DatabaseView) {
	t := types.ObjectType{AttrTypes: memberTypes()}
	m.State, m.Primary, m.Incarnation = types.StringValue(string(Unknown)), types.StringNull(), types.Int64Null()
	m.Members = types.MapValueMust(t, map[string]attr.Value{})
	if v == nil {
		return
	}
	m.State, m.Incarnation = types.StringValue(string(StateOf(*v))), types.Int64Value(int64(min(v.Incarnation, 1<<62)))
	if v.Primary != "" {
		m.Primary = types.StringValue(v.Primary)
	}
	members := map[string]attr.Value{}
	for node, one := range v.Members {
		members[node] = types.ObjectValueMust(memberTypes(), map[string]attr.Value{
			"role": types.StringValue(RoleOf(one)), "state": types.StringValue(string(StateOfMember(one))), "lag": LagOf(one),
		})
	}
	m.Members = types.MapValueMust(t, members)
}
