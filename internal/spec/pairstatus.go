package spec

import "time"

// PairState is how a node's side of a pair is.
type PairState string

// The states of a pair's side.
const (
	// PairStarting is before the first synchronization has ended since the programs started, or since the node was cut off or in maintenance.
	PairStarting PairState = "starting"
	// PairSynced is when every change that was seen is on both sides.
	PairSynced PairState = "synced"
	// PairSyncing is while changes are on their way.
	PairSyncing PairState = "syncing"
	// PairStandingBy is while the pair carries nothing over, since another one does: it is ready to.
	PairStandingBy PairState = "standby"
	// PairDisconnected is while the other node is not to be reached. Changes wait.
	PairDisconnected PairState = "disconnected"
	// PairFailed is when something has to be done: PairStatus.Problem says what.
	PairFailed PairState = "failed"
)

// PairStates lists every state.
func PairStates() []PairState {
	return []PairState{PairStarting, PairSynced, PairSyncing, PairStandingBy, PairDisconnected, PairFailed}
}

// PairDebt is what has happened to a side since it was last found equal with the other.
type PairDebt string

// What may have happened, the graver ones last.
const (
	// PairOwesStart is a start of the side's programs: nothing is known of what has happened before.
	PairOwesStart PairDebt = "start"
	// PairOwesCut is that the node was cut off from its cluster, which went on without it.
	PairOwesCut PairDebt = "cut"
	// PairOwesMaintenance is a maintenance, whose end the operator wants to be seen by users only when everything is everywhere.
	PairOwesMaintenance PairDebt = "maintenance"
)

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
	// Lately sums up the canaries of the last hour, nil where there was none.
	Lately *PairPropagation `json:"lately,omitempty"`
	// Carried is what the side has exchanged with the other, nil while its programs do not run.
	Carried *PairCarried `json:"carried,omitempty"`
	// Conflicts is how many kept copies of conflicting versions are in the tree, ConflictPaths the first of them by name.
	Conflicts     int      `json:"conflicts,omitempty"`
	ConflictPaths []string `json:"conflict_paths,omitempty"`
	// Watching is how changes are noticed, in a word: fanotify or inotify.
	Watching string `json:"watching,omitempty"`
	// Problem is what is wrong and what to do, "" for nothing.
	Problem string `json:"problem,omitempty"`
	// Warning is what will be wrong, or is bearable, and what to do; "" for nothing.
	Warning string `json:"warning,omitempty"`
	// Short tells that some of the changes have no room on one of the sides. Only the side that leads knows that.
	Short bool `json:"short,omitempty"`
	// Full tells that there is hardly any room left for this side.
	Full bool `json:"full,omitempty"`
	// StandsIn is since when the pair stands in for others, zero while it does not. Only the side that does not lead says so.
	StandsIn time.Time `json:"stands_in,omitzero"`
	// Owes is why this side has to be found equal with the other before its node serves, "" for nothing.
	Owes PairDebt `json:"owes,omitempty"`
	// Cold is what is moved to the cold root, nil without one.
	Cold *ColdStatus `json:"cold,omitempty"`
	// After is how far the node is with the command after changes, nil without one.
	After *AfterStatus `json:"after_change,omitempty"`
}

// ColdStatus is how a node's side of a pair moves old directories.
type ColdStatus struct {
	// Directories are those that are moved, Due how many are old enough and are not.
	Directories int `json:"directories"`
	Due         int `json:"due,omitempty"`
	// Bytes is the size of all files in the cold root, Kept how many replaced versions of files are among them.
	Bytes int64 `json:"bytes"`
	Kept  int   `json:"kept,omitempty"`
	// Orphaned is how many directories in the cold root have a date by the pattern and nothing in their place in the tree: their links were removed.
	Orphaned int `json:"orphaned,omitempty"`
	// Last is when the last run of this node's ended, zero for none, and Took how long that took, in seconds. Only the node that leads has
	// runs while both nodes are there.
	Last time.Time `json:"last,omitzero"`
	Took float64   `json:"took_s,omitempty"`
	// Waiting is why the first of the directories that are due were not moved, where that may change by itself.
	Waiting string `json:"waiting,omitempty"`
	// Problem is what is wrong and what to do, "" for nothing.
	Problem string `json:"problem,omitempty"`
}
