//go:build linux

package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

func (a *app) execCommand() *cobra.Command {
	return &cobra.Command{
		Use: "exec NODE -- COMMAND...", Short: "Run a command as root inside a node",
		Long:    "Run a command as root inside a node. It needs no network and so works on nodes that are cut off.",
		Example: "  atoll-lab exec hk1 -- systemctl status atolld",
		Args:    atLeast(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return become(lab.Connect(a.name).Exec(cmd.Context(), args[0], args[1:]...))
		},
	}
}

func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{
		Use: "run -- COMMAND...", Short: "Run a command in the operator's network",
		Long: `Run a command on the operator's workstation: in the lab's network, with the variables of "atoll-lab env" set.
Files are this machine's.`,
		Example: "  atoll-lab run -- terraform apply\n  atoll-lab run -- ping hk1",
		Args:    atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return become(lab.Connect(a.name).OperatorCommand(cmd.Context(), args...))
		},
	}
}

func (a *app) sshCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ssh NODE [-- COMMAND...]", Short: "Log in to an unmanaged machine as the operator does",
		Long: "Log in to an unmanaged machine from the operator's workstation, with the operator's key and the machine's host key pinned.",
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return become(lab.Connect(a.name).SSH(cmd.Context(), args[0], args[1:]...))
		},
	}
}

// atLeast accepts that many arguments or more.
func atLeast(n int) cobra.PositionalArgs { return between(n, 1<<20) }

// ends explains what the ends of a path may be.
const ends = `An end is a node, a site, "operator" (the operator's workstation), "edge" (the edge in front of the nodes), or "*" (everything: as if the cable were pulled).`

func (a *app) cutCommand() *cobra.Command {
	oneWay := false
	cmd := &cobra.Command{
		Use: "cut A B", Short: "Lose every packet between A and B",
		Long:    "Lose every packet between A and B, in both directions or from A to B only. " + ends,
		Example: "  atoll-lab cut hk1 sg1\n  atoll-lab cut hk1 '*'",
		Args:    exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.impair(cmd, args, 100, oneWay)
		},
	}
	cmd.Flags().BoolVar(&oneWay, "one-way", false, "only from A to B")
	return cmd
}

func (a *app) lossCommand() *cobra.Command {
	oneWay := false
	cmd := &cobra.Command{
		Use: "loss A B PERCENT", Short: "Lose some of the packets between A and B",
		Long:    "Lose that many percent of the packets between A and B, in both directions or from A to B only. " + ends,
		Example: "  atoll-lab loss hk1 sg1 30",
		Args:    exactly(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			percent, err := strconv.Atoi(strings.TrimSuffix(args[2], "%"))
			if err != nil || percent < 1 || percent > 100 {
				return fmt.Errorf("%w: %q is not a percentage from 1 to 100", errUsage, args[2])
			}
			return a.impair(cmd, args, percent, oneWay)
		},
	}
	cmd.Flags().BoolVar(&oneWay, "one-way", false, "only from A to B")
	return cmd
}

func (a *app) impair(cmd *cobra.Command, args []string, percent int, oneWay bool) error {
	all, err := lab.Connect(a.name).Impair(cmd.Context(), args[0], args[1], percent, oneWay)
	if err != nil {
		return err
	}
	return a.printImpairments(all)
}

func (a *app) healCommand() *cobra.Command {
	return &cobra.Command{
		Use: "heal [A B]", Short: "End cuts and losses between A and B, or all of them",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return fmt.Errorf("%w: name both ends or none", errUsage)
			}
			return between(0, 2)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			args = append(args, "", "")
			all, err := lab.Connect(a.name).Heal(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return a.printImpairments(all)
		},
	}
}

func (a *app) printImpairments(all []network.Impairment) error {
	if a.json {
		return a.printJSON(all)
	}
	for _, i := range all {
		if _, err := fmt.Fprintln(a.out, i); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) powerCommand(action, short, long string) *cobra.Command {
	return &cobra.Command{
		Use: action + " NODE", Short: short, Long: long, Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := lab.Connect(a.name)
			if err := client.Power(cmd.Context(), args[0], action); err != nil {
				return err
			}
			if action == "power-on" {
				return client.Power(cmd.Context(), args[0], "wait-ssh")
			}
			return nil
		},
	}
}
