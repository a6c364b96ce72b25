//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

func (a *app) addCommand() *cobra.Command {
	seed, access, credentials := "", "", []string(nil)
	cmd := &cobra.Command{
		Use: "add NAME@SITE", Short: "Put another unmanaged machine into the lab",
		Long: `Put another unmanaged machine into the lab, give it power, and wait until it answers by SSH. With a seed disk, which
only virtual machines can have, it is what the seed makes of it, and nothing is waited for. Credentials come from the
firmware of virtual machines, as from a hypervisor's. A container may have IPv6 alone, or be behind a router that translates:
then nobody can call it, and nothing is waited for either.`,
		Example: "  atoll-lab add hk3@hk-colo\n  atoll seed --node hk3 --out seed.img && atoll-lab add hk3@hk-colo --seed seed.img",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			machine, err := parseMachine(args[0])
			if err != nil {
				return err
			}
			if seed != "" {
				if machine.Seed, err = existing(seed); err != nil {
					return err
				}
			}
			if machine.Credentials, err = readCredentials(credentials); err != nil {
				return err
			}
			machine.Access = network.Access(access)
			client := lab.Connect(a.name)
			if err := client.Add(cmd.Context(), machine); err != nil || seed != "" || machine.Access == network.AccessTranslated {
				return err
			}
			return client.Power(cmd.Context(), machine.Name, "wait-ssh")
		},
	}
	cmd.Flags().StringVar(&seed, "seed", "", "`image` of a seed disk that is in the machine from the start")
	cmd.Flags().StringVar(&access, "access", "", "how the machine is connected: `ipv6` alone, or translated (default: addresses of both families)")
	cmd.Flags().StringArrayVar(&credentials, "credential", nil, "systemd credential as `NAME=FILE`, such as atoll.first-boot=hk3.json; repeatable")
	return cmd
}

// readCredentials reads the files of NAME=FILE; nil when there are none.
func readCredentials(list []string) (map[string][]byte, error) {
	var credentials map[string][]byte
	for _, c := range list {
		name, path, ok := strings.Cut(c, "=")
		if !ok || name == "" || path == "" || strings.Contains(name, "/") {
			return nil, fmt.Errorf("%w: --credential %q is not NAME=FILE", errUsage, c)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%w: --credential: %w", errUsage, err)
		}
		if credentials == nil {
			credentials = map[string][]byte{}
		}
		credentials[name] = data
	}
	return credentials, nil
}

func (a *app) removeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove NODE", Short: "Take an unmanaged machine out of the lab",
		Long: "Take an unmanaged machine out of the lab, with its disk. Machines of a cloud are deleted by its API.",
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return lab.Connect(a.name).Discard(cmd.Context(), args[0])
		},
	}
}

func (a *app) insertCommand() *cobra.Command {
	return &cobra.Command{
		Use: "insert NODE IMAGE", Short: "Put a seed disk into a virtual machine",
		Long: `Put a seed disk, such as "atoll seed" makes, into a virtual machine, in the place of the one that is in it.
A running machine notices, as it would with a USB stick.`,
		Example: "  atoll-lab insert hk1 seed.img",
		Args:    exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := existing(args[1])
			if err != nil {
				return err
			}
			return lab.Connect(a.name).Insert(cmd.Context(), args[0], path)
		},
	}
}

func (a *app) ejectCommand() *cobra.Command {
	return &cobra.Command{
		Use: "eject NODE", Short: "Take the seed disk out of a virtual machine", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return lab.Connect(a.name).Insert(cmd.Context(), args[0], "")
		},
	}
}

func (a *app) consoleCommand() *cobra.Command {
	follow := false
	cmd := &cobra.Command{
		Use: "console NODE", Short: "Print what a node said while booting",
		Long: "Print what a node said on its console since it was made.",
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := lab.Connect(a.name).Describe(cmd.Context())
			if err != nil {
				return err
			}
			for _, n := range d.Nodes {
				if n.Name != args[0] {
					continue
				}
				argv := []string{"cat", n.Console}
				if follow {
					argv = []string{"tail", "-n", "+1", "-f", n.Console}
				}
				return become(exec.CommandContext(cmd.Context(), argv[0], argv[1:]...), nil)
			}
			return fmt.Errorf("%q: %w", args[0], lab.ErrNoMachine)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on printing until interrupted")
	return cmd
}

// existing returns the absolute path of a file that is there: the lab's process is in another folder.
func existing(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: %w", errUsage, err)
	}
	return path, nil
}
