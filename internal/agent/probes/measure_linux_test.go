package probes_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// warmed is when agents have begun to decide: they do nothing in their first seconds.
const warmed = 8 * time.Second

// TestSteeringMeasured is a measurement: what of an application's traffic arrives when a link of three nodes turns bad. Each run
// has nodes of its own, since what is held against a link counts in the next.
func TestSteeringMeasured(t *testing.T) {
	if !*measure {
		t.Skip("a measurement: go test ./internal/agent/probes -v -run TestSteeringMeasured -timeout 40m -measure")
	}
	w := table.NewWriter()
	w.AppendHeader(table.Row{"fault on a-c", "echoes answered in 60 s", "seconds until > 99 % are answered", "longest gap"})
	for run, percent := range []int{20, 20, 20, 40, 40} {
		t.Run(fmt.Sprintf("loss %d %d", percent, run), func(t *testing.T) {
			c := newCluster(t, "a", "b", "c")
			c.calm()
			<-time.After(warmed)
			c.loses("a", "c", percent)
			share, each, gap := c.nodes["a"].traffic(t, c.nodes["c"], 60)
			until := 0
			for i, s := range each {
				if s < 0.99 {
					until = i + 1
				}
			}
			w.AppendRow(table.Row{fmt.Sprintf("%d %% lost each way", percent), fmt.Sprintf("%.2f %%", 100*share), until, gap.Round(time.Millisecond)})
		})
	}
	for run := range 10 {
		t.Run(fmt.Sprintf("cut %d", run), func(t *testing.T) {
			c := newCluster(t, "a", "b", "c")
			c.calm()
			done := make(chan time.Duration)
			go func() {
				_, _, gap := c.nodes["a"].traffic(t, c.nodes["c"], 16)
				done <- gap
			}()
			<-time.After(warmed)
			c.loses("a", "c", 100)
			w.AppendRow(table.Row{"cut", "", "", (<-done).Round(time.Millisecond)})
		})
	}
	_, _ = fmt.Fprintln(os.Stdout, w.Render())
}

// TestSteeringInTurnsMeasured is a measurement: one path after another turns bad in the same cluster, when all is well again.
func TestSteeringInTurnsMeasured(t *testing.T) {
	if !*measure {
		t.Skip("a measurement: go test ./internal/agent/probes -v -run TestSteeringInTurnsMeasured -timeout 40m -measure")
	}
	w := table.NewWriter()
	w.AppendHeader(table.Row{"fault", "percent", "echoes answered in 30 s", "seconds until > 99 % are answered", "longest gap"})
	c := newCluster(t, "a", "b", "c")
	for _, percent := range []int{20, 100} {
		for _, pair := range [][2]string{{"a", "c"}, {"a", "b"}, {"b", "c"}} {
			c.calm()
			<-time.After(warmed)
			t.Logf("%s loses %d %%", pair, percent)
			done := make(chan struct{})
			var share float64
			var each []float64
			var gap time.Duration
			go func() {
				defer close(done)
				share, each, gap = c.nodes[pair[0]].traffic(t, c.nodes[pair[1]], 30)
			}()
			c.loses(pair[0], pair[1], percent)
			<-done
			c.internet.SetCutsOrFail(t)
			until := 0
			for i, s := range each {
				if s < 0.99 {
					until = i + 1
				}
			}
			w.AppendRow(table.Row{pair, percent, share, until, gap.Round(time.Millisecond)})
		}
	}
	_, _ = fmt.Fprintln(os.Stdout, w.Render())
}
