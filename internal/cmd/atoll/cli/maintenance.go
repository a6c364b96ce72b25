package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// maintenanceOptions are the flags of atoll maintenance enter and leave.
type maintenanceOptions struct {
	nodes   nodeFlags
	all     bool
	reason  string
	force   bool
	json    bool
	timeout time.Duration
	wait    time.Duration
}

// lookAgain is how often the node is looked at until it has heard.
const lookAgain = 200 * time.Millisecond

func maintenanceCommand(env Environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "maintenance",
		Short: "Take a node out of service for a while, and back",
		Long: `Takes a node out of service for a while, and back.

A node in maintenance says on its health endpoint that it is not to be used, so load balancers send it nothing, and its
absence is no reason to call the cluster degraded. It stays in the mesh and goes on to be kept as described. atoll status
shows it. The order is signed, spreads to all nodes and holds through restarts, until "leave"; a node that is removed
and made again is in service.

To change something that all nodes share, such as files that are kept equal on two of them, take all out, change it once, wait until it
is everywhere, and put them back: atoll upgrade does all of this, with a way back, or by hand

  atoll maintenance enter --all
  atoll wait-synced
  atoll maintenance leave --all`,
	}
	cmd.AddCommand(maintenanceEnterCommand(env), maintenanceLeaveCommand(env))
	return cmd
}

func maintenanceEnterCommand(env Environment) *cobra.Command {
	var o maintenanceOptions
	cmd := &cobra.Command{
		Use:   "enter NODE | --all",
		Short: "Take a node out of service, or all of them",
		Long: `Takes a node out of service, or all nodes of the cluster, and returns when they say so.

Load balancers notice at the next look of their monitors, so wait for their interval before you switch anything off. A load
balancer with checks, quick removal or a local proxy that would be left without a node in service, or with fewer than its
minimum, is an error without --force; with --all it is what was asked for, and a warning.`,
		Args: o.nodeOrAll,
		RunE: func(cmd *cobra.Command, args []string) error {
			body := spec.Maintenance{Reason: o.reason, Since: env.Now().UTC().Truncate(time.Second)}
			if err := body.Validate().Err(); err != nil {
				return err
			}
			return o.run(cmd.Context(), env, args, &body)
		},
	}
	o.add(cmd)
	cmd.Flags().StringVar(&o.reason, "reason", "", "`text` for other people, which only operators can read")
	cmd.Flags().BoolVar(&o.force, "force", false, "also when too few nodes are left in service")
	return cmd
}

func maintenanceLeaveCommand(env Environment) *cobra.Command {
	var o maintenanceOptions
	cmd := &cobra.Command{
		Use:   "leave NODE | --all",
		Short: "Put a node back into service, or all of them",
		Long: `Puts a node back into service, or all nodes of the cluster, and returns when they have heard of it. Each serves once it is well: one
with replication pairs once their trees were found equal again.`,
		Args: o.nodeOrAll,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), env, args, nil)
		},
	}
	o.add(cmd)
	cmd.Flags().BoolVar(&o.force, "force", false, "also when an upgrade is under way, which is forgotten then; its snapshots stay")
	return cmd
}

func (o *maintenanceOptions) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	o.nodes.add(flags)
	flags.BoolVar(&o.all, "all", false, "every node of the cluster")
	flags.BoolVar(&o.json, "json", false, "print JSON; with --all a list")
	flags.DurationVar(&o.timeout, "timeout", 8*time.Second, "how long a node may take to answer")
	flags.DurationVar(&o.wait, "wait", 30*time.Second, "how long to wait until the node itself has heard; 0 does not wait")
}

// nodeOrAll wants either one node or --all.
func (o *maintenanceOptions) nodeOrAll(cmd *cobra.Command, args []string) error {
	if !o.all {
		return cobra.ExactArgs(1)(cmd, args)
	}
	if len(args) > 0 {
		return fmt.Errorf("--all is every node of the cluster: leave out %s, or --all", strings.Join(args, " "))
	}
	return nil
}

