package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// The lab benchmark's nodes and what it repeats.
const (
	spreadRuns = 20
	killRuns   = 3
	idleFor    = 30 * time.Second
)

var labNodes = []string{"hk1", "hk2", "sg1"}

// labBench measures a three-site cluster in a lab.
type labBench struct {
	*rig.Site
	out     io.Writer
	cluster string
	// balancers counts the load balancers that benchHealth has made.
	balancers int
	// journals is the folder where benchHealth leaves what a node's programs have said, "" for none.
	journals string
}

// benchLab brings the reference topology up in a lab and measures it.
func benchLab(ctx context.Context, out io.Writer) error {
	return withLab(ctx, out, func(b *labBench) error {
		for _, step := range []func(context.Context) error{b.apply, b.joining, b.spreading, b.idle, b.dying, b.destroy} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// withLab measures in a lab with an operator's folder, of which nothing is left.
func withLab(ctx context.Context, out io.Writer, measure func(*labBench) error) (err error) {
	dir, err := os.MkdirTemp("", "atoll-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	programs, err := rig.Build(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return err
	}
	engine, err := engine(ctx, programs)
	if err != nil {
		return err
	}
	from := time.Now()
	site, err := rig.NewSite(ctx, programs, rig.SiteOptions{
		Engine: engine, Dir: dir, Lab: lab.Options{Name: fmt.Sprintf("bench-%d", os.Getpid()), Temporary: true},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, site.Close()) }()
	b := &labBench{Site: site, out: out}
	fmt.Fprintf(out, "A lab with two machines that answer by SSH, and `init`: %s\n\n", seconds(time.Since(from)))
	return measure(b)
}

// apply measures the first apply by its own account of each resource.
func (b *labBench) apply(ctx context.Context) error {
	r, err := b.Work.Run(ctx, "apply", "-auto-approve", "-json")
	if err != nil {
		return err
	}
	rows, err := phases(r.Stdout)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "First `%s apply` of examples/stacks/three-site, by resource (independent ones run at the same time):\n\n", filepath.Base(b.Work.Engine))
	printTable(b.out, []string{"resource", "began", "took"}, append(rows, []string{"the whole command", "0.0 s", seconds(r.Took)}))
	status, _, err := b.Status(ctx)
	if err != nil {
		return err
	}
	b.cluster = status.Cluster
	plan, err := b.Work.Run(ctx, "plan", "-detailed-exitcode")
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "Plan after it, empty, with refresh: %s\n\n", seconds(plan.Took))
	return nil
}

// phases reads the engine's messages about resources.
func phases(messages string) ([][]string, error) {
	type message struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"@timestamp"`
		Hook      struct {
			Resource struct {
				Addr string `json:"addr"`
			} `json:"resource"`
		} `json:"hook"`
	}
	var start time.Time
	began := map[string]time.Time{}
	var rows [][]string
	for line := range strings.Lines(messages) {
		var m message
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			return nil, fmt.Errorf("read the engine's messages: %w", err)
		}
		if start.IsZero() {
			start = m.Timestamp
		}
		switch m.Type {
		case "apply_start":
			began[m.Hook.Resource.Addr] = m.Timestamp
		case "apply_complete":
			at := began[m.Hook.Resource.Addr]
			rows = append(rows, []string{m.Hook.Resource.Addr, fmt.Sprintf("%.1f s", at.Sub(start).Seconds()), seconds(m.Timestamp.Sub(at))})
		}
	}
	return rows, nil
}

// joining measures from a Linode's power to its agent's word that it has joined.
func (b *labBench) joining(ctx context.Context) error {
	machine, err := b.Node("sg1")
	if err != nil {
		return err
	}
	powered, err := startOf(machine.PID)
	if err != nil {
		return err
	}
	out, err := b.Exec(ctx, machine.Name, "journalctl", "-u", "atolld", "-o", "json", "--no-pager")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(out)) {
		var entry struct {
			At      string `json:"__REALTIME_TIMESTAMP"`
			Message string `json:"MESSAGE"`
		}
		if json.Unmarshal([]byte(line), &entry) != nil || !strings.Contains(entry.Message, "msg=joined") {
			continue
		}
		micros, err := strconv.ParseInt(entry.At, 10, 64)
		if err != nil {
			return err
		}
		fmt.Fprintf(b.out, "A Linode's PID 1 to joined: %s\n\n", seconds(time.UnixMicro(micros).Sub(powered)))
		return nil
	}
	return errors.New("the agent of sg1 does not say when it joined")
}

// startOf returns when a process of this machine began, to a hundredth of a second.
func startOf(pid int) (time.Time, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return time.Time{}, err
	}
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Time{}, err
	}
	now := time.Now()
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	ticks, err := strconv.ParseFloat(fields[19], 64)
	if err != nil {
		return time.Time{}, err
	}
	up, err := strconv.ParseFloat(strings.Fields(string(uptime))[0], 64)
	if err != nil {
		return time.Time{}, err
	}
	return now.Add(-time.Duration((up - ticks/100) * float64(time.Second))), nil
}

// spreading measures from the acknowledgement of one agent until every agent has an object.
func (b *labBench) spreading(ctx context.Context) error {
	var pushed, spread sample
	for range spreadRuns {
		record, generation, err := b.renewed(ctx)
		if err != nil {
			return err
		}
		agent, err := b.Agent(b.cluster, "hk1")
		if err != nil {
			return err
		}
		from := time.Now()
		if _, err := agent.Push(ctx, []store.Record{record}); err != nil {
			return err
		}
		pushed = append(pushed, time.Since(from))
		if err := b.await(ctx, labNodes, func(node string) bool {
			o, err := b.clusterObject(ctx, node)
			return err == nil && o.Generation >= generation
		}); err != nil {
			return err
		}
		spread = append(spread, time.Since(from))
		agent.Close()
	}
	fmt.Fprint(b.out, "A changed object, pushed to one of three nodes (each look at a node is an HTTPS request, so this is an upper bound):\n\n")
	printTable(b.out, append([]string{"until"}, sampleColumns...), [][]string{
		append([]string{"the node has it on disk and answers"}, pushed.cells()...),
		append([]string{"all three have it"}, spread.cells()...),
	})
	return nil
}

// await asks all nodes at the same time, again and again, until each is ready.
func (b *labBench) await(ctx context.Context, nodes []string, ready func(node string) bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	done := make(chan error, len(nodes))
	for _, node := range nodes {
		go func() {
			for !ready(node) {
				select {
				case <-ctx.Done():
					done <- fmt.Errorf("%s: %w", node, ctx.Err())
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
			done <- nil
		}()
	}
	var errs []error
	for range nodes {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

// clusterObject asks a node for the cluster object.
func (b *labBench) clusterObject(ctx context.Context, node string) (spec.Object, error) {
	agent, err := b.Agent(b.cluster, node)
	if err != nil {
		return spec.Object{}, err
	}
	defer agent.Close()
	records, err := agent.Records(ctx)
	if err != nil {
		return spec.Object{}, err
	}
	root := trust.Root{Cluster: b.cluster, Key: b.Key.Public()}
	for _, r := range records {
		if r.Object == nil {
			continue
		}
		if o, err := root.VerifyObject(*r.Object); err == nil && o.Kind == spec.KindCluster {
			return o, nil
		}
	}
	return spec.Object{}, fmt.Errorf("%s has no cluster object", node)
}

// renewed signs the cluster object again with a higher generation.
func (b *labBench) renewed(ctx context.Context) (store.Record, uint64, error) {
	o, err := b.clusterObject(ctx, "hk1")
	if err != nil {
		return store.Record{}, 0, err
	}
	now := uint64(time.Now().UnixMilli()) //nolint:gosec // after 1970
	o.Generation, o.Signed = max(o.Generation+1, now), now
	e, err := trust.SignObject(b.Key, o)
	return store.ObjectRecord(e), o.Generation, err
}

// destroy measures the end.
func (b *labBench) destroy(ctx context.Context) error {
	r, err := b.Work.Run(ctx, "destroy", "-auto-approve")
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "`destroy` of everything: %s\n\n", seconds(r.Took))
	return nil
}

// without returns the nodes but one.
func without(node string) []string {
	return slices.DeleteFunc(slices.Clone(labNodes), func(n string) bool { return n == node })
}
