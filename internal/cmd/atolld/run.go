package main

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/agent/drivers"
)

func runCommand() *cobra.Command {
	var debug bool
	cfg := agent.Config{}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the agent (this is what the service does)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			useFewThreads()
			level := slog.LevelInfo
			if debug {
				level = slog.LevelDebug
			}
			cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: withoutTime()}))
			withDrivers(&cfg)
			cfg.Edge = drivers.Edge()
			cfg.Version = versionText()
			cfg.Ready = func() { ready(cmd.Context(), cfg.Log) }
			return agent.New(cfg).Run(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&debug, "debug", false, "log more")
	stateFlag(cmd, &cfg.StateDir)
	return cmd
}

// useFewThreads leaves the machine's processors to what it is for. The agent waits nearly all the time, and with many
// processors Go's scheduler looks for work on each of them whenever a packet comes.
func useFewThreads() {
	const enough = 2
	if os.Getenv("GOMAXPROCS") == "" && runtime.NumCPU() > enough {
		runtime.GOMAXPROCS(enough)
	}
}

// withoutTime drops the time from log lines where the journal adds its own.
func withoutTime() func([]string, slog.Attr) slog.Attr {
	if os.Getenv("JOURNAL_STREAM") == "" {
		return nil
	}
	return func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
}

// ready tells systemd, if it is there, that the agent answers, and from then on that it still lives.
func ready(ctx context.Context, log *slog.Logger) {
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Warn("systemd cannot be told that the agent is ready", "error", err)
	}
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return
	}
	go func() {
		tick := time.NewTicker(interval / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				// A lost message is made up for by the next one.
				_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
			}
		}
	}()
}

func stateFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "state-dir", agent.DefaultStateDir, "where the agent keeps its state")
}
