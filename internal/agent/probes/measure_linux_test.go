package probes_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

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
			<-time.After(8 * time.Second) // nothing is decided in the first seconds of an agent
			c.loses("a", "c", 100)
			w.AppendRow(table.Row{"cut", "", "", (<-done).Round(time.Millisecond)})
		})
	}
	_, _ = fmt.Fprintln(os.Stdout, w.Render())
}