// maintained is what a run has done.
type maintained struct {
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
	// Maintenance is nil for a node that is in service.
	Maintenance *spec.Maintenance `json:"maintenance"`
	// Changed tells whether it was otherwise before.
	Changed bool `json:"changed"`
	// Told is how many nodes have taken the order from here, InEffect whether the node itself acts on it.
	Told     int  `json:"told"`
	InEffect bool `json:"in_effect"`
	// Warnings say what the operator should know.
	Warnings []string `json:"warnings,omitempty"`
}

// run puts nodes into maintenance, or back into service when want is nil.
func (o *maintenanceOptions) run(ctx context.Context, env Environment, nodes []string, want *spec.Maintenance) error {
	key, err := trust.SigningKeyFromEnvironment(env.Getenv)
	if err != nil {
		return err
	}
	targets, err := o.nodes.targets(env)
	if err != nil {
		return err
	}
	r, err := ask(ctx, key, targets, o.timeout)
	if err != nil {
		return err
	}
	all := slices.Sorted(maps.Keys(r.Nodes))
	if o.all {
		nodes = all
	}
	orders := make([]maintained, len(nodes))
	for i, node := range nodes {
		if !slices.Contains(all, node) {
			return fmt.Errorf("cluster %q has no node %q; it has %s", r.Cluster, node, strings.Join(all, ", "))
		}
		if orders[i], err = o.plan(r, node, want); err != nil {
			return err
		}
	}
	errs := make([]error, len(nodes))
	var waits sync.WaitGroup
	// Every node is told before one is waited for.
	for i := range orders {
		if !orders[i].Changed {
			continue
		}
		var generation uint64
		if generation, errs[i] = o.order(ctx, env, key, targets, r, &orders[i]); errs[i] == nil && generation > 0 {
			waits.Go(func() { errs[i] = o.await(ctx, key, targets, generation, &orders[i]) })
		}
	}
	waits.Wait()
	if o.all && want != nil {
		for _, hostname := range slices.Sorted(maps.Keys(r.LoadBalancers)) {
			orders[len(orders)-1].warn("load balancer %s has no node in service until some leave maintenance", hostname)
		}
	}
	if o.json && o.all {
		return errors.Join(errors.Join(errs...), printJSON(env, orders))
	}
	for i, done := range orders {
		if errs[i] == nil {
			errs[i] = o.print(env, done)
		}
	}
	return errors.Join(errs...)
}

// plan returns what is to be done with a node.
func (o *maintenanceOptions) plan(r report, node string, want *spec.Maintenance) (maintained, error) {
	view := r.Nodes[node]
	done := maintained{Cluster: r.Cluster, Node: node, Maintenance: view.Maintenance, InEffect: true}
	if same(view.Maintenance, want) {
		return done, nil
	}
	done.Maintenance, done.Changed = want, true
	if want == nil {
		if up := view.Maintenance.Upgrade; up != nil && !o.force {
			return done, fmt.Errorf("upgrade %s on %s is under way: go on with atoll upgrade resume, or take it back with atoll upgrade abort; --force leaves the maintenance all the same", up.ID, up.Node)
		}
		return done, nil
	}
	if view.Maintenance != nil {
		only := *want
		only.Since, only.Upgrade = view.Maintenance.Since, view.Maintenance.Upgrade // only the reason is new
		done.Maintenance = &only
		return done, nil
	}
	if o.all {
		return done, nil
	}
	missing := leftWithTooFew(r, node)
	if len(missing) > 0 && !o.force {
		return done, fmt.Errorf("node %s is still needed: %s; bring another node back into service first, or say --force", node, strings.Join(missing, "; "))
	}
	done.Warnings = missing
	return done, nil
}

func (m *maintained) warn(format string, args ...any) {
	m.Warnings = append(m.Warnings, fmt.Sprintf(format, args...))
}

// same tells whether a node is already as wanted. Since is the operator's clock and says nothing.
func same(have, want *spec.Maintenance) bool {
	if have == nil || want == nil {
		return have == want
	}
	return have.Reason == want.Reason
}

