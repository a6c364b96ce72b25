package probes_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// TestSteeringMeasured is a measurement: what of an application's traffic arrives when a link of three nodes turns bad.
func TestSteeringMeasured(t *testing.T) {
	if !*measure {
		t.Skip("a measurement: go test ./internal/agent/probes -run TestSteeringMeasured -measure -timeout 40m")
	}
	c := newCluster(t, "a", "b", "c")
	a, b := c.nodes["a"], c.nodes["c"]
	w := table.NewWriter()
	w.AppendHeader(table.Row{"fault on a-c", "echoes answered in 60 s", "second from which > 99 % are answered", "longest gap"})
	for _, percent := range []int{20, 20, 20, 40} {
		c.calm()
		c.loses("a", "c", percent)
		share, each, gap := a.traffic(t, b, 60)
		from := 0
		for i, s := range each {
			if s < 0.99 {
				from = i + 1
			}
		}
		w.AppendRow(table.Row{fmt.Sprintf("%d %% lost each way", percent), fmt.Sprintf("%.2f %%", 100*share), from, gap.Round(time.Millisecond)})
		c.internet.Heal(t)
	}
	for range 10 {
		c.calm()
		done := make(chan struct{})
		var gap time.Duration
		go func() {
			defer close(done)
			_, _, gap = a.traffic(t, b, 12)
		}()
		<-time.After(2 * time.Second)
		c.internet.Cut(t, a.public, b.public)
		c.internet.Cut(t, b.public, a.public)
		<-done
		w.AppendRow(table.Row{"cut", "", "", gap.Round(time.Millisecond)})
		c.internet.Heal(t)
	}
	_, _ = fmt.Fprintln(os.Stdout, w.Render())
}
