package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/agent/drivers"
	"github.com/atollhq/terraform-provider-atoll/internal/agent/install"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

func installCommand() *cobra.Command {
	var o install.Options
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install this program as a systemd service",
		Long: "Install this program as a systemd service that starts at boot.\n\n" +
			"It may be repeated: nothing happens when all is in place, and a running agent is restarted when its program or unit\n" +
			"has changed. Debian packages that the agent needs are installed first where their programs are missing. With --root\n" +
			"it installs into the root file system of an image, whose packages are the builder's business: atolld packages lists them.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Binary, err = os.Executable(); err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			sys := host.Real()
			if filepath.Clean(o.Root) == "/" {
				if _, err := host.NewApt(sys).Ensure(cmd.Context(), drivers.Packages()...); err != nil {
					return fmt.Errorf("%w; install them by hand and try again", err)
				}
			}
			r, err := install.Install(cmd.Context(), sys, o)
			return tell(cmd, r, err)
		},
	}
	cmd.Flags().StringVar(&o.Root, "root", "/", "root directory of the system to install into")
	cmd.Flags().BoolVar(&o.Start, "start", false, "start the service now, too")
	return cmd
}

func packagesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "packages",
		Short: "List the Debian packages that a node needs, one a line",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, p := range drivers.Packages() {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), p.Name); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func uninstallCommand() *cobra.Command {
	var root string
	var purge bool
	cfg := agent.Config{}
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Stop the service and remove it with this program",
		Long: "Stop the service and remove it with this program.\n\n" +
			"The node's identity, what it knows of its cluster, its mesh and its proxy stay unless --purge is given. Remove the node from\n" +
			"the cluster first, or the others will wait for it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := install.Uninstall(cmd.Context(), host.Real(), root)
			if err == nil && purge {
				err = purgeNode(cmd.Context(), cfg)
			}
			return tell(cmd, r, err)
		},
	}
	cmd.Flags().StringVar(&root, "root", "/", "root directory of the system to remove it from")
	cmd.Flags().BoolVar(&purge, "purge", false, "take back mesh and proxy and delete the node's identity and state, too")
	cmd.MarkFlagsMutuallyExclusive("root", "purge")
	stateFlag(cmd, &cfg.StateDir)
	return cmd
}

func purgeNode(ctx context.Context, cfg agent.Config) error {
	cfg.Drivers, cfg.Proxies = drivers.Mesh(), drivers.Proxies()
	return agent.Purge(ctx, cfg)
}

func tell(cmd *cobra.Command, r install.Result, err error) error {
	for _, path := range r.Changed {
		if _, printErr := fmt.Fprintln(cmd.OutOrStdout(), "changed", path); printErr != nil {
			return printErr
		}
	}
	if err == nil && len(r.Changed) == 0 {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "nothing to change")
	}
	return err
}
