package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/agent/drivers"
	"github.com/atollhq/terraform-provider-atoll/internal/agent/install"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func installCommand() *cobra.Command {
	var o install.Options
	var engine string
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
				needed, err := packagesFor(engine)
				if err != nil {
					return err
				}
				if _, err := host.NewApt(sys).Ensure(cmd.Context(), needed...); err != nil {
					return fmt.Errorf("%w; install them by hand and try again", err)
				}
			}
			r, err := install.Install(cmd.Context(), sys, o)
			return tell(cmd, r, err)
		},
	}
	cmd.Flags().StringVar(&o.Root, "root", "/", "root directory of the system to install into")
	cmd.Flags().BoolVar(&o.Start, "start", false, "start the service now, too")
	databaseFlag(cmd, &engine)
	return cmd
}

// databaseFlag lets a node be prepared for databases, whose packages not every distribution has.
func databaseFlag(cmd *cobra.Command, engine *string) {
	cmd.Flags().StringVar(engine, "database", "", "the packages of databases of this `engine`, too, such as mysql")
}

// packagesFor returns what a node needs, for databases of an engine as well unless that is "".
func packagesFor(engine string) ([]host.Package, error) {
	needed := drivers.Packages()
	switch {
	case engine == "":
		return needed, nil
	case !slices.Contains(spec.DatabaseEngines(), spec.DatabaseEngine(engine)):
		return nil, fmt.Errorf("there is no engine %q: choose one of %v", engine, spec.DatabaseEngines())
	}
	return append(needed, drivers.DatabasePackages(spec.DatabaseEngine(engine))...), nil
}

func packagesCommand() *cobra.Command {
	var engine string
	cmd := &cobra.Command{
		Use:   "packages",
		Short: "List the Debian packages that a node needs, one a line",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			needed, err := packagesFor(engine)
			if err != nil {
				return err
			}
			for _, p := range needed {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), p.Name); err != nil {
					return err
				}
			}
			return nil
		},
	}
	databaseFlag(cmd, &engine)
	return cmd
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
	withDrivers(&cfg)
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
