package meshtest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
)

// Restarts measures how long three nodes lose each other when one node's daemon is started again under traffic: the
// longest gap of each of the four streams that the node has with the others, in each round.
func Restarts(t *testing.T, rounds int, oneWay time.Duration, variants ...Variant) {
	measureGaps(t, rounds, oneWay, func(ctx context.Context, c *cluster, v Variant) error {
		return c.nodes[hk].machine.Sys.Units().Restart(ctx, v.Unit)
	}, variants)
}

// measureGaps does something to the first of three nodes under traffic, in each round.
func measureGaps(t *testing.T, rounds int, oneWay time.Duration, act func(context.Context, *cluster, Variant) error, variants []Variant) {
	all := []string{hk, sg, us}
	w := table.NewWriter()
	w.AppendHeader(table.Row{"variant", "gaps", "median", "longest", "over 5 s"})
	gaps := make([][]time.Duration, len(variants))
	clusters := make([]*cluster, len(variants))
	for i, v := range variants {
		clusters[i] = newCluster(t, v.Driver, v.New, v.Edit, all...)
		if oneWay > 0 {
			clusters[i].internet.Slow(t, oneWay)
		}
		clusters[i].apply(t, all)
	}
	var wait sync.WaitGroup
	for i, v := range variants {
		wait.Go(func() {
			for range rounds {
				got, err := clusters[i].gaps(t.Context(), v, act)
				if err != nil {
					t.Errorf("%s: %v", v.Name, err)
					return
				}
				gaps[i] = append(gaps[i], got...)
			}
		})
	}
	wait.Wait()
	for i, v := range variants {
		if len(gaps[i]) == 0 {
			continue
		}
		sorted := slices.Sorted(slices.Values(gaps[i]))
		short, _ := slices.BinarySearch(sorted, 5*time.Second)
		w.AppendRow(table.Row{v.Name, len(sorted), seconds(sorted[len(sorted)/2]), seconds(sorted[len(sorted)-1]), len(sorted) - short})
	}
	_, _ = fmt.Fprintln(os.Stdout, w.Render())
}

// gaps sends traffic between the first node and both others, each way, acts, and returns the longest gap of each of the four
// streams.
func (c *cluster) gaps(ctx context.Context, v Variant, act func(context.Context, *cluster, Variant) error) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, v.Observe)
	defer cancel()
	type stream struct{ from, to *node }
	first := c.nodes[hk]
	streams := []stream{{first, c.nodes[sg]}, {first, c.nodes[us]}, {c.nodes[sg], first}, {c.nodes[us], first}}
	gaps := make([]time.Duration, len(streams))
	var wait sync.WaitGroup
	errs := make([]error, len(streams))
	for i, s := range streams {
		wait.Go(func() { gaps[i], errs[i] = s.from.gapTo(ctx, s.to) })
	}
	if err := pause(ctx, time.Second); err != nil {
		return nil, err
	}
	if err := act(ctx, c, v); err != nil {
		return nil, err
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return gaps, nil
}

// gapTo pings another node fifty times a second until ctx ends, and returns the longest time without an answer.
func (n *node) gapTo(ctx context.Context, to *node) (time.Duration, error) {
	argv := slices.Concat(n.machine.Enter(), []string{"ping", "-n", "-D", "-i", "0.02", to.mesh.String()})
	ping := exec.CommandContext(ctx, argv[0], argv[1:]...)
	// nsenter's child is the ping: the machine's end of the pipe must go with it.
	ping.Cancel = func() error {
		if pid, err := machinetest.OnlyChild(ping.Process.Pid); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return ping.Process.Kill()
	}
	out, err := ping.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := ping.Start(); err != nil {
		return 0, err
	}
	began := time.Now()
	gap, last := longestGap(bufio.NewScanner(out))
	_ = ping.Wait() // it ends by being killed
	if last.IsZero() {
		last = began
	}
	return max(gap, time.Since(last)), nil // the traffic may never have come back
}
