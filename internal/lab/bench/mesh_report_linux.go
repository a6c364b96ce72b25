package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// meshReport is everything that was measured in one run.
type meshReport struct {
	Command string      `json:"command"`
	Go      string      `json:"go"`
	Kernel  string      `json:"kernel"`
	CPUs    int         `json:"cpus"`
	Load    []string    `json:"load"`
	Percent int         `json:"percent"`
	Raw     []meshSpeed `json:"raw"`
	// Analysis is how many seconds that of a thousand nodes took; 0 when it was not measured.
	Analysis float64       `json:"analysis_of_1000_nodes,omitempty"`
	Results  []*meshResult `json:"results"`
}

// meshResult is what was measured of one way.
type meshResult struct {
	Way     string      `json:"way"`
	Title   string      `json:"title"`
	Note    string      `json:"note,omitempty"`
	Gaps    []meshGap   `json:"gaps"`
	Losses  []meshLoss  `json:"losses"`
	Streams []meshSpeed `json:"streams"`
	// IdleBytes is what a node sends each second while there is no traffic.
	IdleBytes float64 `json:"idle_bytes_per_second"`
	// Deaths is how often a living node was called dead; nil where nobody is told.
	Deaths *int `json:"false_deaths,omitempty"`
}

func sampleOf[T any](list []T, of func(T) time.Duration) sample {
	var out sample
	for _, one := range list {
		out = append(out, of(one))
	}
	return out.sorted()
}

// billionths makes durations of numbers, so that they can be sorted as such.
func billionths(f float64) time.Duration { return time.Duration(f * 1e9) }

func (r *meshResult) gaps() sample {
	return sampleOf(r.Gaps, func(g meshGap) time.Duration { return billionths(g.Seconds) })
}

func (r *meshResult) within() sample {
	return sampleOf(r.Losses, func(l meshLoss) time.Duration { return time.Duration(l.Within) * time.Second })
}

func (r *meshResult) echoes() sample {
	return sampleOf(r.Losses, func(l meshLoss) time.Duration { return billionths(l.Echoes) })
}

func (r *meshResult) oneWay() sample {
	var each []float64
	for _, l := range r.Losses {
		each = append(each, l.OneWay[:]...)
	}
	return sampleOf(each, billionths)
}

func speedOf(list []meshSpeed) (gigabits, cpu sample) {
	return sampleOf(list, func(s meshSpeed) time.Duration { return billionths(s.Gigabits) }), sampleOf(list, func(s meshSpeed) time.Duration { return billionths(s.CPU) })
}

// least and most show a sample's median and its worst, which is its least or its most. Of two in the middle the worse one is shown.
func least(s sample, of func(time.Duration) string) string {
	if len(s) == 0 {
		return "–"
	}
	return of(s[(len(s)-1)/2]) + " (" + of(s.min()) + ")"
}

func most(s sample, of func(time.Duration) string) string {
	if len(s) == 0 {
		return "–"
	}
	return of(s.median()) + " (" + of(s.max()) + ")"
}

func percent(d time.Duration) string { return fmt.Sprintf("%.2f %%", 100*d.Seconds()) }

func wellAfter(d time.Duration) string {
	if d >= meshLossFor {
		return "never"
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

func number(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

// meshRow is a line of the table.
type meshRow struct {
	what, goal string
	of         func(r *meshResult) string
}

func (r *meshReport) rows() []meshRow {
	raw, rawCPU := speedOf(r.Raw)
	return []meshRow{
		{"longest gap after a cut: median (worst)", "≤ 1 s (≤ 2 s)", func(m *meshResult) string { return most(m.gaps(), seconds) }},
		{"runs", "", func(m *meshResult) string { return fmt.Sprint(len(m.Gaps)) }},
		{fmt.Sprintf("arrived one way in the 60 s after %d %% loss each way began: median (worst)", r.Percent), "≥ 99 %", func(m *meshResult) string { return least(m.oneWay(), percent) }},
		{"answered in these 60 s: median (worst)", "", func(m *meshResult) string { return least(m.echoes(), percent) }},
		{"until more than 99 % are answered: median (worst)", "≤ 5 s", func(m *meshResult) string { return most(m.within(), wellAfter) }},
		{"runs", "", func(m *meshResult) string { return fmt.Sprint(len(m.Losses)) }},
		{"one TCP stream, Gbit/s", "≥ 4, or 5 × tinc", func(m *meshResult) string {
			g, _ := speedOf(m.Streams)
			return withRatio(g, r.stock())
		}},
		{"share of raw veth, " + ofRaw(raw, "%.1f Gbit/s"), "", func(m *meshResult) string {
			if g, _ := speedOf(m.Streams); len(g) > 0 && len(raw) > 0 {
				return fmt.Sprintf("%.0f %%", 100*g.median().Seconds()/raw.median().Seconds())
			}
			return "–"
		}},
		{"CPU seconds for a gigabit, raw veth " + ofRaw(rawCPU, "%.2f"), "", func(m *meshResult) string {
			if _, cpu := speedOf(m.Streams); len(cpu) > 0 {
				return number(cpu.median())
			}
			return "–"
		}},
		{"sent by each node while there is no traffic", "", func(m *meshResult) string { return fmt.Sprintf("%.2f kB/s", m.IdleBytes/1000) }},
		{"living nodes called dead", "0", func(m *meshResult) string {
			if m.Deaths == nil {
				return "–"
			}
			return fmt.Sprint(*m.Deaths)
		}},
	}
}

func ofRaw(s sample, format string) string {
	if len(s) == 0 {
		return "–"
	}
	return fmt.Sprintf(format, s.median().Seconds())
}

// stock is the speed of tinc as it comes, which the others are compared with.
func (r *meshReport) stock() sample {
	for _, m := range r.Results {
		if m.Way == "tinc" {
			g, _ := speedOf(m.Streams)
			return g
		}
	}
	return nil
}

func withRatio(s, to sample) string {
	switch {
	case len(s) == 0:
		return "–"
	case len(to) == 0:
		return number(s.median())
	}
	return fmt.Sprintf("%s (%.1f ×)", number(s.median()), s.median().Seconds()/to.median().Seconds())
}

// print prints the ways side by side, and what else is to be said.
func (r *meshReport) print(out io.Writer) {
	fmt.Fprintf(out, "`%s`, %s, Linux %s, %d CPUs, load %s: three nodes of each, all in networks of their own on one machine.\n\n",
		r.Command, r.Go, r.Kernel, r.CPUs, strings.Join(r.Load, " to "))
	columns := []string{"what"}
	for _, m := range r.Results {
		columns = append(columns, m.Title)
	}
	var rows [][]string
	for _, row := range r.rows() {
		cells := []string{row.what}
		for _, m := range r.Results {
			cells = append(cells, row.of(m))
		}
		rows = append(rows, append(cells, row.goal))
	}
	printTable(out, append(columns, "goal"), rows)
	for _, m := range r.Results {
		if m.Note != "" {
			fmt.Fprintf(out, "- %s: %s\n", m.Title, m.Note)
		}
	}
	if r.Analysis > 0 {
		fmt.Fprintf(out, "- analysis of a cluster of 1,000 nodes at plan time: %s\n", duration(r.Analysis))
	}
}
