package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// MemberUnknown is the state of a member whose node says nothing of it.
const MemberUnknown spec.MemberState = "unknown"

// DatabaseView is a database in the status of its cluster.
type DatabaseView struct {
	Engine spec.DatabaseEngine `json:"engine"`
	// Version is what the members are to run, "" for any.
	Version string `json:"version,omitempty"`
	// Primary is the node that takes writes, "" for none. Since is when it began to, as far as that is known.
	Primary string    `json:"primary,omitempty"`
	Since   time.Time `json:"since"`
	// Votes is how many members vote, Online how many of them are in the group and up to date.
	Votes  int `json:"votes"`
	Online int `json:"online"`
	// Members are all of them, those without a vote included, by node.
	Members map[string]DatabaseMemberView `json:"members"`
	// Incarnation is the newest life of the group that anybody knows of. NextIncarnation is what an operator's decision about
	// an outage has to name: one that nobody has promised yet either.
	Incarnation     uint64 `json:"incarnation"`
	NextIncarnation uint64 `json:"next_incarnation"`
	// Outage tells that no voting member is in a group that could take writes, as far as anybody has been heard of.
	Outage bool `json:"outage,omitempty"`
	// Recovery is what the operator has decided about an outage last.
	Recovery *spec.Recovery `json:"recovery,omitempty"`
	// Rollout is the change that restarts members, nil while there is none.
	Rollout *RolloutView `json:"rollout,omitempty"`
}

// DatabaseMemberView is a node's part in a database.
type DatabaseMemberView struct {
	Role   spec.MemberRole `json:"role"`
	Weight int             `json:"weight"`
	// State is MemberUnknown while the node says nothing of it.
	State spec.MemberState `json:"state"`
	// Since is when State began, as far as that is known.
	Since time.Time `json:"since"`
	// Problem is what is wrong and what to do, Progress what long work has reached.
	Problem  string `json:"problem,omitempty"`
	Progress string `json:"progress,omitempty"`
	// Findings are what speaks against the member's being in the group, or keeps it out.
	Findings []spec.Finding `json:"findings,omitempty"`
	// Primary tells that the member takes writes.
	Primary bool   `json:"primary,omitempty"`
	Version string `json:"version,omitempty"`
	// Lag is how far the member is behind the primary, in seconds; Queue how many transactions wait to be applied.
	Lag   float64 `json:"lag_seconds"`
	Queue int     `json:"queue"`
	// Position is the data that the member has, in the engine's own form, said while it is in no group. Incarnation is the
	// newest life of the group that it knows of, Base what that began with.
	Position    string `json:"position,omitempty"`
	Incarnation uint64 `json:"incarnation,omitempty"`
	Base        string `json:"base,omitempty"`
	// Promised is the member that this one has promised to follow into the group's next life.
	Promised string `json:"promised,omitempty"`
	// Seen is when the node was last heard of, zero for never; Stale tells that this is too long ago to believe the rest.
	Seen  time.Time `json:"seen"`
	Stale bool      `json:"stale,omitempty"`
	// RestartNeeded tells that the server runs with other settings than it should, until it is restarted.
	RestartNeeded bool `json:"restart_needed,omitempty"`
	// Router is how applications on the node reach the database.
	Router spec.RouterStatus `json:"router"`
}

// RolloutView is a change that restarts members one at a time.
type RolloutView struct {
	// Done and Waiting are the voting members that run with the new settings and those that do not yet, sorted.
	Done    []string `json:"done"`
	Waiting []string `json:"waiting"`
	// Turn is the member that restarts now, "" for none.
	Turn string `json:"turn,omitempty"`
	// Stopped is why the rollout does not go on, "" while it does.
	Stopped string `json:"stopped,omitempty"`
}

// databaseView returns a database as the nodes report it.
func (out *ClusterStatus) databaseView(name string, d spec.Database, s *store.Snapshot, now time.Time) DatabaseView {
	v := DatabaseView{Engine: d.Engine, Version: d.Version, Votes: d.Votes, Members: map[string]DatabaseMemberView{}}
	if r, ok := s.Recoveries[name]; ok {
		v.Recovery = &r
	}
	var turn spec.RolloutStatus
	for _, m := range s.DatabaseMembers {
		if m.Database != name {
			continue
		}
		member := out.databaseMember(name, m, s)
		member.Since = notAfter(member.Since, now)
		member.Router.Since = notAfter(member.Router.Since, now)
		v.Members[m.Node] = member
		reported := s.Statuses[m.Node].Databases[name]
		v.Incarnation = max(v.Incarnation, reported.Incarnation)
		v.NextIncarnation = max(v.NextIncarnation, promised(reported)+1)
		if member.Primary && !member.Stale {
			v.Primary, v.Since, turn = m.Node, member.Since, reported.Rollout
		}
		if m.Role == spec.MemberVoter && !member.Stale && member.State == spec.MemberOnline {
			v.Online++
		}
	}
	if v.Recovery != nil {
		v.NextIncarnation = max(v.NextIncarnation, v.Recovery.Incarnation+1)
	}
	v.NextIncarnation = max(v.NextIncarnation, 2)
	v.Outage = v.Incarnation > 0 && v.Online == 0
	v.Rollout = v.rollout(turn)
	return v
}

