//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/drills"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// drillFlags say which drills run, and with what.
type drillFlags struct {
	list, long         bool
	only               []string
	engine, stack, dir string
}

func (a *app) drillsCommand() *cobra.Command {
	f := &drillFlags{}
	cmd := &cobra.Command{
		Use:   "drills",
		Short: "Let happen to a cluster what happens to clusters, and say what it cost",
		Long: `Bring clusters up in labs of their own, let one fault after another happen to them under load, and print a table: when it
happened, how long something failed, what failed and what was lost, and whether that is what was promised. Each fault is
healed before the next one. It takes what "atoll-lab up" takes, the programs next to atoll-lab, and Terraform or OpenTofu.

Exit codes: 0 all is as promised, 1 something is not or could not be tried, 2 wrong usage.`,
		Example: `  atoll-lab drills --list
  atoll-lab drills --only edge
  atoll-lab drills --only edge/power-cut,edge/partition-two-two --json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.drills(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.list, "list", false, "list the drills instead of carrying them out")
	flags.BoolVar(&f.long, "long", false, "with those that take minutes more than others")
	flags.StringSliceVar(&f.only, "only", nil, "`names`, areas or patterns of the drills to carry out")
	flags.StringVar(&f.engine, "engine", "", "`path` of terraform or tofu (default: the first on PATH)")
	flags.StringVar(&f.stack, "stack", "", "`folder` of the reference topology (default: examples/stacks/three-site here, or in the source tree of atoll-lab)")
	flags.StringVar(&f.dir, "dir", "", "`folder` for what the operators of the clusters write (default: drills beside the programs' folder)")
	return cmd
}

func (a *app) drills(ctx context.Context, f *drillFlags) error {
	chosen, err := drills.Choose(drills.All(), f.only, f.long)
	if err != nil {
		return fmt.Errorf("%w: --only: %w; see atoll-lab drills --list", errUsage, err)
	}
	if f.list {
		return a.listDrills(chosen)
	}
	o, err := f.options()
	if err != nil {
		return err
	}
	o.Say = func(text string) { a.say("%s", text) }
	o.Report = func(r drills.Result) { a.say("%s: %s %s", r.Name, r.Verdict, r.Reason) }
	results, err := drills.Run(ctx, chosen, o)
	if a.json {
		if results == nil {
			results = []drills.Result{}
		}
		err = errors.Join(err, a.printJSON(results))
	} else if len(results) > 0 {
		err = errors.Join(err, drills.WriteTable(a.out, results))
	}
	if n := drills.Failed(results); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d drills did not pass", n, len(results)))
	}
	return err
}

func (a *app) listDrills(list []drills.Drill) error {
	type entry struct {
		Name   string `json:"name"`
		Proves string `json:"proves"`
		Long   bool   `json:"long"`
	}
	entries := make([]entry, 0, len(list))
	rows := [][]string{{"DRILL", "PROVES"}}
	for _, d := range list {
		entries = append(entries, entry{d.Name, d.Proves, d.Long})
		rows = append(rows, []string{d.Name, d.Proves})
	}
	if a.json {
		return a.printJSON(entries)
	}
	return a.printTable(rows)
}

// options finds what the drills run with.
func (f *drillFlags) options() (drills.Options, error) {
	var o drills.Options
	self, err := os.Executable()
	if err != nil {
		return o, fmt.Errorf("find this program: %w", err)
	}
	bin := filepath.Dir(self)
	if o.Engine, err = findEngine(f.engine, bin); err != nil {
		return o, err
	}
	if o.Stack, err = findStack(f.stack, bin); err != nil {
		return o, err
	}
	dir := f.dir
	if dir == "" {
		dir = filepath.Join(filepath.Dir(bin), "drills")
	}
	if o.Dir, err = filepath.Abs(dir); err != nil {
		return o, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return o, fmt.Errorf("make the drills' folder: %w", err)
	}
	o.Programs, err = rig.Use(bin, filepath.Join(o.Dir, "mirror"))
	return o, err
}

// findEngine returns the path of the engine that was named, or of the first that is there: on PATH, or built beside the programs.
func findEngine(named, bin string) (string, error) {
	candidates := []string{"terraform", "tofu", filepath.Join(bin, "tofu")}
	if named != "" {
		candidates = []string{named}
	}
	for _, name := range candidates {
		if path, err := exec.LookPath(name); err == nil {
			return filepath.Abs(path)
		}
	}
	if named != "" {
		return "", fmt.Errorf("%w: --engine: there is no program %q", errUsage, named)
	}
	return "", errors.New("there is neither terraform nor tofu on PATH: name one with --engine")
}

// findStack returns the folder of the reference topology.
func findStack(named, bin string) (string, error) {
	const reference = "examples/stacks/three-site"
	candidates := []string{reference, filepath.Join(bin, "..", "..", reference)}
	if named != "" {
		candidates = []string{named}
	}
	for _, dir := range candidates {
		if found, err := filepath.Glob(filepath.Join(dir, "*.tf")); err == nil && len(found) > 0 {
			return filepath.Abs(dir)
		}
	}
	if named != "" {
		return "", fmt.Errorf("%w: --stack: there is no configuration in %s", errUsage, named)
	}
	return "", fmt.Errorf("%s is not here: run it in the source tree, or name it with --stack", reference)
}
