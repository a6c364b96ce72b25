//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/writer"
)

// lookWithin is how long write waits at the end for a node by which it can read what was written.
const lookWithin = time.Minute

// written is what write has seen.
type written struct {
	Acknowledged int `json:"acknowledged"`
	Failed       int `json:"failed"`
	// Longest is the longest time in which no node's writes were acknowledged.
	Longest time.Duration `json:"longest_without"`
	// Lost are acknowledged writes that the database does not have.
	Lost    int    `json:"lost"`
	Reasons string `json:"reasons,omitempty"`
}

func (a *app) writeCommand() *cobra.Command {
	var then []string
	duration := 30 * time.Second
	cmd := &cobra.Command{
		Use:   "write [NODE...]",
		Short: "Write to the database by way of nodes' routers, and say whether anything was lost",
		Long: `Write to the database of the reference topology like applications on nodes, all that are on when none is named: each by way of
the router on its own node. At the end it says how many writes were acknowledged, for how long none was, and how many of
those that were acknowledged the database does not have, which fails the command. --then does something to the lab
meanwhile. Interrupting it ends the writing and shows the figures.`,
		Example: `  atoll-lab write --duration 40s --then "10s kill hk1"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var deeds []deed
			for _, text := range then {
				d, err := parseDeed(text)
				if err != nil {
					return err
				}
				deeds = append(deeds, d)
			}
			return a.write(cmd.Context(), args, duration, deeds)
		},
	}
	cmd.Flags().DurationVar(&duration, "duration", duration, "how long they write")
	cmd.Flags().StringArrayVar(&then, "then", nil, "do something meanwhile, as `\"AFTER ACTION NODE\"`, repeatable: kill, power-on, shutdown, freeze, thaw; cut and heal take two ends")
	return cmd
}

// routers returns the ways to the database on nodes.
func (a *app) routers(ctx context.Context, client *lab.Client, names []string) ([]writer.Server, error) {
	d, err := client.Describe(ctx)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		for _, n := range d.Nodes {
			if n.Power == "on" {
				names = append(names, n.Name)
			}
		}
	}
	_, password, err := a.demoSecrets(ctx, client)
	if err != nil {
		return nil, err
	}
	var servers []writer.Server
	for _, name := range names {
		if !slices.ContainsFunc(d.Nodes, func(n lab.NodeState) bool { return n.Name == name }) {
			return nil, fmt.Errorf("%w: the lab has no node %q", errUsage, name)
		}
		servers = append(servers, writer.Server{
			Name: name, Network: "tcp", Address: "127.0.0.1:6446", Dial: network.Namespace(network.Prefix(a.name) + "node-" + name).Connect,
			User: "app", Password: password, Schema: "app",
		})
	}
	return servers, nil
}

func (a *app) write(ctx context.Context, names []string, duration time.Duration, deeds []deed) error {
	client := lab.Connect(a.name)
	servers, err := a.routers(ctx, client, names)
	if err != nil {
		return err
	}
	if err := writer.Prepare(ctx, servers[0]); err != nil {
		return err
	}
	began := time.Now()
	crowd := writer.Start(ctx, writer.Plan{Servers: servers})
	working, done := context.WithTimeout(ctx, duration)
	defer done()
	var mu sync.Mutex
	var failed error
	var work sync.WaitGroup
	for _, d := range deeds {
		work.Go(func() {
			if !sleep(working, d.after) {
				return
			}
			a.say("%4.0f s  %s", time.Since(began).Seconds(), d)
			err := d.do(ctx, client)
			mu.Lock()
			defer mu.Unlock()
			failed = errors.Join(failed, err)
		})
	}
	for before := 0; sleep(working, time.Second); {
		now := crowd.Acknowledged()
		a.say("%4.0f s  %4d written", time.Since(began).Seconds(), now-before)
		before = now
	}
	record := crowd.Stop()
	work.Wait()
	out := written{Acknowledged: len(record.Acknowledged()), Failed: len(record.Failed()), Longest: record.Longest(), Reasons: record.Failed().Reasons()}
	lost, err := lostOf(context.WithoutCancel(ctx), record, servers)
	if err != nil {
		return errors.Join(failed, err)
	}
	if out.Lost = len(lost); out.Lost > 0 {
		failed = errors.Join(failed, fmt.Errorf("%d acknowledged writes are lost", out.Lost))
	}
	if a.json {
		return errors.Join(failed, a.printJSON(out))
	}
	_, err = fmt.Fprintf(a.out, "%d writes were acknowledged, %d of them are lost\n%d failed (an application would try them again)\nnobody could write for %.1f s at most\n",
		out.Acknowledged, out.Lost, out.Failed, out.Longest.Seconds())
	return errors.Join(failed, err)
}

// lostOf asks whoever answers.
func lostOf(ctx context.Context, record writer.Record, servers []writer.Server) (lost writer.Record, err error) {
	_, err = await.Attempt(ctx, lookWithin, func(ctx context.Context) error {
		var errs []error
		for _, s := range servers {
			if lost, err = record.Lost(ctx, s); err == nil {
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	return lost, err
}

// sleep waits, and tells whether it was not interrupted.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
