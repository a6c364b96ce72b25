package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	var out string
	t := ticketFlags{lifetime: time.Hour}
	cmd := &cobra.Command{
		Use:   "new --cluster NAME --node NAME",
		Short: "Make the first-boot data of one machine",
		Long: `Makes a ticket, the signed and short-lived permission for one named node to join, and writes the first-boot
data that carries it. Bring that file to the machine as /etc/atoll/first-boot.json, readable by root alone; the
agent deletes it once it has joined. Whoever has it before that can join in the machine's place.

The machine asks the seeds for the rest of its cluster. They are every --seed and the nodes of --state.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			made, err := t.issue(cmd, env)
			if err != nil {
				return err
			}
			payload := slices.Concat(made.payload, []byte("\n"))
			if out == "-" {
				_, err := env.Stdout.Write(payload)
				return err
			}
			if out == "" {
				out = t.node + ".first-boot.json"
			}
			if err := writeSecret(out, payload); err != nil {
				return fmt.Errorf("write the first-boot data: %w", err)
			}
			cmd.PrintErrf("%s lets one machine join %s as %s until %s.\n", out, t.cluster, t.node, made.ticket.Expires.Format(time.RFC3339))
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the `file` to write, - for standard output (default NODE.first-boot.json)")
	t.add(cmd)
	if err := cmd.MarkFlagRequired("cluster"); err != nil {
		panic(err) // the flag is defined a line above
	}
	return cmd
}

// ticketFlags say for which machine a ticket is, and whom it asks for its cluster.
type ticketFlags struct {
	cluster, node string
	lifetime      time.Duration
	seeds         []string
	state         stateFlags
}

// add defines the flags; lifetime is what it is by default.
func (t *ticketFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&t.cluster, "cluster", "", "the cluster's `name`")
	flags.StringVar(&t.node, "node", "", "the node's `name`")
	flags.DurationVar(&t.lifetime, "lifetime", t.lifetime, "how long the ticket is good for")
	flags.StringArrayVar(&t.seeds, "seed", nil, "`host:port` of a node that the machine asks for the others; may be repeated")
	t.state.add(flags)
	if err := cmd.MarkFlagRequired("node"); err != nil {
		panic(err) // the flag is defined a few lines above
	}
}

// issued is a ticket and the first-boot data that carries it, which is secret.
type issued struct {
	ticket  trust.Ticket
	payload []byte
}

// issue makes the ticket and its payload.
func (t *ticketFlags) issue(cmd *cobra.Command, env Environment) (issued, error) {
	key, err := trust.SigningKeyFromEnvironment(env.Getenv)
	if err != nil {
		return issued{}, err
	}
	known, err := t.state.load(env)
	if err != nil {
		return issued{}, err
	}
	if t.cluster == "" {
		if t.cluster, err = onlyCluster(known); err != nil {
			return issued{}, err
		}
	}
	root := trust.Root{Cluster: t.cluster, Key: key.Public()}
	objects, err := clusterObjects(root, known)
	if err != nil {
		return issued{}, err
	}
	seeds := append(slices.Clone(t.seeds), otherEndpoints(known, t.cluster, t.node)...)
	if len(seeds) == 0 {
		cmd.PrintErrln("The machine knows nobody to ask and waits until Terraform introduces it: --seed and --state name others.")
	}
	made, err := trust.IssueTicket(key, trust.TicketRequest{
		Cluster: t.cluster, Node: t.node, Lifetime: t.lifetime, Seeds: seeds, Now: env.Now(),
	})
	if err != nil {
		return issued{}, err
	}
	payload, err := platform.NewPayload(root, made, objects)
	return issued{ticket: made.Ticket, payload: payload}, err
}

// onlyCluster returns the cluster that is meant when nobody names one.
func onlyCluster(state tfstate.State) (string, error) {
	switch len(state.Clusters) {
	case 0:
		return "", errors.New("no cluster is named and no Terraform state with an atoll_cluster is here: go to the folder of the configuration, or use --state or --cluster")
	case 1:
		return state.Clusters[0].Name, nil
	default:
		var names []string
		for _, c := range state.Clusters {
			names = append(names, c.Name)
		}
		return "", fmt.Errorf("the Terraform state has the clusters %s: choose one with --cluster", strings.Join(names, ", "))
	}
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
