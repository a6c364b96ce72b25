package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
)

func movedCommand() *cobra.Command {
	return hardwareCommand(&cobra.Command{
		Use:   "moved",
		Short: "Say that this machine is the node, moved to other hardware",
		Long: "Say that this machine is the node, moved to other hardware.\n\n" +
			"A node's identity belongs to the machine that it was made on: when every fact by which machines are told apart (system UUID,\n" +
			"serial numbers, network ports) is another one, or another machine answers as the node at the node's addresses, the disk may be a\n" +
			"copy, and the agent runs nothing until somebody decides.\n" +
			"Make sure that the old machine is off and stays off before you say this: two machines must never be one node.",
	}, agent.Moved, "this machine is node %s of cluster %s from now on\n")
}

func copiedCommand() *cobra.Command {
	return hardwareCommand(&cobra.Command{
		Use:   "copied",
		Short: "Say that this machine is a copy of a node, and make it a new machine",
		Long: "Say that this machine is a copy of a node, and make it a new machine.\n\n" +
			"The agent takes the node's identity, its keys and its mesh off this machine and waits for first-boot data. The node itself,\n" +
			"on its own machine, notices nothing. SSH host keys and /etc/machine-id are copies as well: make them anew.",
	}, agent.Copied, "this machine forgets that it was a copy of node %s of cluster %s\n")
}

func hardwareCommand(cmd *cobra.Command, decide func(agent.Config) (agent.Summary, error), said string) *cobra.Command {
	cfg := agent.Config{}
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		withDrivers(&cfg)
		s, err := decide(cfg)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), said, s.Node, s.Cluster)
		return err
	}
	stateFlag(cmd, &cfg.StateDir)
	return cmd
}
