package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// sample is the repeated measurement of one thing.
type sample []time.Duration

func (s sample) sorted() sample {
	out := slices.Clone(s)
	slices.Sort(out)
	return out
}

func (s sample) min() time.Duration    { return slices.Min(s) }
func (s sample) max() time.Duration    { return slices.Max(s) }
func (s sample) median() time.Duration { return s.sorted()[len(s)/2] }

// cells are the columns "min", "median", "max" and "runs" of a table.
func (s sample) cells() []string {
	if len(s) == 0 {
		return []string{"-", "-", "-", "0"}
	}
	return []string{seconds(s.min()), seconds(s.median()), seconds(s.max()), fmt.Sprint(len(s))}
}

var sampleColumns = []string{"min", "median", "max", "runs"}

func seconds(d time.Duration) string {
	if d < 100*time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// ratio compares two medians.
func ratio(a, b sample) string {
	return fmt.Sprintf("%.2f", a.median().Seconds()/b.median().Seconds())
}

// printTable prints rows as a Markdown table, ready for the documentation.
func printTable(w io.Writer, columns []string, rows [][]string) {
	line := func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	line(columns)
	line(slices.Repeat([]string{"---"}, len(columns)))
	for _, row := range rows {
		line(row)
	}
	fmt.Fprintln(w)
}
