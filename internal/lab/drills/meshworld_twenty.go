//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

// manyNodes is how many nodes a large cluster of the drills has, and manyLoss which share of all packets gets lost there, in percent.
const (
	manyNodes = 20
	manyLoss  = 5
)

// manyMachines are the machines of that cluster, at two sites.
func manyMachines() []lab.Machine {
	var out []lab.Machine
	for i := range manyNodes {
		out = append(out, lab.Machine{Name: fmt.Sprintf("n%02d", i+1), Site: []string{network.SiteColo, network.SiteVPS}[i%2]})
	}
	return out
}

// manyCluster are twenty nodes that serve the demo's application together. Dead ones would be taken out of service by the others.
func manyCluster() *Cluster {
	machines := manyMachines()
	var nodes []string
	for _, m := range machines {
		nodes = append(nodes, m.Name)
	}
	c := edgeCluster("twenty nodes behind an edge", website, machines, nodes...)
	c.Env = append(c.Env, "TF_VAR_linodes={}")
	return c
}

// meshTwentyNodes makes every path lose packets at random.
func meshTwentyNodes(c *Cluster, name string, lasts time.Duration) Drill {
	var nodes []string
	for _, m := range manyMachines() {
		nodes = append(nodes, m.Name)
	}
	m := &monitors{nodes: nodes, hostname: edgeHost}
	var before map[string]time.Duration
	var watch *linkWatch
	out := map[string]bool{}
	return Drill{
		Name: name, Cluster: c, Traffic: m.begin, Heal: healMeshWorld,
		Proves: fmt.Sprintf("when every path between twenty nodes loses %d %% of the packets at random for %s, nobody is called dead, no node stops to serve, no link is left more than once in ten minutes, and all know the same at the end", manyLoss, lasts),
		Inject: func(ctx context.Context, f *Field) error {
			before, watch = processorTime(f), &linkWatch{}
			return f.Loss(ctx, network.Everything, network.Everything, manyLoss, true)
		},
		Settle: func(ctx context.Context, f *Field) error {
			for time.Since(f.Injected) < lasts {
				for _, n := range outOfService(f) {
					out[n] = true
				}
				watch.look(ctx, f, nodes)
				pause(ctx, time.Second)
			}
			noteProcessorTime(f, before, time.Since(f.Injected))
			f.Note("direct links were missing %d times, %d of them by the nodes' own decision, of %d for %s; looked at %d times in vain", watch.lost, watch.left, len(nodes)*(len(nodes)-1)/2, lasts, watch.vain)
			return f.Await(ctx, "all nodes know the same", time.Minute, func(ctx context.Context) error { return converged(ctx, f, nodes) })
		},
		Verdict: func(ctx context.Context, f *Field, o Outcome) error {
			lines, err := journals(ctx, f, nodes)
			if err != nil {
				return err
			}
			lines = since(lines, f.Injected)
			var errs []error
			for what, found := range map[string][]said{
				"agents were called dead": matching(lines, saysDead), "nodes did not reach others": matching(lines, saysUnready),
				"nodes did not serve": matching(lines, saysUnfit), "nodes were taken out of service": matching(lines, saysRemoved),
			} {
				if len(found) > 0 {
					errs = append(errs, fmt.Errorf("%s, %d times: %s", what, len(found), examples(found)))
				}
			}
			if o.Failed > 0 {
				errs = append(errs, fmt.Errorf("a node's health endpoint did not say that it serves, %d times: %s", o.Failed, o.Detail))
			}
			if len(out) > 0 {
				errs = append(errs, fmt.Errorf("out of service at the vendor were %v", slices.Sorted(maps.Keys(out))))
			}
			left, taken := matching(lines, saysAway), matching(lines, saysBack)
			f.Note("agents left a direct link %d times and took one up again %d times", len(left), len(taken))
			if most := leavesOf(len(nodes), lasts); len(left) > most {
				errs = append(errs, fmt.Errorf("agents left direct links %d times, promised are %d at most: none is better than another", len(left), most))
			}
			return errors.Join(errs...)
		},
	}
}

// leavesOf is how often links may be left for nothing: each of them once in ten minutes.
func leavesOf(nodes int, lasts time.Duration) int {
	return int(float64(nodes*(nodes-1)/2) * lasts.Minutes() / 10)
}

// linkWatch counts how often direct links cease to be in use.
type linkWatch struct {
	// lost are all of them, left those that a node has left by its own decision; vain counts looks without an answer.
	lost, left, vain int

	// missing is since when each direction that has no direct way has none.
	missing map[[2]string]time.Time
}

// look asks one of the nodes, each time another one, how the links are.
func (w *linkWatch) look(ctx context.Context, f *Field, nodes []string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	status, err := statusOf(ctx, f, nodes[0])
	if err != nil {
		w.vain++
		return
	}
	if w.missing == nil {
		w.missing = map[[2]string]time.Time{}
	}
	for _, link := range status.Links {
		for _, d := range []struct {
			pair [2]string
			api.Direction
		}{{[2]string{link.From, link.To}, link.There}, {[2]string{link.To, link.From}, link.Back}} {
			since, was := w.missing[d.pair]
			switch d.State {
			case api.UpDirect, api.UnknownLink:
				continue
			case api.UpIndirect, api.Down:
			}
			if was && since.Equal(d.Since) {
				continue
			}
			w.missing[d.pair] = d.Since
			if d.pair[0] > d.pair[1] {
				continue // both directions of a link are one
			}
			w.lost++
			if _, left := link.Left(); left {
				w.left++
			}
		}
	}
}

// statusOf asks a node's agent for the status of the cluster.
func statusOf(ctx context.Context, f *Field, node string) (api.ClusterStatus, error) {
	agent, err := f.Agent(edgeClusterName, node)
	if err != nil {
		return api.ClusterStatus{}, err
	}
	defer agent.Close()
	return agent.Status(ctx)
}

func healMeshWorld(ctx context.Context, f *Field) error { return f.HealAll(ctx) }

// processorTime is what the machines have used since they were switched on.
func processorTime(f *Field) map[string]time.Duration {
	out := map[string]time.Duration{}
	for _, n := range f.Nodes() {
		out[n.Name] = n.CPU
	}
	return out
}

// noteProcessorTime says what share of a processor a node has used since.
func noteProcessorTime(f *Field, before map[string]time.Duration, passed time.Duration) {
	var all, most time.Duration
	for _, n := range f.Nodes() {
		used := n.CPU - before[n.Name]
		all, most = all+used, max(most, used)
	}
	share := func(used time.Duration) float64 { return 100 * used.Seconds() / passed.Seconds() }
	f.Note("a node used %.1f %% of a processor, %.1f %% at most, everything on it included", share(all)/float64(len(before)), share(most))
}

// converged demands that every node has the same objects and admits, reaches and hears every other.
func converged(ctx context.Context, f *Field, nodes []string) error {
	var first api.ClusterStatus
	for i, n := range nodes {
		status, err := statusOf(ctx, f, n)
		if err != nil {
			return err
		}
		if i == 0 {
			first = status
		}
		if len(status.Nodes) != len(nodes) || !maps.Equal(status.Generations, first.Generations) {
			return fmt.Errorf("%s knows %d nodes and %v, %s knows %d nodes and %v", n, len(status.Nodes), status.Generations, nodes[0], len(first.Nodes), first.Generations)
		}
		for name, node := range status.Nodes {
			if node.State != api.NodeReady || node.Identity != first.Nodes[name].Identity {
				return fmt.Errorf("%s calls %s %s: %s", n, name, node.State, node.Message)
			}
		}
	}
	return nil
}
