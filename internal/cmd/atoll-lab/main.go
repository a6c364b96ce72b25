//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
)

// Exit codes besides those of commands that exec, run and ssh become.
const (
	exitFailed = 1
	exitUsage  = 2
)

// errUsage marks what the caller typed wrong.
var errUsage = errors.New("wrong usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := newRoot(os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "atoll-lab:", err)
	if errors.Is(err, errUsage) {
		os.Exit(exitUsage)
	}
	os.Exit(exitFailed)
}

// app is what every command needs.
type app struct {
	out, messages io.Writer
	name          string
	json          bool
}

func newRoot(out, messages io.Writer) *cobra.Command {
	a := &app{out: out, messages: messages}
	root := &cobra.Command{
		Use:   "atoll-lab",
		Short: "A small internet with clouds on this machine",
		Long: `atoll-lab runs a lab on this machine: sites behind a router, machines that really boot, and an emulated Linode API.
Nothing of it is reachable from the machine's own network; use "atoll-lab run" to work in the operator's.

A lab needs root and a few Debian packages; "atoll-lab up" says which are missing. "atoll-lab down" leaves nothing behind.

Exit codes: 0 done, 1 failed, 2 wrong usage; exec, run and ssh exit as their command does.`,
		Example: `  atoll-lab up
  atoll-lab run -- terraform apply
  atoll-lab cut hk1 sg1
  atoll-lab down`,
		SilenceUsage: true, SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%w: there is no command %q; see atoll-lab --help", errUsage, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(out)
	root.SetErr(messages)
	root.PersistentFlags().StringVar(&a.name, "name", lab.DefaultName, "which `lab`; several can run side by side")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print listings as JSON")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	root.AddCommand(
		a.upCommand(), a.daemonCommand(), a.downCommand(), a.listCommand(), a.envCommand(),
		a.execCommand(), a.runCommand(), a.sshCommand(),
		a.cutCommand(), a.lossCommand(), a.healCommand(), a.serveCommand(), a.loadCommand(), a.writeCommand(), a.drillsCommand(),
		a.powerCommand("kill", "Cut a node's power", "Cut a node's power: it falls silent at once and loses what it had not written."),
		a.powerCommand("power-on", "Boot a node with the disk it has", "Boot a node with the disk it has and wait until it answers by SSH."),
		a.powerCommand("shutdown", "Let a node switch itself off", "Let a node stop its services and switch itself off."),
		a.powerCommand("freeze", "Stop every process of a node", "Stop every process of a node where it stands. A container's kernel still answers pings, a virtual machine's does not."),
		a.powerCommand("thaw", "Let a frozen node go on", "Let a frozen node go on where it stopped."),
		a.powerCommand("unplug", "Pull a node's network cable", "Pull a node's network cable: other than when it is cut off, it cannot even get an address."),
		a.powerCommand("plug", "Put a node's network cable back", "Put a node's network cable back."),
		a.addCommand(), a.removeCommand(), a.insertCommand(), a.ejectCommand(), a.consoleCommand(),
	)
	return root
}

// exactly accepts that many arguments and explains itself otherwise.
func exactly(n int) cobra.PositionalArgs { return between(n, n) }

func between(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < low || len(args) > high {
			return fmt.Errorf("%w: %s", errUsage, cmd.UseLine())
		}
		return nil
	}
}

// become replaces this process by a command, which so gets the terminal, the signals and the exit code.
func become(cmd *exec.Cmd, err error) error {
	if err != nil {
		return err
	}
	if cmd.Err != nil {
		return cmd.Err
	}
	return fmt.Errorf("run %s: %w", cmd.Path, unix.Exec(cmd.Path, cmd.Args, cmd.Environ()))
}
