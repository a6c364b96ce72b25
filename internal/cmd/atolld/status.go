package main

import (
	"errors"
	"fmt"
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

// exitUnhealthy is the exit code of status for a node that is not healthy.
const exitUnhealthy = exitCode(2)

func statusCommand() *cobra.Command {
	var port int
	var stateDir string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what this node is a member of, and its health as its agent reports it",
		Long: "Show what this node is a member of, and its health as its agent reports it.\n\n" +
			"Exit code: 0 healthy, 2 not healthy, 1 the agent does not answer.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lines, err := membershipLines(stateDir)
			if err != nil {
				return err
			}
			h, err := api.FetchHealth(cmd.Context(), net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err == nil {
				lines = append(lines, healthLines(h)...)
			}
			for _, line := range lines {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
					return err
				}
			}
			switch {
			case err != nil:
				return fmt.Errorf("ask the agent of this node: %w (is it running? systemctl status atolld)", err)
			case !h.Healthy:
				return exitUnhealthy
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&port, "port", spec.DefaultPorts().Health, "port of the health endpoint")
	stateFlag(cmd, &stateDir)
	return cmd
}

func membershipLines(stateDir string) ([]string, error) {
	s, err := agent.Remember(stateDir)
	switch {
	case errors.Is(err, agent.ErrNotJoined):
		return []string{"member: of no cluster"}, nil
	case err != nil:
		return nil, err
	}
	return []string{
		fmt.Sprintf("member: node %s of cluster %s since %s, by %s", s.Node, s.Cluster, s.Joined.Format(time.RFC3339), s.Source),
		fmt.Sprintf("identity: %s (signing key %s)", s.Identity, s.SigningKey),
	}, nil
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
