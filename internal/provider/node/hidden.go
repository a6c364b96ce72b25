package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// A hidden node has no address at which anybody could call it. It calls the cluster's seeds itself, so the other nodes hear of it first:
// they say when it has joined and by which identity, and take its description. Once that has made it a part of the mesh they pass calls on
// to it, and all else is as with any node.

// heardOf asks the other nodes until one has heard that a machine has joined under this node's name.
func (t *task) heardOf(ctx context.Context) (operator.Known, trust.Member, error) {
	reg := t.op.Cluster(t.root.Cluster)
	for {
		var errs []error
		for _, endpoints := range t.neighbours(ctx) {
			peer, seen, err := t.op.Meet(ctx, t.root.Cluster, endpoints)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if len(peer.Records) > 0 && !reg.Removed(peer.Name) {
				reg.Learn(peer)
			}
			member, joined := seen.Members[t.name]
			if joined && (t.ticket == "" || member.Ticket.ID == t.ticket) {
				return seen, member, nil
			}
			errs = append(errs, fmt.Errorf("node %q has not heard of a machine that has joined as %q", peer.Name, t.name))
		}
		if len(errs) == 0 {
			errs = append(errs, errors.New("no other node of the cluster is known that could have heard of it: the cluster needs seeds, and a node with an address"))
		}
		if !operator.Pause(ctx, t.op.Patience().Poll) {
			return operator.Known{}, trust.Member{}, errors.Join(errs...)
		}
	}
}

// seededHidden is seeded for a machine that nobody can call.
func (t *task) seededHidden(ctx context.Context) error {
	seen, _, err := t.heardOf(ctx)
	if err != nil {
		return err
	}
	return t.judgeSeed(seen)
}

// tellOthers gives records to the other nodes of this run, and fails when none of them takes them.
func (t *task) tellOthers(ctx context.Context, records []store.Record) error {
	others := t.op.Cluster(t.root.Cluster).Others(t.name)
	errs := []error{errors.New("no other node of the cluster is known")}
	for i, other := range others {
		err := t.op.TellOnce(ctx, t.root.Cluster, other, records)
		var outdated *operator.OutdatedError
		if errors.As(err, &outdated) {
			return err
		}
		if err == nil {
			return nil // which gives them to the rest
		}
		if i == 0 {
			errs = nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// meet waits until the node's agent answers, by way of another node where nobody can call it: then the mesh has taken it up.
func (t *task) meet(ctx context.Context, agent *api.Client, addresses []string) diag.Diagnostics {
	var diags diag.Diagnostics
	if _, err := t.op.AwaitAgent(ctx, agent, t.name, addresses, t.health); err != nil {
		diags.AddError("Node is not ready", t.notReady(err, addresses))
	}
	return diags
}

// identify waits until a machine has joined as this node, and returns its identity.
func (t *task) identify(ctx context.Context, agent *api.Client, addresses []string) (trust.PublicKey, error) {
	if len(addresses) == 0 {
		_, member, err := t.heardOf(ctx)
		return member.Identity, err
	}
	info, err := t.op.AwaitAgent(ctx, agent, t.name, addresses, t.health)
	return info.Identity, err
}
