package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// exitUnhealthy is the exit code of status for a node that is not as it is asked to be.
const exitUnhealthy = exitCode(2)

// What status can wait for.
const (
	waitJoined  = "joined"
	waitHealthy = "healthy"
)

// status is what the command shows, with --json as it is.
type status struct {
	// Node and the rest of the membership are absent in what is a member of no cluster.
	Node       string    `json:"node,omitempty"`
	Cluster    string    `json:"cluster,omitempty"`
	Identity   string    `json:"identity,omitempty"`
	SigningKey string    `json:"signing_key,omitempty"`
	Source     string    `json:"source,omitempty"`
	Joined     time.Time `json:"joined,omitzero"`
	// Health is absent when the agent does not answer.
	Health *api.Health `json:"health,omitempty"`
}

func statusCommand() *cobra.Command {
	var port int
	var stateDir, wait string
	var timeout time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what this node is a member of, and its health as its agent reports it",
		Long: "Show what this node is a member of, and its health as its agent reports it.\n\n" +
			"With --wait it first waits until the node has joined, or is healthy: what a script needs that is to run on each node after the join.\n\n" +
			"Exit code: 0 healthy (with --wait joined: a member), 2 not so, 1 the agent does not answer.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if wait != "" && wait != waitJoined && wait != waitHealthy {
				return fmt.Errorf("--wait %s: it is %s or %s", wait, waitJoined, waitHealthy)
			}
			ctx, cancel := cmd.Context(), context.CancelFunc(func() {})
			if timeout > 0 {
				ctx, cancel = context.WithTimeout(ctx, timeout)
			}
			defer cancel()
			h, err := awaitHealth(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), wait)
			if cmd.Context().Err() != nil {
				return cmd.Context().Err() // interrupted
			}
			now, memberErr := member(stateDir)
			if memberErr != nil {
				return memberErr
			}
			if err == nil {
				now.Health = &h
			}
			if err := now.print(cmd.OutOrStdout(), asJSON); err != nil {
				return err
			}
			switch {
			case err != nil:
				return fmt.Errorf("ask the agent of this node: %w (is it running? systemctl status atolld)", err)
			case !reached(h, wait):
				return exitUnhealthy
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&port, "port", spec.DefaultPorts().Health, "port of the health endpoint")
	cmd.Flags().StringVar(&wait, "wait", "", "wait until the node is `joined` or healthy")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait at most, such as 20m; for ever when 0")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	stateFlag(cmd, &stateDir)
	return cmd
}

// reached tells whether the node is as it is waited for.
func reached(h api.Health, wait string) bool {
	if wait == waitJoined {
		return h.State == waitJoined
	}
	return h.Healthy
}

// between is how long awaitHealth waits before it asks again.
const between = time.Second

// awaitHealth asks the agent, again and again when something is to be waited for. An agent that does not answer yet may just be
// starting. When ctx ends it returns what came last.
func awaitHealth(ctx context.Context, endpoint, wait string) (h api.Health, err error) {
	if wait == "" {
		return api.FetchHealth(ctx, endpoint)
	}
	tick := time.NewTicker(between)
	defer tick.Stop()
	for {
		if now, nowErr := api.FetchHealth(ctx, endpoint); ctx.Err() == nil || nowErr == nil {
			h, err = now, nowErr
		}
		if err == nil && reached(h, wait) {
			return h, nil
		}
		select {
		case <-ctx.Done():
			if err == nil && h.State == "" {
				err = ctx.Err() // there was no time for an answer
			}
			return h, err
		case <-tick.C:
		}
	}
}

// member returns what the node remembers of its membership.
func member(stateDir string) (status, error) {
	s, err := agent.Remember(stateDir)
	if errors.Is(err, agent.ErrNotJoined) {
		return status{}, nil
	}
	return status{Node: s.Node, Cluster: s.Cluster, Identity: s.Identity, SigningKey: s.SigningKey, Source: s.Source, Joined: s.Joined}, err
}

func (s status) print(out io.Writer, asJSON bool) error {
	if asJSON {
		data, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s\n", data)
		return err
	}
	lines := []string{"member: of no cluster"}
	if s.Node != "" {
		lines = []string{
			fmt.Sprintf("member: node %s of cluster %s since %s, by %s", s.Node, s.Cluster, s.Joined.Format(time.RFC3339), s.Source),
			fmt.Sprintf("identity: %s (signing key %s)", s.Identity, s.SigningKey),
		}
	}
	if s.Health != nil {
		lines = append(lines, healthLines(*s.Health)...)
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

func healthLines(h api.Health) []string {
	lines := []string{"state: " + h.State}
	if h.Waiting != "" {
		lines = append(lines, "waiting: "+h.Waiting)
	}
	for _, name := range slices.Sorted(maps.Keys(h.Parts)) {
		lines = append(lines, fmt.Sprintf("%s: %s", name, h.Parts[name]))
	}
	return lines
}