// leftWithTooFew says which load balancers would not have enough nodes in service without this one.
func leftWithTooFew(r report, node string) []string {
	var missing []string
	for _, hostname := range slices.Sorted(maps.Keys(r.LoadBalancers)) {
		lb := r.LoadBalancers[hostname]
		if s := lb.Nodes[node].State; s != api.ServingIn && s != api.ServingKept {
			continue
		}
		switch left := lb.In() - 1; {
		case left == 0:
			missing = append(missing, fmt.Sprintf("load balancer %s would have no node in service", hostname))
		case left < lb.MinimumNodes:
			missing = append(missing, fmt.Sprintf("load balancer %s would have %d nodes in service, its minimum is %d", hostname, left, lb.MinimumNodes))
		}
	}
	return missing
}

// order signs the wish and gives it to every node that answers. It returns the generation that the node that is meant is to be waited for, 0 for
// one that is not.
func (o *maintenanceOptions) order(ctx context.Context, env Environment, key *trust.SigningKey, targets []api.Target, r report, done *maintained) (uint64, error) {
	ref := spec.Ref{Kind: spec.KindMaintenance, Name: done.Node}
	now := uint64(max(env.Now().UnixMilli(), 0))
	// Higher than what is known of the node, too: what was signed before a node was made again does not hold for the new one.
	generation := max(now, r.Generations[ref]+1, r.Generations[spec.Ref{Kind: spec.KindNode, Name: done.Node}]+1)
	object := spec.NewTombstone(r.Cluster, ref, generation, now)
	if done.Maintenance != nil {
		var err error
		if object, err = spec.NewObject(r.Cluster, done.Node, generation, now, *done.Maintenance); err != nil {
			return 0, err
		}
	}
	signed, err := trust.SignObject(key, object)
	if err != nil {
		return 0, err
	}
	told, err := tellAll(ctx, key, targets, o.timeout, store.ObjectRecord(signed))
	done.Told, done.InEffect = told, false
	if told == 0 {
		return 0, fmt.Errorf("no node has taken the order; nothing has changed for node %s: %w", done.Node, err)
	}
	if state := r.Nodes[done.Node].State; state != api.NodeReady && state != api.NodeNotReady {
		done.warn("node %s is %s; it hears of this from the others when it comes back", done.Node, state)
		return 0, nil
	}
	if o.wait <= 0 {
		return 0, nil
	}
	return generation, nil
}

// await waits until the node that is meant has heard.
func (o *maintenanceOptions) await(ctx context.Context, key *trust.SigningKey, targets []api.Target, generation uint64, done *maintained) error {
	if err := o.waitFor(ctx, key, targets, spec.Ref{Kind: spec.KindMaintenance, Name: done.Node}, generation); err != nil {
		return fmt.Errorf("%d of %d nodes have taken the order, but node %s has not said within %s that it acts on it (atoll status shows when it does): %w",
			done.Told, len(targets), done.Node, o.wait, err)
	}
	done.InEffect = true
	return nil
}

// waitFor waits until the node says that the object is in effect, as any node that answers reports it.
func (o *maintenanceOptions) waitFor(ctx context.Context, key *trust.SigningKey, targets []api.Target, ref spec.Ref, generation uint64) error {
	ctx, cancel := context.WithTimeout(ctx, o.wait)
	defer cancel()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		r, err := ask(ctx, key, targets, o.timeout)
		if err == nil && r.Nodes[ref.Name].Applied[ref] >= generation {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("%s knows of generation %d of %s at the node, not of %d", r.Seen, r.Nodes[ref.Name].Applied[ref], ref, generation)
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

func (o *maintenanceOptions) print(env Environment, done maintained) error {
	if o.json {
		return printJSON(env, done)
	}
	state := "in service"
	if done.Maintenance != nil {
		state = "in maintenance since " + done.Maintenance.Since.UTC().Format(time.RFC3339)
	}
	text := fmt.Sprintf("node %s of cluster %s is %s", done.Node, done.Cluster, state)
	switch {
	case !done.Changed:
		text += ", as it was before"
	case !done.InEffect:
		text = fmt.Sprintf("node %s of cluster %s is to be %s; %d nodes know", done.Node, done.Cluster, state, done.Told)
	}
	if _, err := fmt.Fprintln(env.Stdout, text); err != nil {
		return err
	}
	for _, w := range done.Warnings {
		if _, err := fmt.Fprintln(env.Stderr, "Warning:", w); err != nil {
			return err
		}
	}
	return nil
}

func printJSON(env Environment, value any) error {
	encoder := json.NewEncoder(env.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
