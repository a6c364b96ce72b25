package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// statusOptions are the flags of atoll status.
type statusOptions struct {
	nodes    nodeFlags
	json     bool
	watch    bool
	explain  string
	interval time.Duration
	timeout  time.Duration
}

func statusCommand(env Environment) *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show nodes, links, load balancers, databases, pairs and conditions of a cluster",
		Long: `Asks the nodes of a cluster how it is and shows nodes, links, load balancers, databases, pairs and conditions, and since when
they are so.

Of load balancers it shows what the nodes know: those with an application check, quick removal or a local proxy. A node in
maintenance (atoll maintenance) is shown as such and does not make the cluster unhealthy, whatever becomes of it. Of databases
it shows the members, who takes writes, how far the others are behind, where each node's router leads to, a change that is being
rolled out, and after the outage of all members what each of them has. Of pairs of directory trees it shows how both sides are, how
many changed paths wait, when both were last found equal, how long the last measured change took, and the kept copies of
conflicting changes by their paths.

The nodes are those of the Terraform state; where that is out of reach, name some with --endpoint and their cluster
with --cluster. A state that is kept elsewhere can be piped in: terraform state pull | atoll status --state -

With --explain NODE it shows everything that the cluster knows of one node, from every side: what is wrong with it and what to do, its
conditions, its links in both directions, its parts in databases, pairs and load balancers, and how each other node sees it.

The exit code is 0 for a healthy cluster, or a node with which nothing is wrong; 1 for one that is not as described; and 2 when no node
could be asked.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := trust.SigningKeyFromEnvironment(env.Getenv)
			if err != nil {
				return err
			}
			targets, err := o.nodes.targets(env)
			if err != nil {
				return err
			}
			if o.watch {
				return o.follow(cmd.Context(), env, key, targets)
			}
			return o.once(cmd.Context(), env, key, targets)
		},
	}
	flags := cmd.Flags()
	o.nodes.add(flags)
	flags.BoolVar(&o.json, "json", false, "print JSON")
	flags.StringVar(&o.explain, "explain", "", "show everything about one `node`: what is wrong with it and what to do")
	flags.BoolVarP(&o.watch, "watch", "w", false, "show it again and again until interrupted")
	flags.DurationVar(&o.interval, "interval", 2*time.Second, "how long --watch waits in between")
	flags.DurationVar(&o.timeout, "timeout", 8*time.Second, "how long a node may take to answer")
	return cmd
}

// once asks and prints once. It returns errDegraded for a cluster that is not healthy.
func (o *statusOptions) once(ctx context.Context, env Environment, key *trust.SigningKey, targets []api.Target) error {
	if o.explain != "" {
		return o.explained(ctx, env, key, targets)
	}
	report, err := ask(ctx, key, targets, o.timeout)
	if err != nil {
		return err
	}
	if err := o.print(env, report); err != nil {
		return err
	}
	if !report.Healthy {
		return errDegraded
	}
	return nil
}

// explained asks and prints once what is known of one node. It returns errDegraded when something is wrong with it, unless it is in
// maintenance.
func (o *statusOptions) explained(ctx context.Context, env Environment, key *trust.SigningKey, targets []api.Target) error {
	answers := gather(ctx, key, targets, o.timeout)
	r, err := combine(answers)
	if err != nil {
		return err
	}
	port := "the port of the mesh"
	if in, _, err := askObjects(ctx, env, key, targets, o.timeout); err == nil {
		port = meshPortOf(in, o.explain)
	}
	x, err := explain(o.explain, r, answers, port)
	if err != nil {
		return err
	}
	if err := o.print(env, x); err != nil {
		return err
	}
	if !x.Ready && x.State.Maintenance == nil {
		return errDegraded
	}
	return nil
}

// follow asks and prints until the operator interrupts it, and ends as the last answer did. Being unable to ask is no
// reason to stop looking.
func (o *statusOptions) follow(ctx context.Context, env Environment, key *trust.SigningKey, targets []api.Target) error {
	tick := time.NewTicker(max(o.interval, 100*time.Millisecond))
	defer tick.Stop()
	var last error
	for {
		if !o.json {
			// Back to the upper left corner of an empty screen.
			if _, err := fmt.Fprint(env.Stdout, "\x1b[H\x1b[2J"); err != nil {
				return err
			}
		}
		err := o.once(ctx, env, key, targets)
		if ctx.Err() != nil {
			return last
		}
		if last = err; err != nil && !errors.Is(err, errDegraded) {
			if _, err := fmt.Fprintln(env.Stderr, "Error:", err); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return last
		case <-tick.C:
		}
	}
}

// printable has a form for people beside that for programs, which is JSON.
type printable interface{ text() string }

func (o *statusOptions) print(env Environment, r printable) error {
	if !o.json {
		_, err := fmt.Fprint(env.Stdout, r.text())
		return err
	}
	encoder := json.NewEncoder(env.Stdout)
	if !o.watch { // one line for each round is what a program reads most easily
		encoder.SetIndent("", "  ")
	}
	return encoder.Encode(r)
}
