//go:build linux

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
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
	rows := [][]string{{"LAB", "STATE", "PROCESS", "STARTED"}}
	for _, l := range labs {
		state := "running"
		if !l.Running {
			state = "dead"
		}
		rows = append(rows, []string{l.Name, state, strconv.Itoa(l.PID), l.Started.Format(time.DateTime)})
	}
	return a.printTable(rows)
}

func (a *app) printLab(d lab.Description) error {
	if a.json {
		return a.printJSON(d)
	}
	rows := [][]string{{"NODE", "KIND", "BOOT", "SITE", "POWER", "ADDRESS", "MEMORY"}}
	for _, n := range d.Nodes {
		rows = append(rows, []string{n.Name, string(n.Kind), string(n.Boot), n.Site, n.Power, cmp.Or(n.IPv4, n.IPv6), fmt.Sprintf("%d MiB", n.MemoryBytes>>20)})
	}
	if err := a.printTable(rows); err != nil {
		return err
	}
	if err := a.printEdge(d.Edge); err != nil {
		return err
	}
	for _, i := range d.Impairments {
		if _, err := fmt.Fprintln(a.out, i); err != nil {
			return err
		}
	}
	return nil
}

// printEdge shows what the edge serves, and from where.
func (a *app) printEdge(e lab.EdgeState) error {
	if _, err := fmt.Fprintf(a.out, "edge %s for %s\n", e.URL, strings.Join(e.Zones, ", ")); err != nil {
		return err
	}
	if len(e.Hostnames) == 0 {
		return nil
	}
	rows := [][]string{{"HOSTNAME", "POOL", "ENDPOINT", "ADDRESS", "ENABLED", "HEALTH"}}
	for _, h := range e.Hostnames {
		for _, p := range h.Endpoints {
			enabled := "yes"
			if !p.Enabled {
				enabled = "no"
			}
			rows = append(rows, []string{h.Name, p.Pool, p.Name, p.Address, enabled, p.Health})
		}
	}
	return a.printTable(rows)
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
					a.say("lab %s is removed", name)
				default:
					a.say("there is no lab %s", name)
				}
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove every lab of this machine")
	return cmd
}

// say tells what is going on, apart from what was asked for. Nobody reading it is no reason to stop.
func (a *app) say(format string, values ...any) {
	_, _ = fmt.Fprintf(a.messages, format+"\n", values...)
}

func (a *app) printTable(rows [][]string) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

func (a *app) printJSON(v any) error {
	encoder := json.NewEncoder(a.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
