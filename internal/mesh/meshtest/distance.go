package meshtest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// distance joins nodes from the two ends of the world: a driver must not take a long way for a dead one.
func (s suite) distance(t *testing.T) {
	t.Parallel()
	const roundTrip = 300 * time.Millisecond
	c := s.cluster(t, hk, sg)
	c.internet.Slow(t, roundTrip/2)
	c.apply(t, []string{hk, sg})
	c.allConnected(t, hk, sg)
	bad := 0 // in a row: one lost packet is no broken link
	never(t, 10*time.Second, "the link breaks", func(ctx context.Context) bool {
		bad++
		if c.nodes[hk].peer(ctx, t, c.nodes[sg]).Direct && c.nodes[hk].pings(ctx, c.nodes[sg]) {
			bad = 0
		}
		return bad >= 3
	})
}

// Distances measures for each round-trip time how long two nodes take to connect, of which both dial, and how often their
// link breaks in the time after that, and prints a table.
func Distances(t *testing.T, roundTrips []time.Duration, variants ...Variant) {
	w := table.NewWriter()
	header := table.Row{"connects after / breaks"}
	for _, rtt := range roundTrips {
		header = append(header, rtt.String())
	}
	w.AppendHeader(header)
	for _, v := range variants {
		row := make(table.Row, len(roundTrips)+1)
		row[0] = v.Name
		clusters := make([]*cluster, len(roundTrips))
		for i, rtt := range roundTrips {
			clusters[i] = newCluster(t, v.Driver, v.New, v.Edit, hk, sg)
			clusters[i].internet.Slow(t, rtt/2)
		}
		var wait sync.WaitGroup
		for i, c := range clusters {
			c.apply(t, []string{hk, sg})
			wait.Go(func() { row[i+1] = c.connectAndWatch(t.Context(), v.Observe) })
		}
		wait.Wait()
		w.AppendRow(row)
	}
	_, _ = fmt.Fprintln(os.Stdout, w.Render())
}

// connectAndWatch waits for the first two nodes to connect and counts how often their link breaks within d.
func (c *cluster) connectAndWatch(ctx context.Context, d time.Duration) string {
	direct := func() bool {
		st, err := c.nodes[hk].driver.Status(ctx)
		return err == nil && st.Peers[sg].Direct
	}
	start := time.Now()
	for !direct() {
		if time.Since(start) > d || pause(ctx, 50*time.Millisecond) != nil {
			return "never"
		}
	}
	connected := time.Since(start)
	breaks, was := 0, true
	for start = time.Now(); time.Since(start) < d && pause(ctx, 50*time.Millisecond) == nil; {
		now := direct()
		if was && !now {
			breaks++
		}
		was = now
	}
	return fmt.Sprintf("%s / %d", seconds(connected), breaks)
}
