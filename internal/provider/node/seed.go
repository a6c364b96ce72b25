package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"
	"github.com/hashicorp/terraform-plugin-log/tflog"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// seedMachine is a machine that Terraform cannot reach before it has joined: somebody boots it with a seed that
// `atoll seed` has made. What can be done is to wait for it.
//
// Nothing is in state before it has joined. State that a failure had tainted would be destroyed by the next apply, and the
// removal that this signs would make void the very seed that is waited for.
type seedMachine struct{}

// remindEvery is how often a log says what is waited for.
const remindEvery = 30 * time.Second

// seedModel is the argument seed.
type seedModel struct {
	Host types.String `tfsdk:"host"`
}

func (m Model) seed(ctx context.Context) (s seedModel, ok bool, diags diag.Diagnostics) {
	if !known(m.Seed) {
		return seedModel{}, false, nil
	}
	diags = m.Seed.As(ctx, &s, basetypes.ObjectAsOptions{})
	return s, !diags.HasError(), diags
}

func seedPath() path.Path { return path.Root("seed").AtName("host") }

func seedAttribute() schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Optional: true,
		MarkdownDescription: "A machine that Terraform cannot reach before it has joined: remote hands write the node image to it, and it boots with a seed " +
			"(a USB stick, a virtual CD, a file) that `atoll seed --cluster CLUSTER --node NODE` makes, before or during the apply. The apply waits until the machine " +
			"has joined with it; until then nothing is in state, and an apply that has waited in vain (`timeouts.create`) can be repeated with the same seed.\n\n" +
			"Destroying the node removes it from the cluster, and its agent cleans the machine up. To have it back, or another machine under its name, make a new seed: " +
			"the earlier one is void.",
		Attributes: map[string]schema.Attribute{
			"host": schema.StringAttribute{
				Optional: true, Validators: []validator.String{stringvalidator.LengthAtLeast(1)},
				MarkdownDescription: "Address or host name at which the machine's agent will answer, which is also the node's address unless `addresses` are given. " +
					"Leave it out for a machine that nobody can call, such as one behind address translation (`seed = {}`): it calls the cluster's `seeds`, and Terraform reaches it by way of the other nodes. " +
					"A change is a move of the same machine; for another machine use `terraform apply -replace=ADDRESS`.",
			},
		},
	}
}

// provision waits for an agent that proves to be this node by a seed that is still good.
func (seedMachine) provision(ctx context.Context, t *task, _ []byte, _ saver) diag.Diagnostics {
	addresses, diags := t.addresses(ctx)
	if diags.HasError() {
		return diags
	}
	endpoints := spec.Node{Addresses: addresses}.Endpoints(t.api)
	began, last := time.Now(), error(nil)
	for {
		err := t.seeded(ctx, endpoints, addresses)
		var exists *existsError
		switch {
		case err == nil:
			return diags
		case errors.As(err, &exists):
			return append(diags, t.existsAlready(endpoints))
		case ctx.Err() == nil || last == nil:
			last = err
		}
		if !operator.Pause(ctx, t.op.Patience().Poll) {
			return append(diags, t.noSeed(last, time.Since(began), addresses))
		}
		tflog.Info(ctx, "waiting for a machine that boots with its seed", map[string]any{
			"node": t.name, "at": endpoints, "seconds": int(time.Since(began).Seconds()), "last": err.Error(), "make it by": t.seedCommand(),
		})
	}
}

// existsError says that the machine is a finished node already.
type existsError struct{}

func (*existsError) Error() string { return "the machine is a finished node already" }

// staleSeedError says that a machine has joined by a seed from before the node was removed.
type staleSeedError struct {
	issued, removed time.Time
}

func (e *staleSeedError) Error() string {
	return fmt.Sprintf("the machine has used a seed of %s, and the node of that name was removed at %s: make a new seed, and boot the machine with that one",
		e.issued.UTC().Format(time.RFC3339), e.removed.UTC().Format(time.RFC3339))
}

