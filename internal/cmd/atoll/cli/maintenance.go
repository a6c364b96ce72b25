package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
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
and made again is in service.`,
	}
	cmd.AddCommand(maintenanceEnterCommand(env), maintenanceLeaveCommand(env))
	return cmd
}

func maintenanceEnterCommand(env Environment) *cobra.Command {
	var o maintenanceOptions
	cmd := &cobra.Command{
		Use:   "enter NODE",
		Short: "Take a node out of service",
		Long: `Takes a node out of service, and returns when the node says so.

Load balancers notice at the next look of their monitors, so wait for their interval before you switch anything off. A load
balancer with checks, quick removal or a local proxy that would be left without a node in service, or with fewer than its
minimum, is an error without --force.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := spec.Maintenance{Reason: o.reason, Since: env.Now().UTC().Truncate(time.Second)}
			if err := body.Validate().Err(); err != nil {
				return err
			}
			return o.run(cmd.Context(), env, args[0], &body)
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
		Use:   "leave NODE",
		Short: "Put a node back into service",
		Long:  `Puts a node back into service, and returns when the node has heard of it. It serves once it is well.`,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), env, args[0], nil)
		},
	}
	o.add(cmd)
	return cmd
}

func (o *maintenanceOptions) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	o.nodes.add(flags)
	flags.BoolVar(&o.json, "json", false, "print JSON")
	flags.DurationVar(&o.timeout, "timeout", 8*time.Second, "how long a node may take to answer")
	flags.DurationVar(&o.wait, "wait", 30*time.Second, "how long to wait until the node itself has heard; 0 does not wait")
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

// run puts a node into maintenance, or back into service when want is nil.
func (o *maintenanceOptions) run(ctx context.Context, env Environment, node string, want *spec.Maintenance) error {
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
	view, known := r.Nodes[node]
	if !known {
		return fmt.Errorf("cluster %q has no node %q; it has %s", r.Cluster, node, strings.Join(slices.Sorted(maps.Keys(r.Nodes)), ", "))
	}
	done := maintained{Cluster: r.Cluster, Node: node, Maintenance: view.Maintenance, InEffect: true}
	if same(view.Maintenance, want) {
		return o.print(env, done)
	}
	if want != nil {
		if view.Maintenance != nil {
			want.Since = view.Maintenance.Since // only the reason is new
		} else if missing := leftWithTooFew(r, node); len(missing) > 0 && !o.force {
			return fmt.Errorf("node %s is still needed: %s; bring another node back into service first, or say --force", node, strings.Join(missing, "; "))
		} else {
			done.Warnings = missing
		}
	}
	done.Maintenance, done.Changed = want, true
	return o.order(ctx, env, key, targets, r, done)
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

// order signs the wish, gives it to every node that answers, and waits until the one that is meant has heard.
func (o *maintenanceOptions) order(ctx context.Context, env Environment, key *trust.SigningKey, targets []api.Target, r report, done maintained) error {
	ref := spec.Ref{Kind: spec.KindMaintenance, Name: done.Node}
	now := uint64(max(env.Now().UnixMilli(), 0))
	// Higher than what is known of the node, too: what was signed before a node was made again does not hold for the new one.
	generation := max(now, r.Generations[ref]+1, r.Generations[spec.Ref{Kind: spec.KindNode, Name: done.Node}]+1)
	object := spec.NewTombstone(r.Cluster, ref, generation, now)
	if done.Maintenance != nil {
		var err error
		if object, err = spec.NewObject(r.Cluster, done.Node, generation, now, *done.Maintenance); err != nil {
			return err
		}
	}
	signed, err := trust.SignObject(key, object)
	if err != nil {
		return err
	}
	told, err := tellAll(ctx, key, targets, o.timeout, store.ObjectRecord(signed))
	if told == 0 {
		return fmt.Errorf("no node has taken the order; nothing has changed: %w", err)
	}
	done.Told, done.InEffect = told, false
	if state := r.Nodes[done.Node].State; state != api.NodeReady && state != api.NodeNotReady {
		done.Warnings = append(done.Warnings, fmt.Sprintf("node %s is %s; it hears of this from the others when it comes back", done.Node, state))
		return o.print(env, done)
	}
	if o.wait <= 0 {
		return o.print(env, done)
	}
	if err := o.waitFor(ctx, key, targets, ref, generation); err != nil {
		return fmt.Errorf("%d of %d nodes have taken the order, but node %s has not said within %s that it acts on it (atoll status shows when it does): %w",
			told, len(targets), done.Node, o.wait, err)
	}
	done.InEffect = true
	return o.print(env, done)
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
		encoder := json.NewEncoder(env.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(done)
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
