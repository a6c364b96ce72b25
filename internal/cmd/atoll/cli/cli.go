// Package cli holds the commands of atoll, apart from the process that runs them.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// The exit codes. Degraded is an answer of `atoll status`; every failure to do what was asked is Failed.
const (
	Healthy  = 0
	Degraded = 1
	Failed   = 2
)

// Environment is what the commands see of the process they run in.
type Environment struct {
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Version        string
	// Now is the clock, time.Now when nil.
	Now func() time.Time
}

// errDegraded ends a command that did its work and found a cluster that is not as it should be.
var errDegraded = errors.New("degraded")

// Run runs the command that env.Args names and returns its exit code. Errors are printed.
func Run(ctx context.Context, env Environment) int {
	if env.Now == nil {
		env.Now = time.Now
	}
	root := &cobra.Command{
		Use:           "atoll",
		Short:         "Make signing keys, tickets and seeds, see and draw how a cluster is, also in a browser, show which ports it opens and what hangs on one thing, take nodes out of service, wait until files are the same everywhere, change once what all nodes share and take it back, switch databases over, settle conflicts, and measure file systems",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       env.Version,
	}
	root.SetVersionTemplate("atoll {{.Version}}\n")
	for _, command := range []func(Environment) *cobra.Command{
		keyCommand, ticketCommand, seedCommand, statusCommand, mapCommand, uiCommand, portsCommand, analyzeCommand, maintenanceCommand, waitSyncedCommand, upgradeCommand, switchoverCommand, recoverCommand, pinCommand, benchCommand, versionCommand,
	} {
		root.AddCommand(command(env))
	}
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	switch err := root.ExecuteContext(ctx); {
	case err == nil:
		return Healthy
	case errors.Is(err, errDegraded):
		return Degraded
	case errors.Is(err, errStopped):
		return Stopped
	default:
		root.PrintErrln("Error:", err)
		return Failed
	}
}

func versionCommand(env Environment) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print this program's version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(env.Stdout, "atoll", env.Version)
			return err
		},
	}
}
