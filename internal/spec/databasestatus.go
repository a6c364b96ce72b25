package spec

import "time"

// MemberState is what a node's part in a database is doing.
type MemberState string

// The states of members.
const (
	// MemberPreparing is installing, configuring or starting the server, and waiting to be let in.
	MemberPreparing MemberState = "preparing"
	// MemberRecovering is in the group and is still taking over what it has missed.
	MemberRecovering MemberState = "recovering"
	// MemberOnline is in the group and up to date.
	MemberOnline MemberState = "online"
	// MemberBlocked is in the group but sees less than a majority of it: it takes no writes, and waits.
	MemberBlocked MemberState = "blocked"
	// MemberStranded has data and a server that runs, but is in no group, and knows of no group to join.
	MemberStranded MemberState = "stranded"
	// MemberFailed is in no group and cannot join it; Problem says why.
	MemberFailed MemberState = "failed"
	// MemberDown has no server that answers.
	MemberDown MemberState = "down"
	// MemberClientOnly has no data: it runs the router only.
	MemberClientOnly MemberState = "client"
)

// MemberStates lists every state.
func MemberStates() []MemberState {
	return []MemberState{
		MemberPreparing, MemberRecovering, MemberOnline, MemberBlocked, MemberStranded, MemberFailed, MemberDown, MemberClientOnly,
	}
}

// DatabaseStatus is what a node reports of its part in one database.
type DatabaseStatus struct {
	State MemberState `json:"state"`
	// Since is when State last changed.
	Since time.Time `json:"since"`
	// Problem is what is wrong and what to do, "" for nothing. Progress is what long work has reached, such as a copy.
	Problem  string `json:"problem,omitempty"`
	Progress string `json:"progress,omitempty"`
	// Findings are what speaks against the member's being in the group, or keeps it out.
	Findings []Finding `json:"findings,omitempty"`
	// Version is the server's version.
	Version string `json:"version,omitempty"`
	// Primary is the node that takes writes, as this member's server sees it, "" for none. Writable tells that this member
	// takes them itself.
	Primary  string `json:"primary,omitempty"`
	Writable bool   `json:"writable,omitempty"`
	// Unfit is why the member should not be the primary although its server goes on, "" for nothing.
	Unfit string `json:"unfit,omitempty"`
	// View is how the engine at this member sees each member of the group, by node. Empty while it is in none.
	View map[string]MemberState `json:"view,omitempty"`
	// Lag is how far the member is behind the primary, in seconds; Queue how many transactions wait to be applied.
	Lag   float64 `json:"lag_seconds,omitempty"`
	Queue int     `json:"queue,omitempty"`
	// Position is the data that the member has, in the engine's own form. It is only reported while it does not move: by
	// members that are in no group.
	Position string `json:"position,omitempty"`
	// Incarnation counts the lives of the group that this member knows of: 1 after its bootstrap, one more after each full
	// outage. 0 before the first.
	Incarnation uint64 `json:"incarnation,omitempty"`
	// Outage is this member's part in the recovery from a full outage; nil while there is none.
	Outage *OutageStatus `json:"outage,omitempty"`
	// Rollout is this member's part in a change that restarts members.
	Rollout RolloutStatus `json:"rollout,omitzero"`
	// Router is how applications on this node reach the database.
	Router RouterStatus `json:"router,omitzero"`
}

// Finding is one thing that a look at a member before it joined has found.
type Finding struct {
	// Check is one word, such as "disk" or "primary-keys".
	Check string `json:"check"`
	// Blocks tells that the member does not join because of it.
	Blocks bool `json:"blocks,omitempty"`
	// Message says what is wrong, where, and what to do.
	Message string `json:"message"`
}

// OutageStatus is what a stranded member says so that all of them together can begin the group's next life.
type OutageStatus struct {
	// ID is made anew each time that the member is stranded or starts: what was said under another one does not count.
	ID string `json:"id"`
	// Base is the position with which the newest life of the group began that this member knows of. Nothing less may begin
	// another one.
	Base string `json:"base,omitempty"`
	// Proposal is the next life as this member would begin it; only one that has heard all members makes one.
	Proposal *RecoveryProposal `json:"proposal,omitempty"`
	// Promise is the proposal of another member that this one has promised, on its disk, to follow.
	Promise *RecoveryProposal `json:"promise,omitempty"`
}

// RecoveryProposal is one way to begin the next life of a group.
type RecoveryProposal struct {
	Incarnation uint64 `json:"incarnation"`
	// Leader begins it, with the data that it has at Position.
	Leader   string `json:"leader"`
	Position string `json:"position"`
	// Heard holds the outage IDs of the members that were heard, by node: all of them, but those that the operator gave up.
	Heard map[string]string `json:"heard"`
}

// RolloutStatus is a member's part in a change that restarts members, which goes one member at a time.
type RolloutStatus struct {
	// Generation is that of the database's object that the member's server was told last.
	Generation uint64 `json:"generation,omitempty"`
	// Running is the digest of the settings that the member's server runs with, Wanted of those that it should.
	Running string `json:"running,omitempty"`
	Wanted  string `json:"wanted,omitempty"`
	// Turn is the member that the primary lets restart now, so that it runs with the settings of this digest; only the primary
	// gives turns. A turn for other settings than the member wants by now is over.
	Turn    string `json:"turn,omitempty"`
	TurnFor string `json:"turn_for,omitempty"`
	// Stopped is why the rollout does not go on, "" while it does.
	Stopped string `json:"stopped,omitempty"`
}

// RouterStatus is a node's router as it is.
type RouterStatus struct {
	Running bool `json:"running"`
	// Writer is the node that connections for writes are led to, "" for none.
	Writer string `json:"writer,omitempty"`
	// Writable tells that a connection through the router reaches a server that takes writes.
	Writable bool      `json:"writable"`
	Since    time.Time `json:"since"`
	Problem  string    `json:"problem,omitempty"`
}
