package api

import (
	"maps"
	"slices"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// cold returns what the nodes say of what they have moved: of numbers that differ the one that needs more attention.
func (v PairView) cold(p spec.Pair) *spec.ColdStatus {
	var out *spec.ColdStatus
	var problems []string
	for _, node := range slices.Sorted(maps.Keys(v.Sides)) {
		side := v.Sides[node]
		if p.Cold == nil || side.Stale || side.Cold == nil {
			continue
		}
		said := *side.Cold
		if said.Problem != "" {
			problems = append(problems, node+": "+said.Problem)
		}
		if out == nil {
			out = &said
			continue
		}
		out.Directories, out.Due = min(out.Directories, said.Directories), max(out.Due, said.Due)
		out.Bytes, out.Kept = max(out.Bytes, said.Bytes), max(out.Kept, said.Kept)
		if said.Last.After(out.Last) {
			out.Last, out.Took, out.Waiting = said.Last, said.Took, said.Waiting
		}
	}
	if out != nil {
		out.Problem = strings.Join(problems, "; ")
	}
	return out
}

// coldWarnings says what somebody should look at.
func (v PairView) coldWarnings(name string) []string {
	if v.Cold == nil || v.Cold.Problem == "" {
		return nil
	}
	return []string{"pair " + name + ": old directories: " + v.Cold.Problem}
}
