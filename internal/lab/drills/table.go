//go:build linux

package drills

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// Failed counts the results that are not good.
func Failed(results []Result) int {
	n := 0
	for _, r := range results {
		if r.Verdict != Pass {
			n++
		}
	}
	return n
}

// WriteTable writes results for people: a row for each, and below the table what else is to be said of them.
func WriteTable(out io.Writer, results []Result) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DRILL\tINJECTED\tOUTAGE\tFAILED\tLOST\tVERDICT")
	for _, r := range results {
		injected, outage, failed, lost := "-", "-", "-", "-"
		if !r.Injected.IsZero() {
			injected = r.Injected.Format(time.TimeOnly)
		}
		if r.Asked > 0 {
			outage, failed, lost = seconds(r.Outage), fmt.Sprintf("%d of %d", r.Failed, r.Asked), strconv.Itoa(r.Lost)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, injected, outage, failed, lost, r.Verdict)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		if err := writeDetails(out, r); err != nil {
			return err
		}
	}
	return nil
}

func writeDetails(out io.Writer, r Result) error {
	lines := []string{r.Proves}
	for _, what := range slices.Sorted(maps.Keys(r.Found)) {
		lines = append(lines, fmt.Sprintf("%s: after %s", what, seconds(r.Found[what])))
	}
	if r.Detail != "" {
		lines = append(lines, r.Detail)
	}
	lines = append(lines, r.Notes...)
	if r.Reason != "" {
		lines = append(lines, fmt.Sprintf("%s: %s", r.Verdict, r.Reason))
	}
	if _, err := fmt.Fprintf(out, "\n%s\n", r.Name); err != nil {
		return err
	}
	for _, line := range lines {
		if _, err := fmt.Fprintf(out, "  %s\n", line); err != nil {
			return err
		}
	}
	return nil
}

func seconds(d time.Duration) string {
	if d == 0 {
		return "none"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
