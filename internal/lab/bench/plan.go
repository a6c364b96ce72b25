package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// The configuration of the plan benchmark: one cluster, its nodes, and links up to the number of resources.
const (
	planNodes     = 100
	planResources = 1000
	planLinks     = planResources - planNodes - 1
	planRuns      = 7
)

// subject is one provider under the plan benchmark.
type subject struct {
	name      string
	workspace *rig.Workspace
}

// benchPlan measures plans that find nothing to do. Both providers manage the same number of resources, which refer to
// each other in the same way; with refresh, Atoll really asks its (in-process) agents.
func benchPlan(ctx context.Context, out io.Writer) error {
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
	if err := programs.BuildProvider(ctx, "trivial", "./internal/lab/bench/trivial"); err != nil {
		return err
	}
	trivial, err := trivialSubject(ctx, programs, engine, filepath.Join(dir, "trivial"))
	if err != nil {
		return err
	}
	machines := &agents{}
	defer machines.close()
	atoll, end, err := atollSubject(ctx, programs, engine, filepath.Join(dir, "atoll"), machines)
	if end != nil {
		defer end()
	}
	if err != nil {
		return err
	}
	return timePlans(ctx, out, []subject{atoll, trivial})
}

// atollSubject applies the configuration of Atoll in an emulated cloud in this process. Linode's limits are kept, so this
// takes minutes.
func atollSubject(ctx context.Context, p *rig.Programs, engine, dir string, machines *agents) (s subject, end func(), err error) {
	cloud := &linode.Server{Machines: machines}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return s, nil, err
	}
	server := &http.Server{Handler: cloud, ReadHeaderTimeout: 10 * time.Second}
	machines.work.Go(func() { _ = server.Serve(listener) }) // it ends when end closes it
	end = func() {
		_ = server.Close()
		cloud.Close()
	}
	key, err := trust.NewSigningKey()
	if err != nil {
		return s, end, err
	}
	pem, err := key.MarshalPEM()
	if err != nil {
		return s, end, err
	}
	w, err := newPlanWorkspace(p, engine, dir, atollConfig())
	if err != nil {
		return s, end, err
	}
	w.Env = []string{"LINODE_TOKEN=bench", "LINODE_URL=http://" + listener.Addr().String(), "ATOLL_SIGNING_KEY=" + string(pem)}
	for _, args := range [][]string{{"init"}, {"apply", "-auto-approve", "-parallelism=50"}} {
		result, err := w.Run(ctx, args...)
		if err != nil {
			return s, end, err
		}
		fmt.Fprintln(os.Stderr, "atoll:", args[0], "took", result.Took.Round(time.Second))
	}
	return subject{name: "atoll", workspace: w}, end, nil
}

// timePlans runs the plans of all subjects in turns, so that whatever else the machine does meets all alike.
func timePlans(ctx context.Context, out io.Writer, subjects []subject) error {
	modes := []struct {
		name string
		args []string
	}{
		{"without refresh", []string{"plan", "-detailed-exitcode", "-refresh=false"}},
		{"with refresh", []string{"plan", "-detailed-exitcode"}},
	}
	samples := map[string]sample{}
	for i := range planRuns + 1 {
		for _, mode := range modes {
			for _, s := range subjects {
				result, err := s.workspace.Run(ctx, mode.args...)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", s.name, mode.name, err)
				}
				fmt.Fprintln(os.Stderr, s.name, mode.name, seconds(result.Took))
				if i > 0 { // the first round fills the page cache
					samples[s.name+mode.name] = append(samples[s.name+mode.name], result.Took)
				}
			}
		}
	}
	fmt.Fprintf(out, "No-op plan of %d resources (1 cluster, %d nodes, %d links):\n\n", planResources, planNodes, planLinks)
	var rows [][]string
	for _, mode := range modes {
		base := samples[subjects[len(subjects)-1].name+mode.name]
		for _, s := range subjects {
			own := samples[s.name+mode.name]
			rows = append(rows, append(append([]string{s.name, mode.name}, own.cells()...), ratio(own, base)))
		}
	}
	printTable(out, append(append([]string{"provider", "plan"}, sampleColumns...), "ratio"), rows)
	return nil
}

// trivialSubject applies the yardstick's configuration.
func trivialSubject(ctx context.Context, p *rig.Programs, engine, dir string) (subject, error) {
	w, err := newPlanWorkspace(p, engine, dir, trivialConfig())
	if err != nil {
		return subject{}, err
	}
	for _, args := range [][]string{{"init"}, {"apply", "-auto-approve"}} {
		if _, err := w.Run(ctx, args...); err != nil {
			return subject{}, err
		}
	}
	return subject{name: "trivial", workspace: w}, nil
}

func newPlanWorkspace(p *rig.Programs, engine, dir, config string) (*rig.Workspace, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	w, err := rig.NewWorkspace(p, engine, dir, nil)
	if err != nil {
		return nil, err
	}
	return w, w.Write("main.tf", config)
}

func atollConfig() string {
	return fmt.Sprintf(`
terraform {
  required_providers {
    atoll = { source = "atollhq/atoll" }
  }
}

%s

resource "atoll_cluster" "bench" {
  name      = "bench"
  mesh_cidr = "10.66.0.0/16"
}

resource "atoll_node" "node" {
  for_each = local.nodes
  cluster  = atoll_cluster.bench
  name     = each.key
  linode   = { region = "ap-south", type = "g6-nanode-1", image = "private/1" }
}

resource "atoll_mesh_link" "link" {
  for_each = local.links
  from     = atoll_node.node[each.value.from]
  to       = atoll_node.node[each.value.to]
}
`, planLocals())
}

func trivialConfig() string {
	return fmt.Sprintf(`
terraform {
  required_providers {
    trivial = { source = "atollhq/trivial" }
  }
}

%s

resource "trivial_thing" "cluster" {
  name = "bench"
}

resource "trivial_thing" "node" {
  for_each = local.nodes
  name     = each.key
  parent   = trivial_thing.cluster
}

resource "trivial_thing" "link" {
  for_each = local.links
  name     = each.key
  parent   = trivial_thing.node[each.value.from]
  to       = trivial_thing.node[each.value.to]
}
`, planLocals())
}

// planLocals names the nodes and as many of their pairs as the benchmark has links.
func planLocals() string {
	return fmt.Sprintf(`locals {
  names = [for i in range(%d) : format("n%%03d", i)]
  nodes = toset(local.names)
  pairs = flatten([for i, a in local.names : [for b in slice(local.names, i + 1, length(local.names)) : { from = a, to = b }]])
  links = { for p in slice(local.pairs, 0, %d) : "${p.from}.${p.to}" => p }
}`, planNodes, planLinks)
}
