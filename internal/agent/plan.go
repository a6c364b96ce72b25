package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/databases"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// ErrNotJoined is returned when there is nothing to plan because the node is no member of a cluster.
var ErrNotJoined = errors.New("this node has not joined a cluster yet")

// Planned is what one run of the steps would do to a node.
type Planned struct {
	Cluster, Node string
	// Changes are the changes in the order in which they would be made.
	Changes []string
	// Problems are what keeps steps from being planned or done.
	Problems []string
}

// Plan computes what one run of the steps would change on this node. It changes nothing, and does not disturb a running
// agent. It fails with ErrNotJoined on a node that is no member.
func Plan(ctx context.Context, cfg Config) (*Planned, error) {
	cfg = cfg.withDefaults()
	recorder := host.NewPlan(cfg.System)
	cfg.System = recorder
	a := &Agent{cfg: cfg, log: cfg.Log, state: state{cfg.StateDir}}
	a.makeDrivers()
	m, err := loadMembership(a.state)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, ErrNotJoined
	}
	st, err := store.Open(a.state.path(storeDir), m.root, store.Options{Now: cfg.Now, Log: cfg.Log, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	s := &session{a: a, m: m, log: cfg.Log, store: st}
	p := &Planned{Cluster: m.record.Cluster, Node: m.record.Node}
	in := s.input()
	for _, step := range s.hostSteps() {
		if err := step.reconcile(ctx, in); err != nil {
			p.Problems = append(p.Problems, fmt.Sprintf("%s: %v", step.name(), err))
		}
	}
	if err := databases.Plan(ctx, s.databaseConfig()); err != nil {
		p.Problems = append(p.Problems, err.Error())
	}
	if in.view == nil {
		p.Problems = append(p.Problems, "mesh: the objects of the cluster and of this node have not arrived yet")
	}
	p.Changes = recorder.Changes()
	return p, st.Close()
}

// Lines returns the plan as text, one line each.
func (p Planned) Lines() []string {
	lines := []string{fmt.Sprintf("node %s of cluster %s", p.Node, p.Cluster)}
	for _, c := range p.Changes {
		lines = append(lines, "  would "+c)
	}
	for _, problem := range p.Problems {
		lines = append(lines, "  problem: "+problem)
	}
	if len(p.Changes) == 0 && len(p.Problems) == 0 {
		lines = append(lines, "  nothing to change")
	}
	return lines
}
