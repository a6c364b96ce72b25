package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// filesReport is everything that was measured in one run.
type filesReport struct {
	Command string         `json:"command"`
	Kernel  string         `json:"kernel"`
	CPUs    int            `json:"cpus"`
	Files   int            `json:"files"`
	Size    int            `json:"size"`
	Burst   int            `json:"burst"`
	Results []*filesResult `json:"results"`
}

// filesResult is what was measured of one way. What was not is nil. Times are seconds.
type filesResult struct {
	Way string `json:"way"`
	// Alone is of changes of which each finds everything quiet, Steady of such that come every 0.3 s.
	Alone  *filesLatency `json:"alone,omitempty"`
	Steady *filesLatency `json:"steady,omitempty"`
	First  *float64      `json:"first_sync,omitempty"`
	// FirstCPU is of both machines.
	FirstCPU *float64 `json:"first_sync_cpu,omitempty"`
	// Firsts and FirstCPUs are what these are the medians of, when there was more than one turn.
	Firsts    []float64 `json:"first_syncs,omitempty"`
	FirstCPUs []float64 `json:"first_sync_cpus,omitempty"`
	Again     *float64  `json:"no_change,omitempty"`
	// MemoryMiB is the most that each machine took, over everything that was measured.
	MemoryMiB   [2]float64  `json:"memory_mib"`
	IdlePercent *[2]float64 `json:"idle_cpu_percent,omitempty"`
	// Idle is how much of a CPU each part of Atoll took meanwhile, in per cent, on the machine that took more, and IdleBefore how much before there was a pair.
	Idle       map[string]float64 `json:"idle_parts_percent,omitempty"`
	IdleBefore map[string]float64 `json:"idle_parts_percent_before,omitempty"`
	Burst      *filesBurst        `json:"burst,omitempty"`
	// Loads are the load averages before and after.
	Loads []string `json:"loads"`
	Notes []string `json:"notes,omitempty"`
	Error string   `json:"error,omitempty"`
}

// filesLatency is how long changes took.
type filesLatency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
	Runs int     `json:"runs"`
}

// filesBurst is many changes at once: how long writing took, until all were there, and the CPU of both machines.
type filesBurst struct {
	Wrote float64 `json:"wrote"`
	Equal float64 `json:"equal"`
	CPU   float64 `json:"cpu"`
	Load  string  `json:"load"`
}

func secondsOf(d time.Duration) *float64 {
	s := d.Seconds()
	return &s
}

// latencyOf needs one value at least.
func latencyOf(s sample) *filesLatency {
	at := s.sorted()
	return &filesLatency{
		P50: at[len(at)/2].Seconds(), P99: at[min(len(at)-1, len(at)*99/100)].Seconds(), Max: at[len(at)-1].Seconds(), Runs: len(at),
	}
}

// String is for who watches.
func (l *filesLatency) String() string {
	return fmt.Sprintf("p50 %s, p99 %s, max %s of %d", duration(l.P50), duration(l.P99), duration(l.Max), l.Runs)
}

func duration(s float64) string { return seconds(time.Duration(s * float64(time.Second))) }

func (r *filesResult) memory() string {
	return fmt.Sprintf("%.0f + %.0f MiB", r.MemoryMiB[0], r.MemoryMiB[1])
}

// filesRow is a line of the table: what of a result it shows, as a number to compare and as text. ok is false for what was not
// measured.
type filesRow struct {
	what, goal string
	of         func(r *filesResult) (number float64, text string, ok bool)
}

