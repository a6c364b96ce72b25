//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
)

func (a *app) listCommand() *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the nodes of the lab, or all labs",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if all {
				return a.listLabs()
			}
			d, err := lab.Connect(a.name).Describe(cmd.Context())
			if err != nil {
				return err
			}
			return a.printLab(d)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "list the labs of this machine instead")
	return cmd
}

func (a *app) listLabs() error {
	labs, err := lab.List()
	if err != nil {
		return err
	}
	if a.json {
		if labs == nil {
			labs = []lab.Summary{}
		}
		return a.printJSON(labs)
	}
	w := a.table("LAB", "STATE", "PROCESS", "STARTED")
	for _, l := range labs {
		state := "running"
		if !l.Running {
			state = "dead"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", l.Name, state, l.PID, l.Started.Format(time.DateTime))
	}
	return w.Flush()
}

func (a *app) printLab(d lab.Description) error {
	if a.json {
		return a.printJSON(d)
	}
	w := a.table("NODE", "KIND", "SITE", "POWER", "IPV4", "MEMORY")
	for _, n := range d.Nodes {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d MiB\n", n.Name, n.Kind, n.Site, n.Power, n.IPv4, n.MemoryBytes>>20)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, i := range d.Impairments {
		if _, err := fmt.Fprintln(a.out, i); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) envCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "env",
		Short: "Print the operator's environment variables",
		Long: `Print the variables that "atoll-lab run" sets, for eval in a shell. They contain the lab's access token.
The addresses in them answer in the operator's network only.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			env, err := lab.Connect(a.name).Environment(cmd.Context())
			if err != nil {
				return err
			}
			variables := map[string]string{}
			for _, v := range env {
				name, value, _ := strings.Cut(v, "=")
				variables[name] = value
				if !a.json {
					quoted := strings.ReplaceAll(value, "'", `'\''`)
					if _, err := fmt.Fprintf(a.out, "export %s='%s'\n", name, quoted); err != nil {
						return err
					}
				}
			}
			if a.json {
				return a.printJSON(variables)
			}
			return nil
		},
	}
}

func (a *app) downCommand() *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Remove the lab with everything it made",
		Long: `Remove the lab: its nodes with their disks, its networks, its process and its files. It works as well when the lab's
process was killed or hangs, and does nothing when there is no lab.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			names := []string{a.name}
			if all {
				labs, err := lab.List()
				if err != nil {
					return err
				}
				names = nil
				for _, l := range labs {
					names = append(names, l.Name)
				}
			}
			var errs []error
			for _, name := range names {
				found, err := lab.Down(cmd.Context(), name)
				errs = append(errs, err)
				switch {
				case err != nil:
				case found:
					fmt.Fprintf(a.messages, "lab %s is removed\n", name)
				default:
					fmt.Fprintf(a.messages, "there is no lab %s\n", name)
				}
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove every lab of this machine")
	return cmd
}

func (a *app) table(head ...string) *tabwriter.Writer {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(head, "\t"))
	return w
}

func (a *app) printJSON(v any) error {
	encoder := json.NewEncoder(a.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
