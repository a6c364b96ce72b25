package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
)

func upgradeListCommand(env Environment) *cobra.Command {
	o := upgradeOptions{}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the upgrade that is under way, and the snapshots on the nodes",
		Long: `Shows the upgrade that is under way and the snapshots of all upgrades, with their age and what is in them. They stay until "forget".

The exit code is 0, also when there is nothing, and 2 when a node of a pair could not be asked.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.inventory(cmd.Context(), env, func(u *upgrade, all []snapshot.Snapshot) error { return u.list(all) })
		},
	}
	o.nodes.add(cmd.Flags())
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

func upgradeForgetCommand(env Environment) *cobra.Command {
	o := upgradeOptions{}
	var olderThan time.Duration
	cmd := &cobra.Command{
		Use:   "forget ID… | --older-than AGE",
		Short: "Remove snapshots of upgrades",
		Long: `Removes the snapshots of upgrades from the nodes, and with them what was kept when they were put back: there is no way back to before these
upgrades then. That of an upgrade which is under way stays.

The exit code is 0 when they are gone, and 2 when not.`,
		Example: `  atoll upgrade forget u20260314-150926-k3f9
  atoll upgrade forget --older-than 720h`,
		Args: func(_ *cobra.Command, args []string) error {
			if (len(args) > 0) == (olderThan > 0) {
				return errors.New("say which snapshots, by their IDs or with --older-than")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.inventory(cmd.Context(), env, func(u *upgrade, all []snapshot.Snapshot) error { return u.forget(cmd.Context(), all, args, olderThan) })
		},
	}
	o.nodes.add(cmd.Flags())
	cmd.Flags().DurationVar(&olderThan, "older-than", 0, "all that were taken longer ago than this")
	return cmd
}

// inventory asks all nodes of all pairs for their snapshots. What some cannot say is an error after the others were dealt with.
func (o *upgradeOptions) inventory(ctx context.Context, env Environment, do func(*upgrade, []snapshot.Snapshot) error) error {
	u, err := o.open(env)
	if err != nil {
		return err
	}
	defer u.close()
	if err := u.look(ctx); err != nil {
		return err
	}
	var all []snapshot.Snapshot
	var errs []error
	for _, pair := range slices.Sorted(maps.Keys(u.report.Pairs)) {
		for _, node := range slices.Sorted(maps.Keys(u.report.Pairs[pair].Sides)) {
			client := u.client(node)
			if client == nil {
				errs = append(errs, fmt.Errorf("node %s of pair %s cannot be asked: it is not in the Terraform state, or give its --endpoint, too", node, pair))
				continue
			}
			result, err := client.Snapshot(ctx, pair, snapshot.Request{Action: snapshot.List}, nil)
			if err != nil {
				errs = append(errs, fmt.Errorf("the snapshots of pair %s on %s: %w", pair, node, err))
				continue
			}
			all = append(all, result.Snapshots...)
		}
	}
	slices.SortFunc(all, func(a, b snapshot.Snapshot) int { return strings.Compare(a.ID+a.Pair, b.ID+b.Pair) })
	return errors.Join(append([]error{do(u, all)}, errs...)...)
}

// list prints snapshots.
func (u *upgrade) list(all []snapshot.Snapshot) error {
	have, err := u.found()
	if err != nil {
		return err
	}
	if u.json {
		return printJSON(u.env, map[string]any{"cluster": u.report.Cluster, "under_way": have, "snapshots": slices.Concat([]snapshot.Snapshot{}, all)})
	}
	var b strings.Builder
	if have != nil {
		u.state = *have
		fmt.Fprintf(&b, "%s\n", u.howToGoOn())
	}
	if len(all) == 0 {
		fmt.Fprintf(&b, "cluster %s has no snapshots\n", u.report.Cluster)
	} else {
		t := newTable("Snapshot", "Pair", "Node", "Age", "Files", "Size", "How", "Replaced")
		for _, s := range all {
			age, how := "-", "not whole"
			if s.Whole() {
				age, how = u.env.Now().Sub(s.Taken).Round(time.Minute).String(), string(s.Method)
			}
			t.AppendRow(table.Row{s.ID, s.Pair, s.Node, age, s.Totals.Files, size(s.Totals.Bytes), how, dash(s.Replaced)})
		}
		render(&b, t)
	}
	_, err = fmt.Fprint(u.env.Stdout, b.String())
	return err
}

// forget removes snapshots.
func (u *upgrade) forget(ctx context.Context, all []snapshot.Snapshot, ids []string, olderThan time.Duration) error {
	var errs []error
	known := map[string]bool{}
	for _, s := range all {
		known[s.ID] = true
		old := olderThan > 0 && s.Whole() && u.env.Now().Sub(s.Taken) > olderThan
		if !old && !slices.Contains(ids, s.ID) {
			continue
		}
		if u.mine(s.ID) {
			errs = append(errs, fmt.Errorf("upgrade %s is under way: resume or abort it first", s.ID))
			continue
		}
		if _, err := u.snapshotOn(ctx, s.Node, s.Pair, snapshot.Request{Action: snapshot.Remove, ID: s.ID}); err != nil {
			errs = append(errs, err)
			continue
		}
		u.out.say("pair %s: snapshot %s on %s is removed", s.Pair, s.ID, s.Node)
	}
	for _, id := range ids {
		if !known[id] {
			errs = append(errs, fmt.Errorf("no node has a snapshot %q", id))
		}
	}
	return errors.Join(errs...)
}

// print says how an upgrade ended.
func (u *upgrade) print() error {
	if u.json {
		return printJSON(u.env, u.result)
	}
	text := map[string]string{
		outcomeDone:     "upgrade %s on %s is done; its snapshots stay until: atoll upgrade forget %[1]s\n",
		outcomeRestored: "upgrade %s on %s was taken back; its snapshots stay until: atoll upgrade forget %[1]s\n",
	}[u.result.Outcome]
	if text == "" {
		return nil // the error says it
	}
	_, err := fmt.Fprintf(u.env.Stdout, text, u.state.ID, u.state.Node)
	return err
}