func filesRows() []filesRow {
	latency := func(pick func(*filesResult) *filesLatency, of func(*filesLatency) float64) func(*filesResult) (float64, string, bool) {
		return func(r *filesResult) (float64, string, bool) {
			l := pick(r)
			if l == nil {
				return 0, "", false
			}
			return of(l), duration(of(l)), true
		}
	}
	took := func(pick func(*filesResult) *float64) func(*filesResult) (float64, string, bool) {
		return func(r *filesResult) (float64, string, bool) {
			s := pick(r)
			if s == nil {
				return 0, "", false
			}
			return *s, duration(*s), true
		}
	}
	burst := func(pick func(*filesBurst) float64) func(*filesResult) (float64, string, bool) {
		return took(func(r *filesResult) *float64 {
			if r.Burst == nil {
				return nil
			}
			s := pick(r.Burst)
			return &s
		})
	}
	alone, steady := func(r *filesResult) *filesLatency { return r.Alone }, func(r *filesResult) *filesLatency { return r.Steady }
	p50, p99 := func(l *filesLatency) float64 { return l.P50 }, func(l *filesLatency) float64 { return l.P99 }
	return []filesRow{
		{"a change, alone: p50", "0.5 s", latency(alone, p50)},
		{"p99", "1 s", latency(alone, p99)},
		{"a change every 0.3 s: p50", "0.5 s", latency(steady, p50)},
		{"p99", "1 s", latency(steady, p99)},
		{"first synchronization", "less than unison", took(func(r *filesResult) *float64 { return r.First })},
		{"its CPU, both machines", "", took(func(r *filesResult) *float64 { return r.FirstCPU })},
		{"a look at everything, nothing changed", "", took(func(r *filesResult) *float64 { return r.Again })},
		{"peak memory, first and second machine", "", func(r *filesResult) (float64, string, bool) {
			sum := r.MemoryMiB[0] + r.MemoryMiB[1]
			return sum, r.memory(), sum > 0
		}},
		{"CPU while idle, first and second machine", "near 0", func(r *filesResult) (float64, string, bool) {
			if r.IdlePercent == nil {
				return 0, "", false
			}
			return r.IdlePercent[0] + r.IdlePercent[1], fmt.Sprintf("%.2f + %.2f %%", r.IdlePercent[0], r.IdlePercent[1]), true
		}},
		{"burst: all there after", "", burst(func(b *filesBurst) float64 { return b.Equal })},
		{"its CPU, both machines", "", burst(func(b *filesBurst) float64 { return b.CPU })},
	}
}

// print prints the ways side by side, each figure with its ratio to Atoll's, and what else is to be said.
func (r *filesReport) print(out io.Writer) {
	fmt.Fprintf(out, "`%s`, Linux %s, %d CPUs: two machines, a tree of %d files of %d bytes; the burst is of %d. In brackets: as many times ours.\n\n",
		r.Command, r.Kernel, r.CPUs, r.Files, r.Size, r.Burst)
	columns := []string{"what"}
	for _, result := range r.Results {
		columns = append(columns, result.Way)
	}
	var rows [][]string
	for _, row := range filesRows() {
		cells := []string{row.what}
		var base float64
		for _, result := range r.Results {
			number, text, ok := row.of(result)
			switch {
			case !ok:
				text = "–"
			case result.Way == ours:
				base = number
			case base > 0:
				text += fmt.Sprintf(" (%.1f)", number/base)
			}
			cells = append(cells, text)
		}
		rows = append(rows, append(cells, row.goal))
	}
	printTable(out, append(columns, "goal"), rows)
	for _, result := range r.Results {
		fmt.Fprintf(out, "- %s: load %s", result.Way, strings.Join(result.Loads, ", "))
		for _, l := range []struct {
			of   string
			runs *filesLatency
		}{{"alone", result.Alone}, {"every 0.3 s", result.Steady}} {
			if l.runs != nil {
				fmt.Fprintf(out, "; changes %s: %d, the slowest %s", l.of, l.runs.Runs, duration(l.runs.Max))
			}
		}
		if b := result.Burst; b != nil {
			fmt.Fprintf(out, "; the burst was written in %s, load %s after it", duration(b.Wrote), b.Load)
		}
		if len(result.Idle) > 0 {
			fmt.Fprintf(out, "; idle, by part: %s", partsText(result.Idle, result.IdleBefore))
		}
		if len(result.Firsts) > 0 {
			fmt.Fprintf(out, "; first synchronizations: %s", result.turns())
		}
		for _, n := range result.Notes {
			fmt.Fprintf(out, "; %s", n)
		}
		if result.Error != "" {
			fmt.Fprintf(out, "; ENDED BY AN ERROR: %s", result.Error)
		}
		fmt.Fprintln(out)
	}
}
