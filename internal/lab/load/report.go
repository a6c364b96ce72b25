package load

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is what the visitors saw. Times are since the load began; in JSON they are nanoseconds.
type Report struct {
	Duration time.Duration `json:"duration"`
	Requests int           `json:"requests"`
	Failed   int           `json:"failed"`
	// Failures count what went wrong: a status such as "521", "timeout", ….
	Failures map[string]int `json:"failures"`
	// FirstFailure is when the first request began that failed, LastFailure when the last one ended.
	FirstFailure time.Duration `json:"first_failure"`
	LastFailure  time.Duration `json:"last_failure"`
	// Half, Most and Slowest are the times of answers: the median, the 99th percentile and the longest, of those that
	// were good.
	Half    time.Duration `json:"p50"`
	Most    time.Duration `json:"p99"`
	Slowest time.Duration `json:"max"`
	// Nodes count who answered.
	Nodes map[string]int `json:"nodes"`
	// Sessions is the number of visitors with cookies, Moved how many of them were answered by more than one node, and
	// Hurt how many had a request that failed.
	Sessions int `json:"sessions"`
	Moved    int `json:"sessions_moved"`
	Hurt     int `json:"sessions_hurt"`
	// Events are what was done to the lab meanwhile.
	Events []Event `json:"events,omitempty"`

	times    []time.Duration
	good     []visit
	failures []visit
	homes    map[int]map[string]bool
	hurt     map[int]bool
}

// Event is something that was done while the load ran.
type Event struct {
	At   time.Duration `json:"at"`
	What string        `json:"what"`
	// Failed counts the requests that failed after it, and Recovered is how long after it the last of them ended. Until is how long
	// after it the last of them began: who came later was served. Slowest is the longest that anybody waited who came after it
	// and was answered.
	Failed    int           `json:"failed"`
	Recovered time.Duration `json:"recovered"`
	Until     time.Duration `json:"until"`
	Slowest   time.Duration `json:"slowest"`
	// Requests counts those that began after it.
	Requests int `json:"requests"`
}

func newReport() *Report {
	return &Report{Failures: map[string]int{}, Nodes: map[string]int{}, homes: map[int]map[string]bool{}, hurt: map[int]bool{}}
}

func (r *Report) add(v visit) {
	r.Requests++
	if v.session >= 0 && r.homes[v.session] == nil {
		r.homes[v.session] = map[string]bool{}
	}
	if v.failure != "" {
		r.Failures[v.failure]++
		r.failures = append(r.failures, v)
		if v.session >= 0 {
			r.hurt[v.session] = true
		}
		return
	}
	r.times = append(r.times, v.ended-v.began)
	r.good = append(r.good, v)
	r.Nodes[v.node]++
	if v.session >= 0 {
		r.homes[v.session][v.node] = true
	}
}

// finish computes what needs all the requests.
func (r *Report) finish(took time.Duration) {
	r.Duration, r.Failed = took, len(r.failures)
	slices.Sort(r.times)
	if n := len(r.times); n > 0 {
		r.Half, r.Most, r.Slowest = r.times[(n-1)/2], r.times[(n-1)*99/100], r.times[n-1]
	}
	for n, v := range r.failures {
		if n == 0 || v.began < r.FirstFailure {
			r.FirstFailure = v.began
		}
		r.LastFailure = max(r.LastFailure, v.ended)
	}
	r.Sessions, r.Hurt = len(r.homes), len(r.hurt)
	for _, nodes := range r.homes {
		if len(nodes) > 1 {
			r.Moved++
		}
	}
}

// Note adds an event to a report that is finished, with what followed it.
func (r *Report) Note(at time.Duration, what string) {
	e := Event{At: at, What: what}
	for _, v := range r.failures {
		if v.ended >= at {
			e.Failed++
			e.Recovered = max(e.Recovered, v.ended-at)
			e.Until = max(e.Until, v.began-at)
		}
		if v.began >= at {
			e.Requests++
		}
	}
	for _, v := range r.good {
		if v.began >= at {
			e.Requests++
			e.Slowest = max(e.Slowest, v.ended-v.began)
		}
	}
	r.Events = append(r.Events, e)
}

// MovedBefore counts the visitors with cookies who were answered by more than one node before a time since the load began.
func (r *Report) MovedBefore(at time.Duration) int {
	homes, moved := map[int]string{}, map[int]bool{}
	for _, v := range r.good {
		if v.session < 0 || v.ended > at {
			continue
		}
		if home, known := homes[v.session]; known && home != v.node {
			moved[v.session] = true
		}
		homes[v.session] = v.node
	}
	return len(moved)
}

// LastNodes returns who has answered the last requests that began and were answered, sorted.
func (r *Report) LastNodes(requests int) []string {
	last := slices.SortedFunc(slices.Values(r.good), func(a, b visit) int { return cmp.Compare(a.began, b.began) })
	nodes := map[string]bool{}
	for _, v := range last[max(0, len(last)-requests):] {
		nodes[v.node] = true
	}
	return slices.Sorted(maps.Keys(nodes))
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests in %s, %d failed\n", r.Requests, round(r.Duration), r.Failed)
	for _, name := range slices.Sorted(maps.Keys(r.Failures)) {
		fmt.Fprintf(&b, "  %-24s %d\n", name, r.Failures[name])
	}
	if r.Failed > 0 {
		fmt.Fprintf(&b, "failures from %s to %s, which is %s\n", round(r.FirstFailure), round(r.LastFailure), round(r.LastFailure-r.FirstFailure))
	}
	for _, e := range r.Events {
		fmt.Fprintf(&b, "after %s at %s: %d failed", e.What, round(e.At), e.Failed)
		if e.Failed > 0 {
			fmt.Fprintf(&b, ", none any more after %s, nor of those that began after %s", round(e.Recovered), round(e.Until))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "answers: median %s, 99 %% within %s, slowest %s\n", round(r.Half), round(r.Most), round(r.Slowest))
	for _, name := range slices.Sorted(maps.Keys(r.Nodes)) {
		shown := name
		if shown == "" {
			shown = "(no name)"
		}
		fmt.Fprintf(&b, "  %-24s %d\n", shown, r.Nodes[name])
	}
	if r.Sessions > 0 {
		fmt.Fprintf(&b, "%d sessions: %d moved to another node, %d had a request that failed\n", r.Sessions, r.Moved, r.Hurt)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func round(d time.Duration) string { return d.Round(time.Millisecond).String() }
