//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/demo"
)

// demoKeyVariable names the file with what signs the sessions of the demo's application.
const demoKeyVariable = "ATOLL_LAB_DEMO_KEY"

func (a *app) serveCommand() *cobra.Command {
	program := ""
	cmd := &cobra.Command{
		Use:   "serve [NODE...]",
		Short: "Run the demo's little application on nodes",
		Long: fmt.Sprintf(`Put a little application on nodes, on all that are on when none is named, and start it: it listens on port %d, names
its node in the first line of each answer, and keeps the session of those who log in (POST %s) in a cookie that every
node of the lab understands. %s is for those who are logged in, %s says whether the application is well, and
%s?for=3s answers late. %s takes notes and keeps them in the database that the node has a router to. It is the service %s of a node, starts at boot, and is back five seconds after it was killed.
Where it runs already as it should, nothing is interrupted.`, demo.Port, demo.LoginPath, demo.AccountPath, demo.ReadyPath, demo.SlowPath, demo.NotesPath, demo.Unit),
		Example: "  atoll-lab serve hk1 hk2 sg1\n  atoll-lab load www.example.com --login /login --path /account --sessions 30",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.serve(cmd.Context(), program, args) },
	}
	cmd.Flags().StringVar(&program, "program", "", "`path` of the application (default: "+demo.Program+" next to atoll-lab)")
	return cmd
}

func (a *app) serve(ctx context.Context, program string, names []string) error {
	client := lab.Connect(a.name)
	d, err := client.Describe(ctx)
	if err != nil {
		return err
	}
	if program == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		program = filepath.Join(filepath.Dir(self), demo.Program)
	}
	key, password, err := a.demoSecrets(ctx, client)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		for _, n := range d.Nodes {
			if n.Power == "on" {
				names = append(names, n.Name)
			}
		}
	}
	var errs []error
	for _, name := range names {
		command := func(ctx context.Context, argv ...string) (*exec.Cmd, error) { return client.Exec(ctx, name, argv...) }
		if err := demo.Install(ctx, command, program, key, password); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		a.say("%s serves on port %d", name, demo.Port)
	}
	return errors.Join(errs...)
}

// demoSecrets returns what signs the sessions of this lab's application, and its password for the database.
func (a *app) demoSecrets(ctx context.Context, client *lab.Client) (key []byte, password string, err error) {
	env, err := client.Environment(ctx)
	if err != nil {
		return nil, "", err
	}
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		switch name {
		case lab.DatabasePasswordVariable:
			password = value
		case demoKeyVariable:
			if key, err = os.ReadFile(value); err != nil {
				return nil, "", err
			}
		}
	}
	if key == nil {
		return nil, "", fmt.Errorf("lab %s was started by an earlier atoll-lab: take it down and up again", a.name)
	}
	return bytes.TrimSpace(key), password, nil
}
