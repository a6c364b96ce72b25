package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
)

// pairs shows a row for each side of each pair, and under it what somebody should look at.
func (r report) pairs(b *strings.Builder) {
	if len(r.Pairs) == 0 {
		return
	}
	t := newTable("Pair", "Node", "Path", "State", "For", "Waiting", "Last equal", "To the other node", "Watching")
	names := slices.Sorted(maps.Keys(r.Pairs))
	for _, name := range names {
		v := r.Pairs[name]
		for _, node := range slices.Sorted(maps.Keys(v.Sides)) {
			side := v.Sides[node]
			led := node
			if node == v.Leader {
				led += " (leads)"
			}
			t.AppendRow(table.Row{
				name, led, side.Path, sideState(side), r.ago(side.Since), waitingOf(side), r.ago(v.Synced), r.propagation(side), watchingOf(side),
			})
		}
	}
	render(b, t)
	r.traffic(b, names)
	r.coldRoots(b, names)
	for _, name := range names {
		v := r.Pairs[name]
		var problems []string
		for _, node := range slices.Sorted(maps.Keys(v.Sides)) {
			if side := v.Sides[node]; side.Problem != "" && !side.Stale {
				problems = append(problems, node+": "+side.Problem)
			}
		}
		list(b, "pair "+name, problems)
		if c := v.Cold; c != nil && c.Problem != "" {
			list(b, "old directories of pair "+name, []string{c.Problem})
		}
		if c := v.Cold; c != nil && c.Orphaned > 0 {
			list(b, "old directories of pair "+name, []string{fmt.Sprintf("%d in the cold root have no link in the tree any more: what is in them stays until you remove it there, on both nodes", c.Orphaned)})
		}
		list(b, fmt.Sprintf("conflicts of pair %s, %d kept", name, v.Conflicts), conflictsOf(v))
	}
}

// traffic shows what was measured of each direction in the last hour, and what has gone that way.
func (r report) traffic(b *strings.Builder, names []string) {
	t := newTable("Pair", "From", "To", "Half within", "99 % within", "Slowest", "Canaries", "Files carried", "Bytes", "In")
	shown := false
	for _, name := range names {
		v := r.Pairs[name]
		ends := slices.Sorted(maps.Keys(v.Sides))
		for _, from := range ends {
			for _, to := range ends {
				side, other := v.Sides[from], v.Sides[to]
				lately, carried := side.Lately, other.Carried
				if from == to || side.Stale || other.Stale || lately == nil && carried == nil {
					continue
				}
				row := table.Row{name, from, to, "-", "-", "-", "-", "-", "-", "-"}
				if lately != nil {
					copy(row[3:], table.Row{tookText(lately.P50), tookText(lately.P99), tookText(lately.Max), lately.Canaries})
				}
				if carried != nil {
					copy(row[7:], table.Row{carried.Files, size(carried.ReceivedBytes), r.ago(carried.From)})
				}
				t.AppendRow(row)
				shown = true
			}
		}
	}
	if shown {
		render(b, t)
	}
}

// coldRoots shows what is moved to cold roots, where there are any.
func (r report) coldRoots(b *strings.Builder, names []string) {
	t := newTable("Pair", "Old directories", "Due", "In the cold root", "Kept versions", "Last run", "Took", "Waits for")
	shown := false
	for _, name := range names {
		c := r.Pairs[name].Cold
		if c == nil {
			continue
		}
		shown = true
		took := "-"
		if !c.Last.IsZero() {
			took = fmt.Sprintf("%.1f s", c.Took)
		}
		t.AppendRow(table.Row{name, c.Directories, c.Due, size(c.Bytes), c.Kept, r.ago(c.Last), took, dash(c.Waiting)})
	}
	if shown {
		render(b, t)
	}
}

func sideState(side api.PairSideView) string {
	if side.Stale {
		return "unheard of"
	}
	return string(side.State)
}

func waitingOf(side api.PairSideView) string {
	if side.Stale || side.State == api.PairUnknown {
		return "-"
	}
	return fmt.Sprint(side.Pending)
}

func watchingOf(side api.PairSideView) string {
	if side.Stale {
		return "-"
	}
	return dash(side.Watching)
}

// propagation is how long the last change that was measured took from a side to the other, and how long ago that was.
func (r report) propagation(side api.PairSideView) string {
	if side.Stale || side.Propagation == 0 {
		return "-"
	}
	return tookText(side.Propagation) + ", " + r.ago(side.Measured) + " ago"
}

func tookText(seconds float64) string {
	if seconds < 1 {
		return fmt.Sprintf("%.0f ms", seconds*1000)
	}
	return fmt.Sprintf("%.1f s", seconds)
}

// conflictsOf lists paths. A name may hold anything, so that one that a terminal would act on is quoted.
func conflictsOf(v api.PairView) []string {
	var out []string
	for _, path := range v.ConflictPaths {
		if quoted := fmt.Sprintf("%q", path); quoted != `"`+path+`"` {
			path = quoted
		}
		out = append(out, path)
	}
	if more := v.Conflicts - len(out); more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return out
}