// promised returns the newest life that a member has begun, promised or proposed.
func promised(s spec.DatabaseStatus) uint64 {
	n := s.Incarnation
	if s.Outage == nil {
		return n
	}
	for _, p := range []*spec.RecoveryProposal{s.Outage.Proposal, s.Outage.Promise} {
		if p != nil {
			n = max(n, p.Incarnation)
		}
	}
	return n
}

func (out *ClusterStatus) databaseMember(name string, m spec.Member, s *store.Snapshot) DatabaseMemberView {
	v := DatabaseMemberView{Role: m.Role, Weight: m.Weight, State: MemberUnknown}
	node := out.Nodes[m.Node]
	v.Seen, v.Stale = node.Received, node.State != NodeReady && node.State != NodeNotReady
	r, reported := s.Statuses[m.Node].Databases[name]
	if !reported {
		return v
	}
	v.State, v.Since, v.Problem, v.Progress, v.Version = r.State, r.Since, r.Problem, r.Progress, r.Version
	v.Primary, v.Lag, v.Queue, v.Position, v.Incarnation, v.Router = r.Writable, r.Lag, r.Queue, r.Position, r.Incarnation, r.Router
	v.Findings, v.RestartNeeded = r.Findings, r.Rollout.Running != r.Rollout.Wanted
	if r.Outage != nil {
		v.Base = r.Outage.Base
		if r.Outage.Promise != nil {
			v.Promised = r.Outage.Promise.Leader
		}
	}
	return v
}

// rollout returns the change that is on its way, nil for none. What the primary says of it is given.
func (v DatabaseView) rollout(primary spec.RolloutStatus) *RolloutView {
	r := RolloutView{Turn: primary.Turn, Stopped: primary.Stopped, Done: []string{}, Waiting: []string{}}
	for _, node := range slices.Sorted(maps.Keys(v.Members)) {
		switch m := v.Members[node]; {
		case m.Role != spec.MemberVoter:
		case m.RestartNeeded:
			r.Waiting = append(r.Waiting, node)
		default:
			r.Done = append(r.Done, node)
		}
	}
	if len(r.Waiting) == 0 && r.Turn == "" && r.Stopped == "" {
		return nil
	}
	return &r
}

// judge says what is wrong with the database. Of a node that is itself what is wrong, its reason is said elsewhere.
func (v DatabaseView) judge(name string, nodes map[string]NodeView) []string {
	var reasons []string
	voters := 0
	var missing []string
	for _, node := range slices.Sorted(maps.Keys(v.Members)) {
		m := v.Members[node]
		if m.Role != spec.MemberVoter {
			continue
		}
		voters++
		if m.Stale {
			state := nodes[node].State
			if state == "" {
				state = "not in the cluster"
			}
			missing = append(missing, fmt.Sprintf("%s (its node is %s)", node, state))
		} else if m.State != spec.MemberOnline {
			missing = append(missing, fmt.Sprintf("%s (%s)", node, m.State))
		}
	}
	switch {
	case v.Primary != "":
	case v.Outage:
		reasons = append(reasons, fmt.Sprintf("database %s: no member takes writes and none is online: %s", name, strings.Join(missing, ", ")))
	case v.Incarnation == 0:
		reasons = append(reasons, fmt.Sprintf("database %s: it has not begun yet", name))
	default:
		reasons = append(reasons, fmt.Sprintf("database %s: no member takes writes", name))
	}
	if voters != v.Votes {
		reasons = append(reasons, fmt.Sprintf("database %s: %d voting members are described, and its votes are %d", name, voters, v.Votes))
	}
	if len(missing) > 0 && !v.Outage {
		reasons = append(reasons, fmt.Sprintf("database %s: %d of %d members are online; not %s", name, v.Online, v.Votes, strings.Join(missing, ", ")))
	}
	if v.Rollout != nil && v.Rollout.Stopped != "" {
		reasons = append(reasons, fmt.Sprintf("database %s: the rollout has stopped: %s", name, v.Rollout.Stopped))
	}
	return reasons
}
