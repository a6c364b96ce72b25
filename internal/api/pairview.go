package api

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// PairUnknown is the state of a pair's side whose node says nothing of it, or has not been heard of for too long to believe it.
const PairUnknown spec.PairState = "unknown"

// PairView is a pair of directory trees in the status of its cluster.
type PairView struct {
	Driver spec.ReplicationDriver `json:"driver"`
	// Leader is the node that drives the synchronization.
	Leader string `json:"leader"`
	// StandsInFor is the node that a standby pair stands in for, "" for other pairs, and StandsIn since when it does, zero while it does not.
	StandsInFor string    `json:"stands_in_for,omitempty"`
	StandsIn    time.Time `json:"stands_in,omitzero"`
	// State is the state of the side that needs more attention, and Since when that began.
	State spec.PairState `json:"state"`
	Since time.Time      `json:"since"`
	// Synced is when both sides were last found equal, zero for never.
	Synced time.Time `json:"synced,omitzero"`
	// Propagation is how long the last change that was measured took to the other node, in seconds, of both ways the slower; 0 before the
	// first. Objective is how long it may take.
	Propagation float64   `json:"propagation_s,omitempty"`
	Measured    time.Time `json:"measured,omitzero"`
	Objective   int       `json:"objective_s"`
	// Conflicts is how many kept copies of conflicting versions the trees hold, ConflictPaths the first of them.
	Conflicts     int      `json:"conflicts"`
	ConflictPaths []string `json:"conflict_paths,omitempty"`
	// Cold is what is moved to the cold roots, nil for a pair that moves nothing and where nothing is known of it.
	Cold *spec.ColdStatus `json:"cold,omitempty"`
	// Sides are both, by node.
	Sides map[string]PairSideView `json:"sides"`
}

// PairSideView is one node's side of a pair.
type PairSideView struct {
	Path string `json:"path"`
	// ColdPath is where old directories of the tree go, "" for nowhere.
	ColdPath string `json:"cold_path,omitempty"`
	// PairStatus is what the node says; its State is PairUnknown when nothing of that can be believed.
	spec.PairStatus
	// Seen is when the node was last heard of, zero for never; Stale tells that this is too long ago.
	Seen  time.Time `json:"seen"`
	Stale bool      `json:"stale,omitempty"`
}

// pairView returns a pair as the nodes report it.
func (out *ClusterStatus) pairView(name string, p spec.Pair, s *store.Snapshot, now time.Time) PairView {
	v := PairView{Driver: p.Driver, Leader: p.Leader, State: spec.PairStandingBy, Objective: p.Objective, Sides: map[string]PairSideView{}}
	if p.Standby != nil {
		v.StandsInFor = p.Standby.For
	}
	for _, node := range p.Nodes() {
		side := out.pairSide(name, node, p.Ends[node], s)
		side.Since = notAfter(side.Since, now)
		v.Sides[node] = side
		switch worse := urgency(side.State) - urgency(v.State); {
		case worse > 0:
			v.State, v.Since = side.State, side.Since
		case worse == 0 && side.Since.After(v.Since):
			v.Since = side.Since
		}
		if side.Synced.After(v.Synced) {
			v.Synced = notAfter(side.Synced, now)
		}
		if side.Stale {
			continue
		}
		if side.StandsIn.After(v.StandsIn) {
			v.StandsIn = notAfter(side.StandsIn, now)
		}
		if side.Propagation > v.Propagation {
			v.Propagation, v.Measured = side.Propagation, notAfter(side.Measured, now)
		}
		if side.Conflicts > v.Conflicts {
			v.Conflicts, v.ConflictPaths = side.Conflicts, side.ConflictPaths
		}
	}
	v.Cold = v.cold(p)
	return v
}

// LeadsNow is the node that carries changes over between both, "" while another pair does that in the place of this one.
func (v PairView) LeadsNow() string {
	if v.State == spec.PairStandingBy || v.StandsInFor != "" && v.StandsIn.IsZero() {
		return ""
	}
	return v.Leader
}

