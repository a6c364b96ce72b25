package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

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
		out.Bytes, out.Kept, out.Orphaned = max(out.Bytes, said.Bytes), max(out.Kept, said.Kept), max(out.Orphaned, said.Orphaned)
		if said.Last.After(out.Last) {
			out.Last, out.Took, out.Waiting = said.Last, said.Took, said.Waiting
		}
	}
	if out != nil {
		if every := time.Duration(p.Cold.Interval) * time.Minute; out.Took > every.Seconds() {
			problems = append(problems, fmt.Sprintf("the last run took %s, longer than the %d minutes after which the next one is due: raise interval_minutes",
				time.Duration(out.Took*float64(time.Second)).Round(time.Second), p.Cold.Interval))
		}
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
