package spec

import "time"

// PairState is how a node's side of a pair is.
type PairState string

// The states of a pair's side.
const (
	// PairStarting is before the first synchronization since the programs started has ended.
	PairStarting PairState = "starting"
	// PairSynced is when every change that was seen is on both sides.
	PairSynced PairState = "synced"
	// PairSyncing is while changes are on their way.
	PairSyncing PairState = "syncing"
	// PairDisconnected is while the other node is not to be reached. Changes wait.
	PairDisconnected PairState = "disconnected"
	// PairFailed is when something has to be done: PairStatus.Problem says what.
	PairFailed PairState = "failed"
)

// PairStates lists every state.
func PairStates() []PairState {
	return []PairState{PairStarting, PairSynced, PairSyncing, PairDisconnected, PairFailed}
}

// PairStatus is a node's side of a pair as it is.
type PairStatus struct {
	State PairState `json:"state"`
	// Since is when State last changed.
	Since time.Time `json:"since"`
	// Synced is when both sides were last found equal, by the clock of the node that reports it.
	Synced time.Time `json:"synced,omitzero"`
	// Pending is how many changed paths wait to be looked at.
	Pending int `json:"pending,omitempty"`
	// Propagation is how long the last canary took from this node to the other and back as a word, in seconds; 0 before the first.
	// Measured is when.
	Propagation float64   `json:"propagation_s,omitempty"`
	Measured    time.Time `json:"measured,omitzero"`
	// Conflicts is how many kept copies of conflicting versions are in the tree, ConflictPaths the first of them by name.
	Conflicts     int      `json:"conflicts,omitempty"`
	ConflictPaths []string `json:"conflict_paths,omitempty"`
	// Watching is how changes are noticed, in a word: fanotify or inotify.
	Watching string `json:"watching,omitempty"`
	// Problem is what is wrong and what to do, "" for nothing.
	Problem string `json:"problem,omitempty"`
}
