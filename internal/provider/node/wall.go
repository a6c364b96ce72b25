package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/cloudfirewall"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/reference"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// ownWall describes the node's firewall as it is to be.
func (t *task) ownWall(ctx context.Context, id types.Int64, ask map[string][]string) (cloudfirewall.Own, diag.Diagnostics) {
	n, diags := t.model.ToSpec(ctx)
	return cloudfirewall.Own{
		Cluster: t.root.Cluster, Node: t.name, ID: int(id.ValueInt64()), Body: n, Of: t.cluster.Cluster, Nodes: ask,
	}, diags
}

// makeWall makes the firewall of an instance that does not exist yet, and saves its id. One that is before an instance already may be that
// of another state's node: it is left as it is, and not saved, until it is settled whose the instance is.
func (t *task) makeWall(ctx context.Context, client *linode.Client, save saver) (id int, diags diag.Diagnostics) {
	wish, _, diags := t.model.cloudFirewall(ctx)
	if wish == nil || diags.HasError() {
		return 0, diags
	}
	f, found, err := client.FindFirewall(ctx, cloudfirewall.Label(t.root.Cluster, t.name))
	if err != nil {
		return 0, cloudfirewall.Problem(err)
	}
	if found && slices.Contains(f.Tags, t.mark()) && len(f.Instances) > 0 {
		t.taken = &f
		return f.ID, diags
	}
	own, more := t.ownWall(ctx, types.Int64Null(), t.others(memory{}))
	if diags.Append(more...); diags.HasError() {
		return 0, diags
	}
	c, more := cloudfirewall.Make(ctx, t.op, client, own)
	if c.Firewall.ID != 0 {
		t.model.LinodeFirewall = wallFrom(c.Firewall, 0)
		more.Append(save()...)
	}
	diags.Append(more...)
	return c.Firewall.ID, diags
}

// removeLost deletes the instance of a run that has made its firewall and then did not hear of it any more: who else could stand behind it?
func (t *task) removeLost(ctx context.Context, client *linode.Client, wall int) error {
	f, err := client.Firewall(ctx, wall)
	if errors.Is(err, linode.ErrNotFound) {
		return nil
	}
	for _, id := range f.Instances {
		inst, err := client.Instance(ctx, id)
		if err == nil && slices.Contains(inst.Tags, t.mark()) {
			err = client.DeleteInstance(ctx, id)
		}
		if err != nil && !errors.Is(err, linode.ErrNotFound) {
			return err
		}
	}
	return err
}

// keepWall brings the firewall of an instance that is there in line. A change that keeps this run out of the node is taken back.
func (t *task) keepWall(ctx context.Context, state Model, mem memory) diag.Diagnostics {
	wish, _, diags := t.model.cloudFirewall(ctx)
	have, there, more := state.wall(ctx)
	if diags.Append(more...); diags.HasError() || wish == nil && !there {
		return diags
	}
	client, err := t.op.Linode()
	if err != nil {
		return cloudfirewall.Problem(err)
	}
	if wish == nil {
		if err := client.DeleteFirewall(ctx, int(have.ID.ValueInt64())); err != nil {
			return cloudfirewall.Problem(err)
		}
		t.model.LinodeFirewall = types.ObjectNull(linodeFirewallTypes())
		return diags
	}
	inst, err := client.Instance(ctx, t.model.instanceNumber())
	if err != nil {
		return cloudfirewall.Problem(err)
	}
	own, more := t.ownWall(ctx, have.ID, t.others(mem))
	if diags.Append(more...); diags.HasError() {
		return diags
	}
	c, more := cloudfirewall.Make(ctx, t.op, client, own)
	if diags.Append(more...); diags.HasError() {
		return diags
	}
	before := slices.Contains(c.Firewall.Instances, inst.ID)
	if !before {
		if err := client.GuardInstance(ctx, c.Firewall.ID, inst); err != nil {
			return cloudfirewall.Problem(err)
		}
	}
	if t.pushed && (c.Replaced || !before) {
		diags.Append(t.tryWall(ctx, client, c, before)...)
	}
	return diags
}

// wallTries is how often a changed firewall is tried, since it takes Linode some seconds to have it in force.
const wallTries = 5