// urgency orders the states by how much somebody should look at them.
func urgency(s spec.PairState) int {
	return slices.Index([]spec.PairState{spec.PairStandingBy, spec.PairSynced, spec.PairSyncing, spec.PairStarting, PairUnknown, spec.PairDisconnected, spec.PairFailed}, s)
}

func (out *ClusterStatus) pairSide(name, node string, end spec.PairEnd, s *store.Snapshot) PairSideView {
	v := PairSideView{Path: end.Path, ColdPath: end.ColdPath, PairStatus: spec.PairStatus{State: PairUnknown}}
	n := out.Nodes[node]
	v.Seen, v.Stale = n.Received, n.State != NodeReady && n.State != NodeNotReady
	said, reported := s.Statuses[node].Pairs[name]
	if !reported {
		return v
	}
	v.PairStatus = said
	if v.Stale || urgency(said.State) < 0 {
		v.State = PairUnknown
	}
	return v
}

// judge says what is wrong with the pair. What a node in maintenance leaves behind is only worth a look.
func (v PairView) judge(name string, nodes map[string]NodeView) (reasons, warnings []string) {
	var text string
	switch v.State {
	case spec.PairFailed:
		text = "its sides are not kept equal" + since(v.Since)
	case spec.PairDisconnected:
		text = "the nodes do not reach each other" + since(v.Since) + "; changes wait on the side where they were made"
	case spec.PairStarting:
		text = "its sides have not been found equal" + since(v.Since) + ", when programs of it started, or a node came back"
	case PairUnknown:
		text = "not both of its sides are known"
	case spec.PairSynced, spec.PairSyncing, spec.PairStandingBy:
	}
	var details []string
	away := false
	for _, node := range slices.Sorted(maps.Keys(v.Sides)) {
		side := v.Sides[node]
		away = away || nodes[node].Maintenance != nil
		switch {
		case side.Stale:
			details = append(details, fmt.Sprintf("%s is %s", node, cmp.Or(nodes[node].State, "not in the cluster")))
		case side.State == PairUnknown:
			details = append(details, node+" says nothing of it")
		case side.Problem != "":
			details = append(details, node+": "+side.Problem)
		}
	}
	if text == "" && len(details) > 0 {
		text = "something in its trees is not kept equal"
	}
	if text != "" {
		text = strings.Join(append([]string{"pair " + name + ": " + text}, details...), "; ")
		if away {
			warnings = append(warnings, text)
		} else {
			reasons = append(reasons, text)
		}
	}
	for _, node := range slices.Sorted(maps.Keys(v.Sides)) {
		side := v.Sides[node]
		if side.Warning != "" && !side.Stale {
			warnings = append(warnings, fmt.Sprintf("pair %s: %s: %s", name, node, side.Warning))
		}
		if side.Full && !side.Stale {
			warnings = append(warnings, fmt.Sprintf("pair %s: %s has hardly any room left for %s, in bytes or inodes: remove files, or enlarge the file system", name, node, side.Path))
		}
	}
	if v.Objective > 0 && v.Propagation > float64(v.Objective) {
		warnings = append(warnings, fmt.Sprintf("pair %s: a change took %.1f s to the other node, more than its objective of %d s", name, v.Propagation, v.Objective))
	}
	warnings = append(warnings, v.coldWarnings(name)...)
	if !v.StandsIn.IsZero() {
		warnings = append(warnings, fmt.Sprintf("pair %s stands in for %s%s", name, v.StandsInFor, since(v.StandsIn)))
	}
	if v.Conflicts > 0 {
		warnings = append(warnings, fmt.Sprintf("pair %s: %d kept %s of conflicting changes: look at them and remove what is not needed: %s",
			name, v.Conflicts, copies(v.Conflicts), v.conflicts()))
	}
	return reasons, warnings
}

func copies(n int) string {
	if n == 1 {
		return "copy"
	}
	return "copies"
}

// fewConflicts is how many conflicts one sentence names.
const fewConflicts = 5

// conflicts names the first conflicts. Names of files may hold anything, a line feed included.
func (v PairView) conflicts() string {
	var out []string
	for _, path := range v.ConflictPaths[:min(len(v.ConflictPaths), fewConflicts)] {
		out = append(out, fmt.Sprintf("%q", path))
	}
	if more := v.Conflicts - len(out); more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}
