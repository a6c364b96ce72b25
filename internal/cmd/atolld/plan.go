package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
)

// The exit codes of plan beside 0 (no changes) and 1 (failed).
const exitChanges = exitCode(2)

func planCommand() *cobra.Command {
	cfg := agent.Config{}
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what one run of the agent's steps would change on this node",
		Long: "Show what one run of the agent's steps would change on this node.\n\n" +
			"Nothing is changed and a running agent is not disturbed.\n" +
			"Exit code: 0 no changes, 2 changes, 1 the plan could not be made.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			withDrivers(&cfg)
			cfg.Version = versionText()
			p, err := agent.Plan(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			for _, line := range p.Lines() {
				if _, err := fmt.Fprintln(out, line); err != nil {
					return err
				}
			}
			switch {
			case len(p.Problems) > 0:
				return errors.New("the plan is not complete")
			case len(p.Changes) > 0:
				return exitChanges
			}
			return nil
		},
	}
	stateFlag(cmd, &cfg.StateDir)
	return cmd
}