// tryWall calls the node through its changed firewall, and takes the change back when that fails twice in a row. The rules of a firewall
// that guarded the instance before are put back, another one is taken off again.
func (t *task) tryWall(ctx context.Context, client *linode.Client, c cloudfirewall.Change, before bool) diag.Diagnostics {
	endpoints := t.model.endpoints(ctx)
	var last error
	for n := 0; n < wallTries; n++ {
		_, err := t.op.Look(ctx, t.root.Cluster, t.name, endpoints, t.model.Identity.ValueString())
		if err != nil && last != nil {
			return t.undoWall(ctx, client, c, before, err)
		}
		if last = err; !operator.Pause(ctx, t.op.Patience().Poll) {
			break
		}
	}
	return nil
}

func (t *task) undoWall(ctx context.Context, client *linode.Client, c cloudfirewall.Change, before bool, cause error) diag.Diagnostics {
	var err error
	done := "The rules from before are back"
	if before {
		err = client.SetFirewallRules(ctx, c.Firewall.ID, c.Before)
	} else {
		done, err = "The firewall is deleted again", client.DeleteFirewall(ctx, c.Firewall.ID)
	}
	if err != nil {
		done = fmt.Sprintf("It could not be taken back: %v. Linode's console can, at firewall %d", err, c.Firewall.ID)
	}
	return diag.Diagnostics{diag.NewAttributeErrorDiagnostic(cloudfirewall.Path().AtName("operators"), "Linode firewall keeps this run out", fmt.Sprintf(
		"With its firewall changed, node %q does not answer here any more: %v.\n\n%s. Write the address that Terraform calls from into operators, and apply again.",
		t.name, cause, done))}
}

// endpoints are where the agent answers.
func (m Model) endpoints(ctx context.Context) []string {
	var out []string
	if known(m.Endpoints) {
		m.Endpoints.ElementsAs(ctx, &out, false)
	}
	return out
}

// settleWalls brings the firewalls of all nodes in line with what this node's coming, change or end means for them.
func (t *task) settleWalls(ctx context.Context, mem memory, o cloudfirewall.Occasion) diag.Diagnostics {
	o.Cluster, o.Nodes = t.root.Cluster, t.others(mem)
	if endpoints := t.model.endpoints(ctx); len(endpoints) > 0 && !o.Leaving {
		o.Nodes[t.name] = endpoints
	}
	return cloudfirewall.Settle(ctx, t.op, o)
}

// observeWall sets what is observed of the firewall at the end of an operation. Rules that were planned stay: what other resources of
// this run have added meanwhile, the next refresh reads.
func (t *task) observeWall(ctx context.Context, planned bool) diag.Diagnostics {
	if wish, _, _ := t.model.cloudFirewall(ctx); wish == nil {
		t.model.LinodeFirewall = types.ObjectNull(linodeFirewallTypes())
		return nil
	}
	var before linodeFirewallModel
	if planned {
		before, _, _ = t.model.wall(ctx)
	}
	client, err := t.op.Linode()
	if err != nil {
		return cloudfirewall.Problem(err)
	}
	diags := t.readWall(ctx, client, linode.Instance{ID: t.model.instanceNumber()})
	if now, there, _ := t.model.wall(ctx); there && planned && known(before.Rules) && !before.Rules.IsNull() {
		t.model.LinodeFirewall = wallValue(now.ID, now.Status.ValueString(), before.Rules)
	}
	return diags
}

// checkWall finds out when a firewall is planned whether it would need more rules than there can be, as far as the nodes of this run are
// known by then.
func (r *Resource) checkWall(ctx context.Context, plan Model, c reference.Cluster) diag.Diagnostics {
	wish, whole, diags := plan.cloudFirewall(ctx)
	reg := r.op.Cluster(c.Name.ValueString())
	described := reg.Described()
	if wish == nil || !whole || described == nil || diags.HasError() {
		return diags
	}
	n, more := plan.ToSpec(ctx)
	diags.Append(more...)
	in := topology.Input{ClusterName: c.Name.ValueString(), Cluster: *described, Nodes: reg.PlannedNodes()}
	in.Nodes[plan.Name.ValueString()] = n
	var many *linode.TooManyRulesError
	if _, err := cloudfirewall.Rules(in, plan.Name.ValueString()); errors.As(err, &many) {
		diags.Append(cloudfirewall.Problem(err)...)
	}
	return diags
}
