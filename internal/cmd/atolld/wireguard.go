package main

import (
	"log/slog"
	"os"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/drivers"
)

func wireguardCommand() *cobra.Command {
	var debug bool
	cmd := &cobra.Command{
		Use:   "wireguard",
		Short: "Run this node's WireGuard interface (this is what the unit of the mesh does)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := slog.LevelInfo
			if debug {
				level = slog.LevelDebug
			}
			log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: withoutTime()}))
			// A lost message to systemd is made up for by the next one.
			return drivers.RunWireGuard(cmd.Context(),
				func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyReady) },
				func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog) }, log)
		},
	}
	cmd.Flags().BoolVar(&debug, "debug", false, "log more")
	return cmd
}
