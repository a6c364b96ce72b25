package meshtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Variant is one way to run a mesh whose detours are measured.
type Variant struct {
	Name   string
	Driver spec.MeshDriver
	New    mesh.New
	Unit   string
	// Edit changes the cluster's settings.
	Edit func(*spec.Cluster)
	// Observe is how long traffic is watched after the cut.
	Observe time.Duration
}

// Reroute measures the longest gap in the traffic between two of three nodes when their link is cut, and prints a table.
// All variants run beside each other. Each round starts every daemon anew and cuts when the connection has the round's
// age, since what a daemon is doing with a young connection matters.
func Reroute(t *testing.T, ages []time.Duration, variants ...Variant) {
	gaps := make([][]time.Duration, len(variants))
	all := []string{hk, sg, us}
	clusters := make([]*cluster, len(variants))
	for i, v := range variants {
		clusters[i] = newCluster(t, v.Driver, v.New, v.Edit, all...)
		clusters[i].apply(t, all)
	}
	var wait sync.WaitGroup
	for i, v := range variants {
		wait.Go(func() {
			for _, age := range ages {
				gap, err := clusters[i].measureGap(t.Context(), v, age)
				if err != nil {
					t.Errorf("%s, age %s: %v", v.Name, age, err)
					return
				}
				t.Logf("%s, cut at age %s: %s", v.Name, age, gap.Round(10*time.Millisecond))
				gaps[i] = append(gaps[i], gap)
			}
		})
	}
	wait.Wait()
	w := table.NewWriter()
	w.AppendHeader(table.Row{"variant", "runs", "median", "longest", "each (by age of the connection: " + fmt.Sprint(ages) + ")"})
	for i, v := range variants {
		if len(gaps[i]) == 0 {
			continue
		}
		each := make([]string, len(gaps[i]))
		for j, g := range gaps[i] {
			each[j] = seconds(g)
		}
		sorted := slices.Sorted(slices.Values(gaps[i]))
		w.AppendRow(table.Row{v.Name, len(sorted), seconds(sorted[len(sorted)/2]), seconds(sorted[len(sorted)-1]), strings.Join(each, " ")})
	}
	_, _ = fmt.Fprintln(os.Stdout, w.Render())
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func (c *cluster) measureGap(ctx context.Context, v Variant, age time.Duration) (time.Duration, error) {
	a, b := c.nodes[hk], c.nodes[us]
	if err := c.internet.SetCuts(ctx); err != nil {
		return 0, err
	}
	for _, n := range c.nodes {
		if err := n.machine.Sys.Units().Restart(ctx, v.Unit); err != nil {
			return 0, err
		}
	}
	deadline := time.Now().Add(2 * time.Minute)
	for {
		st, err := a.driver.Status(ctx)
		if err == nil && st.Peers[b.name].Direct && a.pings(ctx, b) && b.pings(ctx, a) {
			break
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("not connected: %+v, %w", st, err)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return 0, err
		}
	}
	if err := pause(ctx, age); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, v.Observe+time.Second)
	defer cancel()
	var cutErr error
	var wait sync.WaitGroup
	wait.Go(func() {
		if cutErr = pause(ctx, time.Second); cutErr == nil {
			cutErr = c.internet.SetCuts(ctx, machinetest.Drop(a.public, b.public), machinetest.Drop(b.public, a.public))
		}
	})
	gap, err := a.gapTo(ctx, b)
	wait.Wait()
	return gap, errors.Join(err, cutErr)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

var replyLine = regexp.MustCompile(`^\[(\d+\.\d+)\] \d+ bytes from .* icmp_seq=`)

// longestGap returns the longest time between two answers that ping prints, and when the last came.
func longestGap(lines *bufio.Scanner) (gap time.Duration, last time.Time) {
	for lines.Scan() {
		m := replyLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		at, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			continue
		}
		now := time.UnixMicro(int64(at * 1e6))
		if !last.IsZero() {
			gap = max(gap, now.Sub(last))
		}
		last = now
	}
	return gap, last
}
