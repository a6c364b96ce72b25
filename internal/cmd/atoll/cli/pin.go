package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// pinOptions are the flags of atoll pin.
type pinOptions struct {
	nodes    nodeFlags
	identity string
	timeout  time.Duration
}

func pinCommand(env Environment) *cobra.Command {
	var o pinOptions
	cmd := &cobra.Command{
		Use:   "pin NODE",
		Short: "Decide which identity a node has, which settles a conflict",
		Long: `Signs a node's description anew with one identity pinned, and gives it to every node that answers.

A second machine that shows up with a node's ticket is refused and raises the condition Conflict, because somebody has that
ticket who should not, or a machine was cloned. The condition stays until the operator has decided: without --identity
for the identity that is pinned or admitted now, with it for the one that the condition names. All others are refused.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := trust.SigningKeyFromEnvironment(env.Getenv)
			if err != nil {
				return err
			}
			targets, err := o.nodes.targets(env)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
			defer cancel()
			return o.pin(ctx, env, key, targets, args[0])
		},
	}
	o.nodes.add(cmd.Flags())
	cmd.Flags().StringVar(&o.identity, "identity", "", "the identity to pin, as `ed25519:…`")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 20*time.Second, "how long all of it may take")
	return cmd
}

// described is a node's newest description, and the identity that is admitted.
type described struct {
	object   spec.Object
	node     spec.Node
	admitted string
}

func (o *pinOptions) pin(ctx context.Context, env Environment, key *trust.SigningKey, targets []api.Target, name string) error {
	root := trust.Root{Cluster: targets[0].Cluster, Key: key.Public()}
	clients := make([]*api.Client, len(targets))
	for i, t := range targets {
		// The node itself may answer with an identity that the state does not know: that is what is to be settled.
		t.Pin = nil
		clients[i] = api.NewOperatorClient(key, t)
		defer clients[i].Close()
	}
	d, err := describe(ctx, root, clients, name)
	if err != nil {
		return err
	}
	identity := o.identity
	if identity == "" {
		identity = d.node.Identity
	}
	if identity == "" {
		identity = d.admitted
	}
	pin, err := trust.ParsePublicKey(identity)
	if err != nil {
		return fmt.Errorf("the identity of node %q: %w; atoll status shows the ones in question under Conflict", name, err)
	}
	d.node.Identity = pin.String()
	now := env.Now()
	object, err := spec.NewObject(root.Cluster, name, max(d.object.Generation+1, uint64(max(now.UnixMilli(), 0))), uint64(max(now.UnixMilli(), 0)), d.node)
	if err != nil {
		return err
	}
	signed, err := trust.SignObject(key, object)
	if err != nil {
		return err
	}
	told, err := tell(ctx, clients, store.ObjectRecord(signed))
	if told == 0 {
		return fmt.Errorf("no node has taken the decision; nothing has changed: %w", err)
	}
	_, printErr := fmt.Fprintf(env.Stdout, "node %s of cluster %s is %s; %d of %d nodes know, the rest hear it from them\n", name, root.Cluster, pin, told, len(clients))
	return printErr
}

// describe asks everybody and returns the newest description of a node.
func describe(ctx context.Context, root trust.Root, clients []*api.Client, name string) (described, error) {
	var d described
	var errs []error
	for _, client := range clients {
		records, err := client.Records(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, r := range records {
			switch {
			case r.Object != nil:
				o, err := root.VerifyObject(*r.Object)
				if err == nil && o.Ref() == (spec.Ref{Kind: spec.KindNode, Name: name}) && o.Generation > d.object.Generation {
					d.object = o
				}
			case r.Proof != nil:
				if m, err := root.VerifyProof(*r.Proof); err == nil && m.Node == name {
					d.admitted = m.Identity.String()
				}
			}
		}
	}
	switch {
	case d.object.Generation == 0:
		return d, errors.Join(fmt.Errorf("no node that answers knows node %q of cluster %q", name, root.Cluster), errors.Join(errs...))
	case d.object.Deleted:
		return d, fmt.Errorf("node %q was removed from cluster %q: there is nothing to decide, every identity is refused", name, root.Cluster)
	}
	body, err := d.object.Decode()
	if err != nil {
		return d, err
	}
	node, ok := body.(spec.Node)
	if !ok {
		return d, fmt.Errorf("the description of node %q is that of a %s", name, body.Kind())
	}
	d.node = node
	return d, nil
}

// tell pushes a record to everybody and returns how many took it.
func tell(ctx context.Context, clients []*api.Client, record store.Record) (int, error) {
	told := 0
	var errs []error
	for _, client := range clients {
		outcomes, err := client.Push(ctx, []store.Record{record})
		switch {
		case err != nil:
			errs = append(errs, err)
		case outcomes[0].Result == store.Accepted || outcomes[0].Result == store.Unchanged:
			told++
		default:
			errs = append(errs, errors.New(outcomes[0].Message))
		}
	}
	return told, errors.Join(errs...)
}
