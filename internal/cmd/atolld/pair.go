package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/drivers"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// otherProgram returns what this program is under the name that it was started by, nil when it is itself.
func otherProgram() func(context.Context) error {
	if len(os.Args) == 0 {
		return nil
	}
	return drivers.PairPrograms()[filepath.Base(os.Args[0])]
}

func pairCommand() *cobra.Command {
	var file string
	var prepare, forget, debug bool
	cmd := &cobra.Command{
		Use:   "pair",
		Short: "Keep one directory tree equal with another node's (this is what the unit of a pair does)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			useFewThreads()
			cfg, err := worker.ReadConfig(file)
			if err != nil {
				return err
			}
			if prepare {
				return errors.Join(worker.Prepare(cfg), watch.Raise(cfg.Path))
			}
			if forget {
				return worker.Forget(cfg, drivers.PairUnfinished(cfg))
			}
			engine := drivers.PairEngines()[cfg.Driver]
			if engine == nil {
				return fmt.Errorf("pair %s: driver %q is unknown: update this program", cfg.Pair, cfg.Driver)
			}
			level := slog.LevelInfo
			if debug {
				level = slog.LevelDebug
			}
			log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: withoutTime()}))
			return worker.Run(cmd.Context(), cfg, engine, log)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "`file` that describes this node's side")
	cmd.Flags().BoolVar(&prepare, "prepare", false, "only make the tree's root where there is none and never was, and have the kernel watch as many directories as it may have")
	cmd.Flags().BoolVar(&forget, "forget", false, "only take back what the pair has made on this node, but nothing of its data")
	cmd.Flags().BoolVar(&debug, "debug", false, "log more")
	_ = cmd.MarkFlagRequired("config") // the flag is there
	return cmd
}

func pairAfterCommand() *cobra.Command {
	var socket string
	cmd := &cobra.Command{
		Use:   "pair-after",
		Short: "Run the command after changes of a pair (this is what its unit does)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			useFewThreads()
			log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{ReplaceAttr: withoutTime()}))
			return worker.RunAfter(cmd.Context(), socket, log)
		},
	}
	cmd.Flags().StringVar(&socket, "socket", "", "where the pair's programs say when it is to run")
	_ = cmd.MarkFlagRequired("socket") // the flag is there
	return cmd
}