// seeded looks for the agent for a while and judges by what right it has joined.
func (t *task) seeded(ctx context.Context, endpoints, addresses []string) error {
	agent, err := t.op.Agent(t.root.Cluster, operator.Peer{Name: t.name, Endpoints: endpoints})
	if err != nil {
		return err
	}
	defer agent.Close()
	patience, cancel := context.WithTimeout(ctx, remindEvery)
	defer cancel()
	if len(addresses) == 0 {
		return t.seededHidden(patience)
	}
	info, err := t.op.AwaitAgent(patience, agent, t.name, addresses, t.health)
	if err != nil {
		return err
	}
	seen, err := t.op.Look(ctx, t.root.Cluster, t.name, endpoints, info.Identity.String())
	if err != nil {
		return err
	}
	return t.judgeSeed(seen)
}

// judgeSeed says whether what joined under this node's name has joined by a seed that is still good, as far as a node knows.
func (t *task) judgeSeed(seen operator.Known) error {
	if n, ok := seen.Nodes[t.name]; ok && n.Identity != "" {
		return &existsError{}
	}
	// The others would not admit it, and once pinned by a new object it would be a member by a ticket that is void.
	removed := time.UnixMilli(int64(min(max(t.removed, seen.Generations[t.ref()]), 1<<60))) //nolint:gosec // bounded
	if issued := seen.Members[t.name].Ticket.Issued; issued.Before(removed) {
		return &staleSeedError{issued: issued, removed: removed}
	}
	return nil
}

func (t *task) seedCommand() string {
	return fmt.Sprintf("atoll seed --cluster %s --node %s", t.root.Cluster, t.name)
}

// noSeed explains what is still to be done when the machine has not joined in time.
func (t *task) noSeed(cause error, waited time.Duration, addresses []string) diag.Diagnostic {
	said, where := "Nothing answers there.", "it was looked for at "+strings.Join(addresses, ", ")
	if len(addresses) == 0 {
		said, where = "No node has heard of it.", "the other nodes were asked, since it has no address"
	}
	var late *operator.NotReadyError
	var stale *staleSeedError
	switch {
	case errors.As(cause, &stale):
		said = "The machine answers, but " + stale.Error() + "."
	case errors.As(cause, &late) && late.Waiting != "":
		said = fmt.Sprintf("Its agent runs; the node says: %s.", strings.TrimSuffix(late.Waiting, "."))
	case errors.As(cause, &late) && late.Err != nil:
		said = fmt.Sprintf("The last try ended so: %v.", late.Err)
	case cause != nil:
		said = cause.Error() + "."
	}
	return diag.NewAttributeErrorDiagnostic(seedPath(), "Node did not join", fmt.Sprintf(
		"No machine has joined cluster %q as node %q within %s; %s. %s\n\n"+
			"Make its seed by `%s` (with --address and --gateway where there is no DHCP), bring it to the machine, and boot the machine with it. "+
			"Nothing is in state, so apply again as soon as it boots, or before: the seed stays good for its lifetime. "+
			"Ports %d and %d (TCP) of the machine must be reachable from here. timeouts.create says how long an apply waits.",
		t.root.Cluster, t.name, waited.Round(time.Second), where, said, t.seedCommand(), t.api, t.health))
}

func (seedMachine) read(context.Context, *task) (bool, diag.Diagnostics) { return false, nil }

func (seedMachine) update(context.Context, *task, Model) diag.Diagnostics { return nil }

func (seedMachine) beforeRemoval(context.Context, *task) diag.Diagnostics { return nil }

// remove has nothing to do: an agent that has heard of its node's removal cleans up after itself.
func (seedMachine) remove(_ context.Context, t *task) diag.Diagnostics {
	var diags diag.Diagnostics
	if !t.told {
		diags.AddAttributeWarning(path.Root("seed"), "Machine was not told", fmt.Sprintf(
			"Node %q is removed from the cluster, but its machine does not answer, so its agent does not know yet. It hears of it from any other node and then "+
				"cleans up after itself; `atolld uninstall --purge` on the machine does it too.", t.name))
	}
	return diags
}
