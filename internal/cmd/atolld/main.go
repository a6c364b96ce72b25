// Command atolld is the node agent: the only thing that changes a node.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// exitCode ends the program with a code that means something, without a message.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	run := otherProgram()
	if run == nil {
		run = newCommand().ExecuteContext
	}
	err := run(ctx)
	stop()
	var code exitCode
	switch {
	case err == nil:
	case errors.As(err, &code):
		os.Exit(int(code))
	default:
		fmt.Fprintln(os.Stderr, "atolld:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "atolld",
		Short: "The Atoll node agent: joins this machine to a cluster and keeps it as the cluster describes it",
		// Errors are printed by main, once; the usage does not help with those that are not about usage.
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	cmd.AddCommand(runCommand(), planCommand(), statusCommand(), movedCommand(), copiedCommand(), installCommand(), packagesCommand(), uninstallCommand(), versionCommand(), pairCommand(), pairAfterCommand(), wireguardCommand())
	return cmd
}
