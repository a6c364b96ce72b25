package cli

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/tfstate"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

func ticketCommand(env Environment) *cobra.Command {
	ticket := &cobra.Command{Use: "ticket", Short: "Make permissions to join"}
	ticket.AddCommand(ticketNewCommand(env))
	return ticket
}

func ticketNewCommand(env Environment) *cobra.Command {
	var (
		cluster, node, out string
		lifetime           time.Duration
		seeds              []string
		state              stateFlags
	)
	cmd := &cobra.Command{
		Use:   "new --cluster NAME --node NAME",
		Short: "Make the first-boot data of one machine",
		Long: `Makes a ticket, the signed and short-lived permission for one named node to join, and writes the first-boot
data that carries it. Bring that file to the machine as /etc/atoll/first-boot.json, readable by root alone; the
agent deletes it once it has joined. Whoever has it before that can join in the machine's place.

The machine asks the seeds for the rest of its cluster. They are every --seed and the nodes of --state.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := trust.SigningKeyFromEnvironment(env.Getenv)
			if err != nil {
				return err
			}
			known, err := state.load(env)
			if err != nil {
				return err
			}
			root := trust.Root{Cluster: cluster, Key: key.Public()}
			objects, err := clusterObjects(root, known)
			if err != nil {
				return err
			}
			seeds = append(seeds, otherEndpoints(known, cluster, node)...)
			if len(seeds) == 0 {
				cmd.PrintErrln("The machine knows nobody to ask and waits until Terraform introduces it: --seed and --state name others.")
			}
			issued, err := trust.IssueTicket(key, trust.TicketRequest{
				Cluster: cluster, Node: node, Lifetime: lifetime, Seeds: seeds, Now: env.Now(),
			})
			if err != nil {
				return err
			}
			payload, err := platform.NewPayload(root, issued, objects)
			if err != nil {
				return err
			}
			payload = append(payload, '\n')
			if out == "-" {
				_, err := env.Stdout.Write(payload)
				return err
			}
			if out == "" {
				out = node + ".first-boot.json"
			}
			if err := writeSecret(out, payload); err != nil {
				return fmt.Errorf("write the first-boot data: %w", err)
			}
			cmd.PrintErrf("%s lets one machine join %s as %s until %s.\n", out, cluster, node, issued.Ticket.Expires.Format(time.RFC3339))
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cluster, "cluster", "", "the cluster's `name`")
	flags.StringVar(&node, "node", "", "the node's `name`")
	flags.StringVar(&out, "out", "", "the `file` to write, - for standard output (default NODE.first-boot.json)")
	flags.DurationVar(&lifetime, "lifetime", time.Hour, "how long the ticket is good for")
	flags.StringArrayVar(&seeds, "seed", nil, "`host:port` of a node that the machine asks for the others; may be repeated")
	state.add(flags)
	for _, name := range []string{"cluster", "node"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined a few lines above
		}
	}
	return cmd
}

// otherEndpoints returns where the cluster's nodes are, apart from the one that is about to join.
func otherEndpoints(state tfstate.State, cluster, joining string) []string {
	var out []string
	for _, n := range state.Nodes {
		if n.Cluster == cluster && n.Name != joining {
			out = append(out, n.Endpoints...)
		}
	}
	return out
}

// clusterObjects returns the signed object of the cluster, if the state has it.
func clusterObjects(root trust.Root, state tfstate.State) ([]trust.Envelope, error) {
	for _, c := range state.Clusters {
		if c.Name != root.Cluster {
			continue
		}
		var e trust.Envelope
		if err := json.Unmarshal([]byte(c.SignedObject), &e); err != nil {
			return nil, fmt.Errorf("read the cluster object of %q in the Terraform state: %w", c.Name, err)
		}
		if _, err := root.VerifyObject(e); err != nil {
			return nil, fmt.Errorf("the Terraform state has a cluster %q that this signing key does not sign for: %w", c.Name, err)
		}
		return []trust.Envelope{e}, nil
	}
	return nil, nil
}
