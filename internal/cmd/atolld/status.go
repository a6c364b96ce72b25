package main

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// exitUnhealthy is the exit code of status for a node that is not healthy.
const exitUnhealthy = exitCode(2)

func statusCommand() *cobra.Command {
	var port int
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show this node's health as its agent reports it",
		Long:  "Show this node's health as its agent reports it.\n\nExit code: 0 healthy, 2 not healthy, 1 the agent does not answer.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := api.FetchHealth(cmd.Context(), net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err != nil {
				return fmt.Errorf("ask the agent of this node: %w (is it running? systemctl status atolld)", err)
			}
			lines := []string{"state: " + h.State}
			if h.Waiting != "" {
				lines = append(lines, "waiting: "+h.Waiting)
			}
			for _, name := range slices.Sorted(maps.Keys(h.Parts)) {
				lines = append(lines, fmt.Sprintf("%s: %s", name, h.Parts[name]))
			}
			for _, line := range lines {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
					return err
				}
			}
			if !h.Healthy {
				return exitUnhealthy
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&port, "port", spec.DefaultPorts().Health, "port of the health endpoint")
	return cmd
}
